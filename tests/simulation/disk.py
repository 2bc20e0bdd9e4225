"""The disk of a process: every blocking call is a step, before which the process may crash or the step may fail."""

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, TypeVarTuple, Unpack

from pipeline.core.errors import PipelineError
from pipeline.core.model import Batch
from pipeline.edges.durable import disk_error
from pipeline.edges.store.ledger_file import damaged
from tests.simulation.figures import Figures

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

#: Blocking calls that write nothing: a crash before one of these is one before the next step, and none of them fails.
READING = frozenset(
    [
        "absolute",
        "batch",
        "batches",
        "begun_jobs",
        "check",
        "close",
        "ended_before",
        "find_lines",
        "find_rows",
        "give_back",
        "hashes",
        "held_rows",
        "inherited",
        "is_paused",
        "job",
        "jobs",
        "jobs_in_order",
        "jobs_of_drop",
        "latest_as_of",
        "latest_sequence",
        "learned_statuses",
        "lines",
        "next_post_number",
        "overtaken",
        "overtaken_by",
        "parameters",
        "requests",
        "taken",
        "unfinished_with_open_batches",
        "untaken_jobs",
        "_carried",
        "_check_place",
        "_error_of_source",
        "_known",
        "_left_by_another",
    ]
)


@dataclass(slots=True)
class Fuse:
    """Before the step, when `steps` of these `kinds` have gone by (None: of all), the process crashes, or it fails."""

    steps: int
    kinds: frozenset[str] | None = None
    fails: bool = False


class Disk:
    """Runs blocking calls at once, each after some turns of the loop, as `random` draws it.

    `note_written` is told of each batch whose body was written, and of the spool that has it. When the process
    `is_crashed`, nothing is done any more, and whoever asks for something waits; until it `is_gone`: then all are
    cancelled.
    """

    def __init__(
        self, figures: Figures, random: Callable[[], float], note_written: Callable[[Any, Batch], None]
    ) -> None:
        self.fuse: Fuse | None = None
        self.is_crashed = False
        self.is_gone = False
        self._figures = figures
        self._random = random
        self._note_written = note_written
        self._hanging: list[asyncio.Future[None]] = []

    async def run_blocking(self, function: Callable[[Unpack[Arguments]], T], /, *args: *Arguments) -> T:
        """Run a function that blocks, see `Host`."""
        called, name = _unwrapped(function)
        await self._be_slow()
        if name not in READING:
            await self._step(called, name)
        if self.is_gone and name != "close":
            raise asyncio.CancelledError
        try:
            result = function(*args)
        finally:
            if not self.is_gone:
                await self._be_slow()
        if isinstance(result, Batch):
            self._note_written(called.__self__, result)
        return result

    def vanish(self) -> None:
        """The process is gone, and with it all that wait."""
        self.is_crashed = self.is_gone = True
        for future in self._hanging:
            future.cancel()

    async def until_alive(self) -> None:
        """Return at once, unless the process has crashed."""
        if self.is_crashed and not self.is_gone:
            future = asyncio.get_running_loop().create_future()
            self._hanging.append(future)
            await future

    async def _be_slow(self) -> None:
        """Let others have their turns; now and then the disk takes its time."""
        drawn = self._random()
        for _ in range(int(drawn * 3)):
            await asyncio.sleep(0)
        if drawn < 0.04 and not self.is_gone:
            await asyncio.sleep(drawn * 5)
        await self.until_alive()

    async def _step(self, called: Any, name: str) -> None:
        """A durable step comes next."""
        fuse = self.fuse
        self._figures.kinds[name] += 1
        if fuse is None or (fuse.kinds is not None and name not in fuse.kinds):
            return
        fuse.steps -= 1
        if fuse.steps >= 0:
            return
        self.fuse = None
        if fuse.fails:
            self._figures.failed_steps += 1
            raise _failure(called, name)
        self.is_crashed = True
        await self.until_alive()


def _unwrapped(function: Any) -> tuple[Any, str]:
    """What is called by a partial function, or one that is called with another, and its name."""
    while isinstance(function, partial):
        function = function.func
    return function, getattr(function, "__name__", type(function).__name__)


def _failure(called: Any, name: str) -> PipelineError:
    """The error with which the product says that a step failed: the ledger is locked, or the disk is full."""
    path = getattr(getattr(called, "__self__", None), "_path", None)
    if path is not None:
        locked = sqlite3.OperationalError("database is locked")
        locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
        return damaged(path, locked)
    return disk_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), f"cannot {name}")
