"""One process, from its start to its end or crash: the real runner of each client code on the loop of the world.

Every blocking call of a job passes `_run_blocking`. What may write is a durable step: before it the process may crash,
or the step may fail, as a `Fuse` says.
"""

import asyncio
import errno
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

import anyio

from pipeline.core.batches.report import Report
from pipeline.core.errors import ExitCode, FatalError, PipelineError
from pipeline.core.model import Batch
from pipeline.core.target.replies import PostOutcome, StatusOutcome
from pipeline.edges.clock import Clock
from pipeline.edges.durable import disk_error
from pipeline.edges.exports import Export
from pipeline.edges.host import Host
from pipeline.edges.store.ledger_file import damaged
from pipeline.edges.store.records import JobRecord
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint
from pipeline.edges.target.endpoint import Target as TargetProtocol
from pipeline.jobs.claims import next_job
from pipeline.jobs.command import Command, enter_command
from pipeline.jobs.control import answer_requests
from pipeline.jobs.ending import Ending
from pipeline.jobs.job import Job
from pipeline.jobs.runner import Runner, open_runner
from pipeline.settings.tenants import DEFAULT_ROUTE
from tests.simulation.figures import Figures
from tests.simulation.wire import Wire

if TYPE_CHECKING:
    from tests.simulation.client import Client

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

#: Blocking calls that write nothing: a crash before one of these is one before the next step, and none of them fails.
READING = frozenset(
    [
        "absolute",
        "batch",
        "batches",
        "close",
        "discreet",
        "find_lines",
        "find_rows",
        "give_back",
        "hashes",
        "held_rows",
        "inherited",
        "is_paused",
        "job",
        "jobs",
        "jobs_of_drop",
        "latest_claimed",
        "latest_job",
        "learned_statuses",
        "lines",
        "next_post_number",
        "overtaken",
        "overtaken_by",
        "parameters",
        "requests",
        "taken",
        "_carried",
        "_check_place",
        "_known",
        "_left_by_another",
    ]
)
#: The time of day when the world begins.
BEGAN_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
#: Nothing that is to be so at once takes longer, however slow the disk is (seconds).
AT_ONCE_S = 1.0
#: What POSTs under way get to come to their end in when the process is to end (seconds).
GRACE_S = 3.0


@dataclass(slots=True)
class Fuse:
    """Before the step, when `steps` of these `kinds` have gone by (None: of all), the process crashes, or it fails."""

    steps: int
    kinds: frozenset[str] | None = None
    fails: bool = False


@dataclass(slots=True, eq=False)
class Call:
    """A call that waits for Target's answer: a POST of a batch, or a question for the status at a URL."""

    client: "Client"
    batch_id: int | None
    status_url: str
    answer: "asyncio.Future[Any]"

    @property
    def is_open(self) -> bool:
        """Whether it can be answered."""
        return not self.answer.done()


class Process:
    """A process that runs the jobs of these client codes.

    It `goes_on` when a job could not be finished, as a service does, or ends as a load does. `offset_s` is what its
    monotonic clock shows beyond the loop's time. `random` decides how long blocking calls take.
    """

    def __init__(
        self, clients: Collection["Client"], figures: Figures, random: Callable[[], float], *, offset_s: float
    ) -> None:
        self.clients = clients
        self.fuse: Fuse | None = None
        self.is_crashed = False
        #: When SIGTERM was sent.
        self.terminated_at: float | None = None
        self.calls: list[Call] = []
        self.runners: dict[str, Runner] = {}
        #: The jobs that are under way, and have taken up what there was of them.
        self.jobs: list[Job] = []
        self.goes_on = random() < 0.5
        self._figures = figures
        self._random = random
        self._loop = loop = asyncio.get_running_loop()
        self._is_gone = False
        self._hanging: list[asyncio.Future[None]] = []
        clock = Clock(
            monotonic=lambda: loop.time() + offset_s,
            utc_now=lambda: BEGAN_AT + timedelta(seconds=loop.time()),
            random=random,
        )
        self._host = Host(
            clock=clock,
            run_blocking=self._run_blocking,
            in_loop=lambda function: function(),
            open_export=self._open_export,
            connect=self._connect,
        )
        for client in clients:
            client.is_idle = False
        self._ending = Ending(grace_s=GRACE_S)
        self.task = loop.create_task(self._main())

    # What a test does to it.

    def terminate(self) -> None:
        """End it as SIGTERM does; asked for once more, it ends at once."""
        self.terminated_at = self.terminated_at or self._loop.time()
        stopped = FatalError("stopped by a signal.", exit_code=ExitCode.UNFINISHED)
        self._loop.call_soon(self._ending.hasten, stopped)

    def vanish(self) -> None:
        """It is gone: nothing that it does from here on has any effect. Its tasks are cancelled."""
        self.is_crashed = self._is_gone = True
        for future in self._hanging:
            future.cancel()
        self.task.cancel()

    def open_calls(self) -> list[Call]:
        """The calls that wait for an answer."""
        self.calls = [call for call in self.calls if call.is_open]
        return self.calls

    def reload(self, client: "Client") -> None:
        """Go on with the settings that a client code has by now."""
        if client.code in self.runners:
            self._loop.call_soon(self.runners[client.code].take, client.tenant)

    # Its course.

    async def _main(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                for client in self.clients:
                    runner = open_runner(client.tenant, self._host, self._ending, self._watch)
                    self.runners[client.code] = await stack.enter_async_context(runner)
                async with anyio.create_task_group() as serving:
                    for client in self.clients:
                        serving.start_soon(self._serve, client, self.runners[client.code])
            except* PipelineError as errors:
                # As `load` does: the next process goes on.
                self._note_end(errors)

    def _note_end(self, errors: BaseExceptionGroup[PipelineError]) -> None:
        for client in self.clients:
            client.ended_by.append(str(errors.exceptions[0]))

    async def _serve(self, client: "Client", runner: Runner) -> None:
        async def next_one(running: Collection[int]) -> JobRecord | None:
            client.is_idle = False
            record = await next_job(runner.state, running)
            while record is None and client.dropped:
                command = Command((client.dropped[0].path,), DEFAULT_ROUTE, again=True)
                settings = runner.settings.of(DEFAULT_ROUTE).export
                await enter_command(command, runner.state, settings, self._host.clock.utc_now())
                client.note_entered()
                record = await next_job(runner.state, running)
            return record

        async def told(_: JobRecord, report: Report) -> None:
            client.note_report(report)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_requests, runner.state, lambda: runner.running, self._ending.changed)
            while not self._ending.is_due:
                unfinished = await runner.run_jobs(next_one, told)
                if unfinished and not self.goes_on:
                    self.terminate()
                client.is_idle = unfinished is None
                await self._ending.changed.until(lambda: self._ending.is_due, within_s=1.0)
            tasks.cancel_scope.cancel()

    async def _watch(self, job: Job, _: CallQueue) -> None:
        self.jobs.append(job)
        try:
            await anyio.sleep_forever()
        finally:
            self.jobs.remove(job)

    # The machine that it runs on.

    async def _run_blocking(self, function: Callable[[Unpack[Arguments]], T], /, *args: *Arguments) -> T:
        called, name = _unwrapped(function)
        await self._be_slow()
        if name not in READING:
            await self._step(called, name)
        if self._is_gone and name != "close":
            raise asyncio.CancelledError
        try:
            result = function(*args)
        finally:
            if not self._is_gone:
                await self._be_slow()
        if isinstance(result, Batch):
            self._owner_of(called).note_body(result)
        return result

    async def _be_slow(self) -> None:
        """Let others have their turns; now and then the disk takes its time."""
        drawn = self._random()
        for _ in range(int(drawn * 3)):
            await asyncio.sleep(0)
        if drawn < 0.04 and not self._is_gone:
            await asyncio.sleep(drawn * 5)
        await self._check_alive()

    async def _check_alive(self) -> None:
        if self.is_crashed and not self._is_gone:
            future = self._loop.create_future()
            self._hanging.append(future)
            await future

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
        await self._check_alive()

    def _owner_of(self, called: Any) -> "Client":
        """The client code in whose spool a batch was written."""
        spool = called.__self__
        return next(each for each in self.clients if self.runners[each.code].state.spool is spool)

    def _open_export(self, path: Path) -> AbstractAsyncContextManager[Export]:
        return next(client for client in self.clients if client.owns(path)).open_export(path)

    @asynccontextmanager
    async def _connect(self, endpoint: Endpoint, calls: CallQueue, clock: Clock) -> AsyncIterator[TargetProtocol]:
        client = next(each for each in self.clients if each.code == endpoint.client_code)
        yield Wire(_Answers(self, client), calls, clock)

    async def answer_to(self, call: Call) -> Any:
        """Wait for the answer to a call; one that is cut off may have reached Target all the same."""
        await self._check_alive()
        self.calls.append(call)
        try:
            return await call.answer
        finally:
            if not self._is_gone and call.batch_id is not None and call.answer.cancelled():
                call.client.note_cut_off(call.batch_id, is_taken=self._random() < 0.5)


@dataclass(frozen=True, slots=True)
class _Answers:
    """Target as a process has it before itself: the test answers."""

    process: Process
    client: "Client"

    async def post(self, batch: Batch, body: Path) -> PostOutcome:
        process = self.process
        if not process.is_crashed:
            is_late = process.terminated_at is not None and self.client.time() - process.terminated_at > AT_ONCE_S
            assert not is_late, "it is sent though the process is to end"
            self.client.begin_post(batch.batch_id, body)
        answer: PostOutcome = await process.answer_to(Call(self.client, batch.batch_id, "", _future()))
        return answer

    async def status(self, url: str) -> StatusOutcome:
        answer: StatusOutcome = await self.process.answer_to(Call(self.client, None, url, _future()))
        return answer


def _future() -> "asyncio.Future[Any]":
    return asyncio.get_running_loop().create_future()


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
