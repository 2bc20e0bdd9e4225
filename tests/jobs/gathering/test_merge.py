"""Merges of the memory beside a job."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack

from pipeline.edges.host import RunBlocking
from pipeline.edges.store.memory.files import Merge
from tests.simulation.loop import run_virtually
from tests.simulation.staged import staged

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


def slowly_merging(run_blocking: RunBlocking, written: list[Merge]) -> RunBlocking:
    """Notes merges that are written, and comes back from them much later."""

    async def run(function: Callable[[Unpack[Arguments]], T], /, *args: *Arguments) -> T:
        result = await run_blocking(function, *args)
        if isinstance(result, Merge):
            written.append(result)
            await asyncio.sleep(60.0)
        return result

    return run


def test_a_merge_that_has_begun_counts_though_its_job_ends(tmp_path: Path) -> None:
    """Otherwise its file would lie there as long as the process lives, and the work would be done again."""

    async def run() -> tuple[int, set[str], set[str]]:
        written: list[Merge] = []
        async with staged(tmp_path) as stage:
            host = replace(stage.host, run_blocking=slowly_merging(stage.host.run_blocking, written), merged_rows=1)
            slow = replace(stage, host=host)
            first, second = ([f"u{number},{tier},{number}" for number in range(20)] for tier in ("silver", "gold"))
            sections: dict[str, Any] = {"memory": {"remember": "digests"}, "batch": {"max_rows": 2}}
            await stage.load(*first, name="first.csv", **sections)
            report = await slow.load(*second, name="second.csv", stop_when=lambda _: written, **sections)
            assert report["state"] == "unfinished"
            with stage.ledger() as ledger:
                files = {f"{file.number:08d}.memory" for file in ledger.memory_catalog().files}
        return len(written), files, {path.name for path in (stage.state / "memory").iterdir()}

    merges, files, found = run_virtually(run())
    assert merges == 1
    assert found == files
