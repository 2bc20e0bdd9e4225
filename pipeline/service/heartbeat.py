"""The heartbeat of `serve`: its condition, written every few seconds by a task of its event loop.

So it stops when the loop is blocked, or when no thread is left to write it. Its figures of tasks, open files and memory
also show a leak from outside.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import structlog
from anyio.to_thread import run_sync

from pipeline.core.errors import FatalError, PipelineError
from pipeline.edges.clock import Clock
from pipeline.edges.log import dropped_lines, tell_of_dropped_lines
from pipeline.edges.store.heartbeat_file import BEAT_EVERY_S, Beat, Heart
from pipeline.service.upkeep import Upkeep

log = structlog.get_logger()

#: Seconds between two beats while one has notices.
_SOON_S = 1.0
#: Facts about this process, as Linux tells them.
_OPEN_FILES = Path("/proc/self/fd")
_MEMORY_PAGES = Path("/proc/self/statm")


@asynccontextmanager
async def heart_beating(
    directory: Path,
    clock: Clock,
    running: Callable[[], str | None],
    is_paused: Callable[[], bool],
    notices: Callable[[], dict[str, dict[str, Any]]] = dict,
) -> AsyncIterator[None]:
    """Write heartbeats to the state directory while the body runs.

    `running` returns the id of the job that runs, if any; `is_paused` True if somebody asked to send nothing; `notices`
    what the disk does not take, see `Beat`.
    """
    started_s = clock.monotonic()

    def beat() -> Beat:
        return Beat(
            pid=os.getpid(),
            at_s=clock.monotonic(),
            started_s=started_s,
            tasks=len(asyncio.all_tasks()),
            open_files=_open_files(),
            memory_bytes=_memory_bytes(),
            job=running(),
            is_paused=is_paused(),
            notices=notices(),
            log_lines_dropped=dropped_lines(),
        )

    heart = Heart(directory)
    try:
        await _beat(heart, beat())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_beat_on, heart, beat, clock)
            yield
            tasks.cancel_scope.cancel()
    finally:
        heart.stop()


async def _beat_on(heart: Heart, beat: Callable[[], Beat], clock: Clock) -> None:
    latest, upkeep = beat(), Upkeep(clock)
    while True:
        # While it has notices, nobody should read them for long after they have ended.
        await clock.sleep(_SOON_S if latest.notices else BEAT_EVERY_S)
        try:
            # Without another line of the log, nothing else would do it.
            tell_of_dropped_lines()
            latest = beat()
            await _beat(heart, latest)
        except PipelineError:
            raise
        except Exception as error:  # noqa: BLE001 - without a beat, `health` soon reports it
            upkeep.note("writing the heartbeat", error)


async def _beat(heart: Heart, beat: Beat) -> None:
    try:
        await run_sync(heart.write, beat)
    except FatalError as error:
        # The disk is full or away. Other errors will say more; without a beat, `health` soon reports it too.
        log.warning("heartbeat_not_written", why=str(error))


def _open_files() -> int | None:
    try:
        # Looking opens one itself.
        return len(os.listdir(_OPEN_FILES)) - 1  # noqa: PTH208 - names only, and often
    except OSError:
        return None


def _memory_bytes() -> int | None:
    try:
        return int(_MEMORY_PAGES.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
