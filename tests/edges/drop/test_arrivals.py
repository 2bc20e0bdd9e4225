"""Files that arrive are noticed, and what cannot be watched is said once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs
from watchfiles import Change

from pipeline.edges.changed import Changed
from pipeline.edges.clock import Clock
from pipeline.edges.drop.arrivals import Arrivals, is_arrival
from tests.tools.support import until


@asynccontextmanager
async def watching(changed: Changed, *directories: Path) -> AsyncIterator[Arrivals]:
    """A watch that tries again after a moment instead of minutes."""
    arrivals = Arrivals(directories, Clock(sleep=lambda _: asyncio.sleep(0.01)), changed)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(arrivals.watch)
        yield arrivals
        # In so short a time compared with `_LOOK_UP_MS` only because the thread is told.
        tasks.cancel_scope.cancel()
        ending = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - ending < 20.0


async def arrived(arrivals: Arrivals, changed: Changed, directory: Path) -> None:
    """Wait until it is told that files are made, one after the other: the first may come before the watch."""
    seen = arrivals.count
    for number in range(200):
        (directory / f"{number}.csv").touch()
        if await changed.until(lambda: arrivals.count > seen, within_s=0.2):
            return
    pytest.fail("nothing was noticed")


async def test_what_arrives_is_noticed_again_and_again(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "one").mkdir()
    changed = Changed()
    async with watching(changed, tmp_path / "one", tmp_path / "missing", other) as arrivals:
        assert arrivals.count == 0
        await arrived(arrivals, changed, other)
    async with watching(changed, tmp_path / "one") as arrivals:
        await arrived(arrivals, changed, tmp_path / "one")
        (tmp_path / "one" / "sub").mkdir()
        await arrived(arrivals, changed, tmp_path / "one" / "sub")


async def test_what_cannot_be_watched_is_said_once_and_tried_again(tmp_path: Path) -> None:
    tries = 0

    async def sleep(_: float) -> None:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0.01)

    directory = tmp_path / "drop"
    changed = Changed()
    arrivals = Arrivals([directory], Clock(sleep=sleep), changed)
    with capture_logs() as logs:
        task = asyncio.create_task(arrivals.watch())
        await until(lambda: tries >= 3)
        directory.mkdir()
        await arrived(arrivals, changed, directory)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (said,) = logs
    assert said["event"] == "drop_directory_not_watched"
    assert (said["directory"], said["why"]) == (str(directory), "No path was found.")


@pytest.mark.parametrize(
    ("change", "name", "counts"),
    [
        (Change.added, "customers.csv.ready", True),
        (Change.added, "sub/_SUCCESS", True),
        (Change.modified, "customers.csv", False),
        (Change.deleted, "customers.csv", False),
        (Change.added, "customers.csv.tmp", False),
        (Change.added, ".processing/20261123T021400Z-customers-3f2a/customers.csv", False),
        (Change.added, "sub/.hidden", False),
    ],
)
def test_what_counts(change: Change, name: str, counts: bool) -> None:
    assert is_arrival(Path("/data/.drop.tmp"), change, f"/data/.drop.tmp/{name}") is counts
