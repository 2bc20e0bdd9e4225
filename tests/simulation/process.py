"""One process, from its start to its end or crash: the real runner of each client code on the loop of the world.

Its blocking calls pass a `Disk`, and its calls to Target wait for the test to answer them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from pipeline.core.batches.report import Report
from pipeline.core.errors import ExitCode, FatalError, PipelineError
from pipeline.core.model import Batch
from pipeline.core.target.replies import PostOutcome, StatusOutcome
from pipeline.edges.clock import Clock
from pipeline.edges.exports import Export, Parts
from pipeline.edges.host import Host
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
from tests.simulation.disk import Disk
from tests.simulation.figures import Figures
from tests.simulation.wire import Wire

if TYPE_CHECKING:
    from tests.simulation.client import Client

#: The time of day when the world begins.
BEGAN_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
#: Nothing that is to be so at once takes longer, however slow the disk is (seconds).
AT_ONCE_S = 1.0
#: Rows of a partition of the memory that are merged: all that has been sent twice.
_MERGED_ROWS = 2
#: What POSTs under way get to come to their end in when the process is to end (seconds).
GRACE_S = 3.0


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
        self.disk = Disk(figures, random, self._note_written)
        #: When SIGTERM was sent.
        self.terminated_at: float | None = None
        self.calls: list[Call] = []
        self.runners: dict[str, Runner] = {}
        #: The jobs that are under way, and have taken up what there was of them.
        self.jobs: list[Job] = []
        self.goes_on = random() < 0.5
        self._random = random
        self._loop = loop = asyncio.get_running_loop()
        clock = Clock(
            monotonic=lambda: loop.time() + offset_s,
            utc_now=lambda: BEGAN_AT + timedelta(seconds=loop.time()),
            random=random,
        )
        self._host = Host(
            clock=clock,
            run_blocking=self.disk.run_blocking,
            in_loop=lambda function: function(),
            open_export=self._open_export,
            connect=self._connect,
            merged_rows=_MERGED_ROWS,
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
        self.disk.vanish()
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
                command = Command((client.dropped[0].named,), DEFAULT_ROUTE, again=True)
                settings = runner.settings.of(DEFAULT_ROUTE)
                await enter_command(command, runner.state, settings, self._host.clock.utc_now())
                client.note_entered()
                record = await next_job(runner.state, running)
            return record

        async def told(_: JobRecord, report: Report) -> None:
            with client.watched():
                client.note_report(report)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_requests, runner.state, lambda: runner.running, self._ending.changed)
            while not self._ending.is_due:
                unfinished: Report | None = None
                try:
                    unfinished = await runner.run_jobs(next_one, told)
                except* ValueError:
                    # As the service does.
                    assert client.is_cursed
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

    def _note_written(self, spool: Any, batch: Batch) -> None:
        next(each for each in self.clients if self.runners[each.code].state.spool is spool).note_body(batch)

    def _open_export(
        self, path: Path, _: str | None = None, parts: Parts = (), /
    ) -> AbstractAsyncContextManager[Export]:
        return next(client for client in self.clients if client.owns(path)).open_export(path, None, parts)

    @asynccontextmanager
    async def _connect(self, endpoint: Endpoint, calls: CallQueue, clock: Clock) -> AsyncIterator[TargetProtocol]:
        client = next(each for each in self.clients if each.code == endpoint.client_code)
        yield Wire(_Answers(self, client), calls, clock)

    async def answer_to(self, call: Call) -> Any:
        """Wait for the answer to a call; one that is cut off may have reached Target all the same."""
        await self.disk.until_alive()
        self.calls.append(call)
        try:
            return await call.answer
        finally:
            if not self.disk.is_gone and call.batch_id is not None and call.answer.cancelled():
                call.client.note_cut_off(call.batch_id, is_taken=self._random() < 0.5)


@dataclass(frozen=True, slots=True)
class _Answers:
    """Target as a process has it before itself: the test answers."""

    process: Process
    client: "Client"

    async def post(self, batch: Batch, body: Path) -> PostOutcome:
        process = self.process
        if not process.disk.is_crashed:
            is_late = process.terminated_at is not None and self.client.time() - process.terminated_at > AT_ONCE_S
            with self.client.watched():
                assert not is_late, "it is sent though the process is to end"
                self.client.begin_post(batch.batch_id, body)
        answer: PostOutcome = await process.answer_to(Call(self.client, batch.batch_id, "", _future()))
        return answer

    async def status(self, url: str) -> StatusOutcome:
        answer: StatusOutcome = await self.process.answer_to(Call(self.client, None, url, _future()))
        return answer


def _future() -> "asyncio.Future[Any]":
    return asyncio.get_running_loop().create_future()
