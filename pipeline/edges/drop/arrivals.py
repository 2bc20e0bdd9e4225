"""Notices at once when a file arrives in a drop directory, where the system tells of it.

It only wakes the loop that looks by itself anyway: network file systems and mounts of containers often tell nothing,
and what cannot be watched is looked at all the same, only later.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import structlog
from watchfiles import Change, awatch

from pipeline.core.drop.signals import is_ignored
from pipeline.edges.changed import Changed
from pipeline.edges.clock import Clock

log = structlog.get_logger()

#: From an arrival to the next look (seconds). Ours: a manifest that is written, not renamed, gets time to be complete.
DEBOUNCE_S = 0.5
#: How long what cannot be watched is left alone (seconds); it may be mounted or allowed by then.
AGAIN_S = 600.0
#: Changes are gathered for so long at most (milliseconds): an export that is being written is a change all the time.
_GATHER_MS = 400
#: How often the thread that waits for changes looks up in vain (milliseconds).
_LOOK_UP_MS = 60_000


class Arrivals:
    """What arrives in some directories while `watch` runs: `changed` is told of it, and `count` grows."""

    def __init__(self, directories: Sequence[Path], clock: Clock, changed: Changed) -> None:
        self.count = 0
        self._directories = tuple(directories)
        self._clock = clock
        self._changed = changed

    async def watch(self) -> None:
        """Watch until cancelled; what cannot be watched is logged once, and tried again now and then."""
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
        root = Path(await anyio.Path(directory).resolve())

        async def stop_at_the_end() -> None:
            # The thread that waits for changes looks at this only; else the end would have to wait for it.
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
    """Whether a change below `root` is a file that was made there, or renamed to where it counts."""
    return change is Change.added and not any(map(is_ignored, Path(path).parts[len(root.parts) :]))


def _first(errors: BaseExceptionGroup[Exception]) -> str:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
