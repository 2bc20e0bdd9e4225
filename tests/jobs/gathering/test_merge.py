"""The files of the memory are merged beside a job, and nothing is left of a merge when the job ends."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from pipeline.edges.store.memory.files import path_of
from pipeline.jobs.gathering import merge_memory
from tests.jobs.gathering.test_memory_upkeep import known, opened, release
from tests.tools.support import names_in

MEMORY = "memory"


async def test_a_step_that_is_under_way_is_done_when_the_job_ends(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        for number in range(8):
            release(state, f"u{number}")
        with anyio.CancelScope() as job:

            async def run_and_end(function: Callable[..., Any], *args: Any) -> Any:
                done = await to_thread.run_sync(function, *args)
                job.cancel()
                return done

            state.host = replace(state.host, run_blocking=run_and_end)
            await merge_memory(state)
        catalog = state.ledger.memory_catalog()
        assert len(catalog.files) == 1
        assert names_in(tmp_path / MEMORY) == [path_of(tmp_path / MEMORY, file.number).name for file in catalog.files]
        assert known(state) == 8
