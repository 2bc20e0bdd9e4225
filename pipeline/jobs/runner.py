"""Runs the jobs of a client code, each as soon as the export of the one before is read to its end.

What overlapping jobs have in common is kept in order by what they have in flight (`core.batches.in_flight` says how,
and why that is safe). So all bounds are those of the client code, not of a job. A job that fails (65, 66) touches no
other. When one cannot be finished (69, 70, 73, 74, 75, 77), all that run are stopped, unfinished: the next run goes on
with them, in their order.
"""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.in_flight import InFlight
from pipeline.core.batches.progress import Progress
from pipeline.core.batches.refusals import SeenAccepting
from pipeline.core.drop.signals import shown
from pipeline.core.errors import ExitCode, FatalError, InputError, PipelineError, most_telling
from pipeline.core.target.pacing import CallBudget
from pipeline.core.target.polling import PollPlan
from pipeline.core.target.status_memory import Learned, StatusMemory
from pipeline.edges.exports import Identity, identify
from pipeline.edges.host import Host
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.status_poller import StatusPoller
from pipeline.edges.target.time_windows import Windows
from pipeline.jobs.control import until_resumed
from pipeline.jobs.job import Job, let_posts_end, new_job_id
from pipeline.jobs.load import Watch, load_job
from pipeline.jobs.open_state import open_tenant
from pipeline.jobs.recovery import begun_jobs, take_stock
from pipeline.jobs.report import Report, build_report, put_away
from pipeline.jobs.resend import rows_left
from pipeline.jobs.send_limits import SendLimits, open_send_limits
from pipeline.settings.tenants import Tenant
from pipeline.settings.time_windows import schedule_of

log = structlog.get_logger()

#: The next job to run, given those that do; None: there is none now.
Next = Callable[[Collection[int]], Awaitable[JobRecord | None]]
#: What a job came to, as soon as it has ended.
Told = Callable[[JobRecord, Report], Awaitable[None]]

#: So many jobs read or hold rows at once. Ours: each has a table of the ids in flight, 16 MB for five million of them.
#: The rows they hold are under one cap, and only the last one reads.
MAX_PLACING = 4
#: So many jobs run at once. Ours: one whose rows are all sealed costs next to nothing, and there is hardly more to gain
#: than Target keeps statuses, ten by its own word.
MAX_RUNNING = 16
#: How often it is looked whether another job has come while some run (seconds).
_LOOK_AROUND_S = 1.0


@asynccontextmanager
async def open_runner(settings: Tenant, host: Host, beside: Sequence[Watch]) -> AsyncIterator["Runner"]:
    """Hold the state directory of a client code, with a runner for its jobs. Raises the errors of `open_lane`."""
    async with open_tenant(settings, host) as state:
        yield Runner(state, settings, beside, await state.call(state.ledger.learned_statuses))


class Runner:
    """Runs the jobs of a client code in a state directory, in their order; `running` are those that do at the moment.

    All of `beside` run beside each job, to watch it or to end it by an error, and are cancelled at its end. `learned`
    is what the ledger knows of statuses.
    """

    def __init__(self, state: State, settings: Tenant, beside: Sequence[Watch], learned: Learned) -> None:
        self.state = self._state = state
        self.settings = settings
        self._clock = clock = state.host.clock
        self._beside = [self._end_with_others, *beside]
        windows = Windows(schedule_of(settings.settings.windows), clock)
        self._calls = CallQueue(CallBudget(settings.settings.target.calls_per_minute), clock, windows)
        self._run = SeenAccepting()
        self._status_poller = self._new_status_poller()
        self._memory = StatusMemory(learned)
        self._running: dict[int, Job | None] = {}
        self._in_flight: InFlight | None = None
        self._limits: SendLimits | None = None
        self._moved = anyio.Event()
        self._stop = anyio.Event()
        self._stopped_by: PipelineError | None = None
        self._unfinished: Report | None = None

    def take(self, settings: Tenant) -> None:
        """Run the jobs to come with other settings of the same client code; the budget of calls is changed at once."""
        before, self.settings = self.settings.settings, settings
        self._calls.windows.take(schedule_of(settings.settings.windows))
        self._calls.allow(settings.settings.target.calls_per_minute)
        if settings.settings.settle != before.settle:
            self._status_poller = self._new_status_poller()

    def _new_status_poller(self) -> StatusPoller:
        settle = self.settings.settings.settle
        plan = PollPlan(first_s=settle.poll_first_s, max_s=settle.poll_max_s)
        return StatusPoller(plan, self._calls, self._clock, deadline_s=settle.deadline_s)

    @property
    def running(self) -> list[Job]:
        """The jobs that run, in their order."""
        return [job for job in self._running.values() if job]

    async def run_jobs(self, next_job: Next, told: Told) -> Report | None:
        """Run one job after the other, each as soon as the one before is read, until there is none any more.

        `told` is awaited with the report of each. When one cannot be finished, all that run are stopped, and its report
        is returned: they are to be run again. Raises what `stop` was called with, if it stopped no job.
        """
        self._in_flight = self._limits = self._stopped_by = self._unfinished = None
        self._stop = anyio.Event()
        async with anyio.create_task_group() as watching:
            watching.start_soon(self._calls.windows.watch, self._calls.look_again)
            async with anyio.create_task_group() as tasks:
                while not self._stop.is_set():
                    record = await next_job(self._running.keys()) if self._may_begin else None
                    if record is not None and not (record.retry_of and self._running) and not self._stop.is_set():
                        if self._in_flight is None:
                            self._in_flight = InFlight(
                                self._state.spool.hashes, await begun_jobs(self._state), self._move
                            )
                        self._running[record.seq] = None
                        tasks.start_soon(self._run_and_tell, record, told)
                    elif self._running:
                        with anyio.move_on_after(_LOOK_AROUND_S):
                            await self._moved.wait()
                    else:
                        break
            watching.cancel_scope.cancel()
        if self._stopped_by is not None and self._unfinished is None:
            raise self._stopped_by
        return self._unfinished

    def stop(self, error: PipelineError) -> None:
        """End all that runs by this error."""
        self._stopped_by = self._stopped_by or error
        self._stop.set()
        self._move()

    async def enter(self, path: Path, route: str) -> JobRecord:
        """A new job for an export, as that route says; one that cannot be read will say so when it runs."""
        try:
            identity = await identify(path)
        except InputError:
            identity = Identity(0, 0)
        now = self._clock.utc_now()
        export = await self._state.host.run_blocking(path.absolute)
        return await self._state.call(
            self._state.ledger.begin_job,
            JobRecord(
                seq=0,
                job_id=new_job_id(path, now),
                export=export,
                size_bytes=identity.size_bytes,
                mtime_ns=identity.mtime_ns,
                settings=self.settings.of(route).export.model_dump(mode="json"),
                started_at=now.isoformat(timespec="seconds"),
                retry_of=None,
                checkpoint=Checkpoint(),
                route=route,
            ),
        )

    @property
    def _may_begin(self) -> bool:
        """Whether one more job may run: all others are read, and there are not too many of them."""
        in_flight = self._in_flight
        if in_flight is None:
            return True
        is_room = in_flight.views < MAX_PLACING and len(self._running) < MAX_RUNNING
        return is_room and all(in_flight.is_read(seq) for seq in self._running)

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    async def _run_and_tell(self, record: JobRecord, told: Told) -> None:
        # All that is logged on the way, by whichever task, names the job.
        with bound_contextvars(job=record.job_id):
            report = await self._run_job(record)
        # A job leaves circles of tasks and callbacks behind, and in them arrays and mapped files, deleted by now. Left
        # to itself, the collector finds them many jobs later.
        gc.collect()
        del self._running[record.seq]
        if report["state"] == "unfinished":
            self._unfinished = self._unfinished or report
            self._stop.set()
        await told(record, report)
        self._move()

    async def _end_with_others(self, job: Job, _: CallQueue) -> None:
        """Run beside a job: ends it when another one could not be finished, but lets its running POSTs end."""
        await self._stop.wait()
        if self._stopped_by is not None:
            raise self._stopped_by
        await let_posts_end(job)
        why = self._unfinished["job"] if self._unfinished else "another"
        raise FatalError(f"stopped because job {why} could not be finished.", exit_code=ExitCode.UNFINISHED)

    async def _until_sending(self, progress: Progress) -> None:
        """Return when a POST may begin, or the job was abandoned; never once all jobs are to end."""
        await until_resumed(self._state, self._clock, self._calls.windows, lambda: progress.is_abandoned)
        if self._stop.is_set():
            await anyio.sleep_forever()

    async def _run_job(self, record: JobRecord) -> Report:
        """Run a job from where it stands to its end."""
        state, clock = self._state, self._clock
        started = clock.monotonic()
        error: PipelineError | None = None
        if record.retry_of:
            try:
                record = await state.call(rows_left, state, record)
            except PipelineError as not_written:
                error = not_written
        job = await self._begin(record, error)
        stock = await take_stock(job)
        try:
            if error is None:
                self._limits = self._limits or await self._open_send_limits(job.in_flight)
                await load_job(job, stock, self._limits, self._run, self._calls, self._beside)
        except* PipelineError as errors:
            job.progress.error = most_telling(BaseExceptionGroup("", [errors, *job.progress.ended_by]))

        def tell() -> Report:
            seconds = clock.monotonic() - started
            return build_report(job, datetime.fromisoformat(record.started_at), clock.utc_now(), seconds)

        report = tell()
        try:
            await put_away(job, report)
        except FatalError as not_put_away:
            # It has ended, but that cannot be written down: the next run ends it.
            job.progress.error = not_put_away
            report = tell()
        if report["exit_code"] == ExitCode.REFUSED_BY_TARGET:
            # Whoever runs it again expects that something was mended: what was seen before tells nothing any more.
            self._run = SeenAccepting()
        rows = report["rows"]
        log.info(
            "load_finished",
            state=report["state"],
            exit_code=report["exit_code"],
            error=report["error"],
            read=rows["read"],
            confirmed=rows["confirmed"],
            superseded=rows["superseded"],
            rejected=rows["rejected"],
            empty=rows["empty"],
            failed=rows["failed"],
            unconfirmed=rows["unconfirmed"],
            unsent=rows["unsent"],
            seconds=report["seconds"],
        )
        return report

    async def _begin(self, record: JobRecord, error: PipelineError | None) -> Job:
        """A job is about to run, behind all those that do."""
        state = self._state
        progress = Progress(checkpoint=record.checkpoint, error=error, is_abandoned=record.is_abandoned)
        if not record.has_begun:
            progress.checkpoint.turn = 1 + max((job.progress.checkpoint.turn for job in self.running), default=0)
        job = Job(
            record=record,
            settings=self.settings.of(record.route),
            state=state,
            folder=state.folder(record.job_id),
            progress=progress,
            until_resumed=partial(self._until_sending, progress),
            in_flight=self._the_in_flight,
        )
        job.in_flight.enter(record.seq)
        self._running[record.seq] = job
        # Before this it may have been abandoned without anybody to tell.
        latest = await state.call(state.ledger.job, record.job_id)
        progress.is_abandoned = progress.is_abandoned or (latest is not None and latest.is_abandoned)
        at_line = record.checkpoint.position.line
        log.info("load_started", export=shown(job.export.name), at_line=at_line)
        return job

    @property
    def _the_in_flight(self) -> InFlight:
        if self._in_flight is None:
            raise FatalError("a job runs without what is in flight: a bug in profile-pipeline, please report it.")
        return self._in_flight

    async def _open_send_limits(self, in_flight: InFlight) -> SendLimits:
        settings = self.settings.settings
        return await open_send_limits(in_flight, self._state, self._clock, settings, self._status_poller, self._memory)
