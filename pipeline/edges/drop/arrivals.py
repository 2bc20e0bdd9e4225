"""Notices at once that a file has arrived in a drop directory, if the system reports it.

This only wakes the loop that looks regularly anyway. Network file systems and container mounts often report nothing.
Then, or if a directory cannot be watched, a file is found at the next regular look.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import structlog
from anyio.to_thread import run_sync
from watchfiles import Change, awatch

from pipeline.core.drop.signals import is_ignored
from pipeline.edges.changed import Changed
from pipeline.edges.clock import Clock
from pipeline.edges.durable import real_place

log = structlog.get_logger()

#: Seconds from an arrival to the next look. Ours: time to complete a manifest that is written in place, not renamed.
DEBOUNCE_S = 0.5
#: Seconds until a directory that cannot be watched is tried again; it may be mounted or allowed by then.
AGAIN_S = 600.0
#: Milliseconds for which changes are gathered, at most: an export that is being written changes all the time.
_GATHER_MS = 400
#: Milliseconds after which the thread that waits for changes returns without any, and waits anew.
_LOOK_UP_MS = 60_000


class Arrivals:
    """The arrivals of files in some directories while `watch` runs.

    `count`: the arrivals so far; `changed` is told of each. Arrivals close together count once.
    """

    def __init__(self, directories: Sequence[Path], clock: Clock, changed: Changed) -> None:
        self.count = 0
        self._directories = tuple(directories)
        self._clock = clock
        self._changed = changed

    async def watch(self) -> None:
        """Watch until cancelled.

        A directory that cannot be watched is tried again every `AGAIN_S` seconds. A new reason is logged.
        """
        async with anyio.create_task_group() as tasks:
            for directory in self._directories:
                tasks.start_soon(self._keep_watching, directory)

    async def _keep_watching(self, directory: Path) -> None:
        latest = ""
        while True:
            try:
                await self._watch(directory)
            except* (OSError, RuntimeError) as errors:
                if (why := _first(errors)) != latest:
                    latest = why
                    log.warning("drop_directory_not_watched", directory=str(directory), why=why)
            await self._clock.sleep(AGAIN_S)

    async def _watch(self, directory: Path) -> None:
        stop = anyio.Event()
        root = await run_sync(real_place, directory)

        async def stop_at_the_end() -> None:
            # Only `stop` ends the thread that waits for changes; without it, the end of this task would wait for it.
            try:
                await anyio.sleep_forever()
            finally:
                stop.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_at_the_end)
            async for _ in awatch(
                root,
                watch_filter=partial(is_arrival, root),
                debounce=_GATHER_MS,
                stop_event=stop,
                rust_timeout=_LOOK_UP_MS,
                force_polling=False,
            ):
                self.count += 1
                self._changed.tell()
            tasks.cancel_scope.cancel()


def is_arrival(root: Path, change: Change, path: str) -> bool:
    """True if a change below `root` is a file that was made there, or renamed to a name that is not ignored."""
    return change is Change.added and not any(map(is_ignored, Path(path).parts[len(root.parts) :]))


def _first(errors: BaseExceptionGroup[Exception]) -> str:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
