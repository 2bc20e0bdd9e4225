"""The files of the memory are merged beside a job, and nothing is left of a merge when the job ends."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import anyio
from anyio import to_thread

from pipeline.edges.store.memory.files import path_of
from pipeline.edges.store.memory.memory import Memory
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

            state.host = replace(state.host, run_blocking=cast(Any, run_and_end))
            await merge_memory(state)
        catalog = state.ledger.memory_catalog()
        assert len(catalog.files) == 1
        assert names_in(tmp_path / MEMORY) == [path_of(tmp_path / MEMORY, file.number).name for file in catalog.files]
        assert known(state) == 8


async def test_too_little_room_for_a_merge_ends_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        assert state.memory is not None
        for number in range(8):
            release(state, f"u{number}")
        memory = Memory(
            tmp_path / MEMORY, state.spool, state.ledger, with_values=False, min_free_bytes=2**62, merged_rows=1
        )
        state.memory = memory
        with anyio.move_on_after(0.1):
            await merge_memory(state)
        assert memory.is_merge_due()
        assert known(state) == 8
