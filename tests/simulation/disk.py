"""The disk of a process: every blocking call is a step, before which the process may crash or which may fail.

A step fails before it has done anything, behind all that it does (a write that is there, and could not be flushed), or
in part of it. What fails in the ledger is rolled back, as SQLite does, but may be durable all the same: then it is
there when the process has ended, and so the process crashes at its next step. On a full disk all steps fail that need
room, until there is some.
"""

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack

from structlog.contextvars import get_contextvars

from pipeline.core.batches.gathered import Run
from pipeline.core.errors import PipelineError
from pipeline.core.model import Batch
from pipeline.edges.durable import disk_error
from pipeline.edges.store.ledger import Ledger
from pipeline.edges.store.ledger_file import damaged
from pipeline.edges.store.state import State
from pipeline.jobs.gathering.runs import run_file
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
        "checked_body",
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
        "read",
        "requests",
        "taken",
        "unfinished_with_open_batches",
        "sift",
        "untaken_jobs",
        "_carried",
        "_check_place",
        "_error_of_source",
        "_known",
        "_remembered_parameters",
        "_left_by_another",
        "_requests",
    ]
)


#: Steps that need no room on the disk.
_WITHOUT_ROOM = frozenset(
    ["cut_rejects", "life_of", "remove", "sync_rejects", "take_on", "_named", "_targets", "_tidy", "<lambda>"]
)


class Failing(Enum):
    """How much of a failing step is done all the same."""

    BEFORE = "nothing"
    BEHIND = "all"
    PARTLY = "part"


@dataclass(slots=True)
class Fuse:
    """Before the step, when `steps` of these `kinds` have gone by (None: of all), the process crashes, or it fails."""

    steps: int
    kinds: frozenset[str] | None = None
    fails: Failing | None = None


@dataclass(slots=True)
class Curse:
    """A bug in the product: when `steps` blocking calls of jobs have gone by, one raises what nobody expects.

    It does so before or after the call `is_done`. If it `stays`, it is met again in each call of that name of that job,
    in each process, until it `is_lifted`.
    """

    steps: int
    is_done: bool
    stays: bool
    is_lifted: bool = False
    job: str = ""
    name: str = ""

    def meet(self, name: str, *, is_done: bool) -> None:
        """Raise `ValueError` if it is time. Called before and after each blocking call."""
        job = get_contextvars().get("job", "")
        if not job or self.is_lifted or is_done != self.is_done:
            return
        if not self.name:
            self.steps -= 1
            if self.steps >= 0:
                return
            self.job, self.name = job, name
        if (job, name) == (self.job, self.name):
            self.is_lifted = not self.stays
            raise ValueError("a bug")


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
        self.is_full = False
        self.curse: Curse | None = None
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
        late: Failing | None = None
        if name not in READING:
            late = await self._step(called, name)
        if self.is_gone and name != "close":
            raise asyncio.CancelledError
        try:
            self._meet_bug(name, is_done=False)
            result = function(*args)
            if late is not None:
                self._fail_late(late, called, name, result, args)
        finally:
            if not self.is_gone:
                await self._be_slow()
        if isinstance(result, Batch):
            self._note_written(called.__self__, result)
        self._meet_bug(name, is_done=True)
        return result

    def _meet_bug(self, name: str, *, is_done: bool) -> None:
        if self.curse is not None and not self.is_crashed:
            self.curse.meet(name, is_done=is_done)

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

    async def _step(self, called: Any, name: str) -> Failing | None:
        """A durable step comes next; returns how it fails when it is done."""
        fuse = self.fuse
        self._figures.kinds[name] += 1
        if self.is_full and name not in _WITHOUT_ROOM:
            self._figures.failed_steps += 1
            raise _failure(called, name)
        if fuse is None or (fuse.kinds is not None and name not in fuse.kinds):
            return None
        fuse.steps -= 1
        if fuse.steps >= 0:
            return None
        self.fuse = None
        if fuse.fails is None:
            self.is_crashed = True
            await self.until_alive()
            return None
        self._figures.failed_steps += 1
        if fuse.fails is Failing.BEFORE:
            raise _failure(called, name)
        return fuse.fails

    def _fail_late(self, how: Failing, called: Any, name: str, result: Any, args: tuple[Any, ...]) -> None:
        """Fail behind what was done, of which a part is undone."""
        owner: Any = getattr(called, "__self__", None)
        if _ledger_of(called) is not None:
            self.fuse = Fuse(0)
        elif how is Failing.PARTLY and isinstance(result, Batch):
            body = owner.body(result.batch_id)
            os.truncate(body, body.stat().st_size // 2)
            body.with_suffix(".ids").unlink()
        elif how is Failing.PARTLY and name == "add_rejects":
            os.truncate(owner.rejects, owner.rejects_bytes - 1)
        elif how is Failing.PARTLY and isinstance(result, Run):
            run = run_file(*args[:2])
            os.truncate(run, run.stat().st_size // 2)
        elif isinstance(result, State):
            result.ledger.close()
        raise _failure(called, name)


def _unwrapped(function: Any) -> tuple[Any, str]:
    """What is called by a partial function, or one that is called with another, and its name."""
    while isinstance(function, partial):
        function = function.func
    return function, getattr(function, "__name__", type(function).__name__)


def _ledger_of(called: Any) -> Path | None:
    """The file of the ledger of which this is called, if it is one."""
    owner = getattr(called, "__self__", None)
    return getattr(owner, "_path", None) if isinstance(owner, Ledger) else None


def _failure(called: Any, name: str) -> PipelineError:
    """The error with which the product says that a step failed: the ledger is locked, or the disk is full."""
    path = _ledger_of(called)
    if path is not None:
        locked = sqlite3.OperationalError("database is locked")
        locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
        return damaged(path, locked)
    refused = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    error = disk_error(refused, f"cannot {name}")
    error.__cause__ = refused
    return error
