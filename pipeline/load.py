"""Loads exports into Target: READ FIRST. The only file that starts the tasks of the pipeline.

    produce ----sealed batches----> deliver (one task a batch) --> settled
       ^                                                             |
       +----------------- ids that are free again <------------------+

One task reads, maps and places rows (`producer`); each sealed batch gets a task that uploads it and follows it to its
final outcome (`delivery`). Both are bounded: at most `[upload] concurrency` batches upload, as many more wait
sealed, and the status window limits how many are unsettled. All facts are in the ledger before they have consequences:
a job that was cut off is gone on with first, and a crash is only an untidy way to stop. Whatever ends a load, every
row read is in exactly one class when it has ended, and the report says so.

Jobs overlap: the next one begins when the export of the one before is read to its end, and what both have in common is
kept in order by the lane they share (`core.lane` says how, and why that is safe). So all bounds are those of the client
code, not of a job. A job that fails (65, 66) touches no other. When one cannot be finished (69, 70, 73, 74, 75, 77),
all that run are stopped, unfinished: the next run goes on with them, in their order.
"""

import asyncio
import gc
import math
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import structlog
from anyio.streams.memory import MemoryObjectSendStream
from structlog.contextvars import bound_contextvars

from pipeline.claims import check_claim, complete_claims, next_job
from pipeline.connection import connected
from pipeline.core.checkpoint import Checkpoint
from pipeline.core.errors import ExitCode, FatalError, InputError, PipelineError, most_telling
from pipeline.core.lane import Lane
from pipeline.core.lifecycle import Life
from pipeline.core.model import Batch
from pipeline.core.pacing import CallBudget, StatusWindow
from pipeline.core.polling import PollPlan
from pipeline.core.progress import TARGET_REFUSED, Progress
from pipeline.core.refusals import Refusals, Run
from pipeline.core.signals import shown
from pipeline.core.status_memory import Learned, StatusMemory
from pipeline.delivery import Courier, Road
from pipeline.edges.calls import CallQueue
from pipeline.edges.clock import Clock
from pipeline.edges.exports import Identity, digest, identify
from pipeline.edges.ledger import JobRecord
from pipeline.edges.state import State
from pipeline.edges.windows import Windows
from pipeline.following import Follower
from pipeline.job import Job, new_job_id
from pipeline.lanes import DEFAULT_ROUTE, LaneSettings
from pipeline.opening import open_lane
from pipeline.producer import abandoned, produce
from pipeline.recovery import Recovered, begun_jobs, recover, recover_lane
from pipeline.rehearsal import rehearse
from pipeline.report import build_report, put_away
from pipeline.requests import answer_requests, until_resumed
from pipeline.retrying import rows_left
from pipeline.settings import Settings
from pipeline.settings_sections import ExportSettings
from pipeline.settings_windows import schedule_of
from pipeline.window import WindowGate

log = structlog.get_logger()

Watch = Callable[[Job, CallQueue], Coroutine[Any, Any, None]]
Report = dict[str, Any]
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
#: How often it is looked whether a POST still runs (seconds).
_LET_POSTS_END_S = 0.1

#: After these, the remaining exports of a run are still tried.
GO_ON_AFTER = (ExitCode.DONE, ExitCode.EXPORT_UNUSABLE, ExitCode.EXPORT_MISSING, ExitCode.ROWS_LOST)


async def load_export(
    path: Path, settings: Settings, *, clock: Clock, watch: Watch | None = None, again: bool = False
) -> Report:
    """Bring every row of an export into Target; the report of its job. Unfinished jobs are finished before.

    The other arguments and errors are those of `load_exports`.
    """
    lane = LaneSettings.of_one(settings)
    reports = [report async for report in load_exports([path], lane, clock=clock, watch=watch, again=again)]
    return reports[-1]


async def load_exports(
    paths: list[Path],
    settings: LaneSettings,
    *,
    route: str = DEFAULT_ROUTE,
    clock: Clock,
    watch: Watch | None = None,
    again: bool = False,
) -> AsyncIterator[Report]:
    """Finish what is unfinished, then bring every row of these exports into Target; reports in the order of the jobs.

    The exports are loaded as `route` says. `watch` is run beside each load to show its progress, and cancelled at its
    end. An export whose content is that of the latest job is not sent, unless `again`: that job's report is given once
    more. Whatever goes wrong with an export, with Target or with the disk is in its report, `exit_code` with it. Raises
    `FatalError` where the state directory is in use (73), cannot be used (74) or belongs to another client code (78).
    """
    told, reports = anyio.create_memory_object_stream[Report](math.inf)
    # In a task of its own: jobs go on while a report is looked at, and a generator cannot hold a task group meanwhile.
    loading = asyncio.ensure_future(_load_all(paths, (settings, route), clock, watch, told, again=again))
    try:
        with reports:
            async for report in reports:
                yield report
        await loading
    finally:
        loading.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([loading])


async def _load_all(
    paths: list[Path],
    way: tuple[LaneSettings, str],
    clock: Clock,
    watch: Watch | None,
    told: MemoryObjectSendStream[Report],
    *,
    again: bool,
) -> None:
    settings, route = way
    error: PipelineError | None = None
    with told:
        async with open_runner(settings, clock, [watch] if watch else []) as runner:
            state = runner.state
            loads = Loads(runner, route, paths, told.send_nowait, again=again)
            await complete_claims(state)
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(answer_requests, state, clock, lambda: runner.running)
                    tasks.start_soon(_stopped_by_signals, runner)
                    await runner.run_jobs(loads.next_job, loads.note_ended)
                    tasks.cancel_scope.cancel()
            except* PipelineError as errors:
                error = most_telling(errors)
        if error is not None:
            raise error


@asynccontextmanager
async def open_runner(settings: LaneSettings, clock: Clock, beside: Sequence[Watch]) -> AsyncIterator["Runner"]:
    """Hold the state directory of a client code, with a runner for its jobs. Raises the errors of `open_lane`."""
    async with open_lane(settings, clock) as state:
        yield Runner(state, settings, clock, beside, await state.call(state.ledger.learned_statuses))


class Loads:
    """The exports of one run of `load`, whose turn it is next, and their reports: `tell` gets them in order."""

    def __init__(
        self, runner: "Runner", route: str, paths: list[Path], tell: Callable[[Report], None], *, again: bool
    ) -> None:
        self._runner = runner
        self._state = runner.state
        self._route = route
        self._paths = list(paths)
        self._tell = tell
        self._again = again
        self._order: list[str] = []
        self._reports: dict[str, Report] = {}
        self._ended: set[str] = set()
        self._digests: dict[tuple[Path, Identity], str] = {}

    async def next_job(self, running: Collection[int]) -> JobRecord | None:
        """What was cut off, and what was asked for meanwhile (retries), in order; then the next export."""
        record = await next_job(self._state, running)
        while record is None and self._paths:
            path = self._paths[0]
            latest = None if self._again else await self._same_as_latest(path)
            if latest is not None and latest.seq in running:
                # What becomes of it is to be seen first.
                return None
            del self._paths[0]
            if latest is None:
                record = await self._runner.enter(path, self._route)
            elif latest.report is not None and latest.job_id not in self._ended:
                log.warning("export_not_sent", export=path.name, same_as=latest.job_id, to_send_it="--again")
                self._order.append(latest.job_id)
                await self.note_ended(latest, latest.report)
        if record is not None and record.job_id not in self._order:
            self._order.append(record.job_id)
        return record

    async def note_ended(self, record: JobRecord, report: Report) -> None:
        """A job has ended: tell of all that may be told of now."""
        self._ended.add(record.job_id)
        self._reports[record.job_id] = report
        while self._order and self._order[0] in self._reports:
            self._tell(self._reports.pop(self._order.pop(0)))

    async def _same_as_latest(self, path: Path) -> JobRecord | None:
        """The latest job, if it had the content of this export, or has: it may run still, read to its end.

        And if it came by the same route.
        """
        latest = await self._state.call(self._state.ledger.latest_job)
        if latest is None or latest.route != self._route or not (latest.report or latest.checkpoint.has_ended):
            return None
        try:
            identity = await identify(path)
            if identity.size_bytes != latest.size_bytes:
                return None
            if (path, identity) not in self._digests:
                self._digests[path, identity] = await digest(path)
        except InputError:
            # The load itself will meet the same error, and report it.
            return None
        return latest if self._digests[path, identity] == (latest.sha256 or latest.checkpoint.digest) else None


class Runner:
    """Runs the jobs of a client code in a state directory, in their order; `running` are those that do at the moment.

    All of `beside` run beside each job, to watch it or to end it by an error, and are cancelled at its end. `learned`
    is what the ledger knows of statuses.
    """

    def __init__(
        self, state: State, settings: LaneSettings, clock: Clock, beside: Sequence[Watch], learned: Learned
    ) -> None:
        self.state = self._state = state
        self.settings = settings
        self._clock = clock
        self._beside = [self._end_with_others, *beside]
        windows = Windows(schedule_of(settings.settings.windows), clock)
        self._calls = CallQueue(CallBudget(settings.settings.target.calls_per_minute), clock, windows)
        self._run = Run()
        self._follower = self._new_follower()
        self._memory = StatusMemory(learned)
        self._running: dict[int, Job | None] = {}
        self._lane: Lane | None = None
        self._road: Road | None = None
        self._moved = anyio.Event()
        self._stop = anyio.Event()
        self._stopped_by: PipelineError | None = None
        self._unfinished: Report | None = None

    def take(self, settings: LaneSettings) -> None:
        """Run the jobs to come with other settings of the same client code; the budget of calls is changed at once."""
        before, self.settings = self.settings.settings, settings
        self._calls.windows.take(schedule_of(settings.settings.windows))
        self._calls.allow(settings.settings.target.calls_per_minute)
        if settings.settings.settle != before.settle:
            self._follower = self._new_follower()

    def _new_follower(self) -> Follower:
        settle = self.settings.settings.settle
        plan = PollPlan(first_s=settle.poll_first_s, max_s=settle.poll_max_s)
        return Follower(plan, self._calls, self._clock, deadline_s=settle.deadline_s)

    @property
    def running(self) -> list[Job]:
        """The jobs that run, in their order."""
        return [job for job in self._running.values() if job]

    async def run_jobs(self, next_job: Next, told: Told) -> Report | None:
        """Run one job after the other, each as soon as the one before is read, until there is none any more.

        `told` is awaited with the report of each. When one cannot be finished, all that run are stopped, and its report
        is returned: they are to be run again. Raises what `stop` was called with, if it stopped no job.
        """
        self._lane = self._road = self._stopped_by = self._unfinished = None
        self._stop = anyio.Event()
        async with anyio.create_task_group() as watching:
            watching.start_soon(self._calls.windows.watch, self._calls.look_again)
            async with anyio.create_task_group() as tasks:
                while not self._stop.is_set():
                    record = await next_job(self._running.keys()) if self._may_begin else None
                    if record is not None and not (record.retry_of and self._running) and not self._stop.is_set():
                        if self._lane is None:
                            self._lane = Lane(self._state.spool.hashes, await begun_jobs(self._state), self._move)
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
        export = await anyio.Path(path).absolute()
        return await self._state.call(
            self._state.ledger.begin_job,
            JobRecord(
                seq=0,
                job_id=new_job_id(path, now),
                export=Path(export),
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
        lane = self._lane
        if lane is None:
            return True
        is_room = lane.views < MAX_PLACING and len(self._running) < MAX_RUNNING
        return is_room and all(lane.is_read(seq) for seq in self._running)

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
        with anyio.move_on_after(self.settings.settings.service.grace_s):
            while job.progress.posting:
                await self._clock.sleep(_LET_POSTS_END_S)
        why = self._unfinished["job"] if self._unfinished else "another"
        raise FatalError(f"stopped because job {why} could not be finished.", exit_code=ExitCode.UNFINISHED)

    async def _until_sending(self) -> None:
        """Return when a POST may begin; never once the job is to end."""
        await until_resumed(self._state, self._clock, self._calls.windows)
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
        try:
            if error is None:
                await self._load(job)
                if job.progress.error is None:
                    job.progress.error = _error_of_ended(job)
        except* PipelineError as errors:
            job.progress.error = most_telling(errors)

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
            self._run = Run()
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
            folder=await state.call(state.folder, record.job_id),
            progress=progress,
            clock=self._clock,
            until_resumed=self._until_sending,
            lane=self._the_lane,
        )
        job.lane.enter(record.seq)
        self._running[record.seq] = job
        # Before this it may have been abandoned without anybody to tell.
        latest = await state.call(state.ledger.job, record.job_id)
        progress.is_abandoned = progress.is_abandoned or (latest is not None and latest.is_abandoned)
        at_line = record.checkpoint.position.line
        log.info("load_started", export=shown(job.export.name), at_line=at_line)
        return job

    @property
    def _the_lane(self) -> Lane:
        if self._lane is None:
            raise FatalError("a job runs in no lane: a bug in profile-pipeline, please report it.")
        return self._lane

    async def _load(self, job: Job) -> None:
        """Go on with a job where it stands, up to its end."""
        record, state = job.record, self._state
        await state.call(job.folder.cut_rejects, record.checkpoint.rejects_bytes, may_be_shorter=record.is_abandoned)
        self._road = self._road or await self._open_road(job.lane)
        recovered = await recover(job)
        async with _watched(job, self._calls, self._beside):
            await check_claim(record, state)
            if record.claim is not None and record.claim.manifest.dry_run:
                await rehearse(job)
                return
            await self._send(job, self._road, recovered)

    async def _open_road(self, lane: Lane) -> Road:
        """Take up what is in flight from earlier jobs, and make what all jobs share on the way to Target."""
        upload, settle = self.settings.settings.upload, self.settings.settings.settle
        posts = await recover_lane(lane, self._state, self._clock, settle.ambiguous_hold_s)
        fixed = settle.status_window
        memory = self._memory if fixed == "auto" else None
        window = StatusWindow(
            self._memory.learned.size if fixed == "auto" else fixed,
            next_number=posts.next_number,
            unsettled=posts.open_numbers,
            overlap=upload.concurrency - 1,
        )
        return Road(
            window=WindowGate(window, memory),
            follower=self._follower,
            uploaders=anyio.CapacityLimiter(upload.concurrency),
            unsent=anyio.Semaphore(upload.concurrency),
        )

    async def _send(self, job: Job, road: Road, recovered: Recovered) -> None:
        """Read, send and settle; ends when every batch is settled or an error has ended the job."""
        sealed_in, sealed_out = anyio.create_memory_object_stream[Batch](0)
        refusals = Refusals(self._run)
        refusals.prove(*recovered.proven)
        self._run.has_accepted |= recovered.has_accepted
        courier = Courier(job, road, refusals)
        async with sealed_out, AsyncExitStack() as stack, anyio.create_task_group() as tasks:

            def spawn(batch: Batch, life: Life) -> None:
                tasks.start_soon(courier.deliver, batch, life)

            courier.spawn = spawn
            tasks.start_soon(produce, job, courier, sealed_in)
            courier.target = await stack.enter_async_context(connected(job, self._calls))
            for batch, life in recovered.to_deliver:
                spawn(batch, life)
            async for batch in sealed_out:
                tasks.start_soon(courier.deliver_new, batch)
            courier.no_more_batches()


def _error_of_ended(job: Job) -> InputError | None:
    """What is wrong with a job that came to its end: abandoned meanwhile, or Target refused too many of its rows."""
    rows = job.progress.close()
    if job.progress.is_abandoned and rows.unsent:
        return abandoned()
    refused = job.progress.rejects_by_reason[TARGET_REFUSED]
    max_rejects = ExportSettings.model_validate(job.record.settings).max_rejects
    if refused and max_rejects.is_exceeded(rows.rejected, rows.read, final=True):
        return InputError(
            f"{rows.rejected:,} of the {rows.read:,} rows are rejected, {refused:,} of them by Target, more than "
            f"[export] max_rejects = {max_rejects} allows; all others were sent. See {job.folder.rejects}."
        )
    return None


@asynccontextmanager
async def _watched(job: Job, calls: CallQueue, beside: Sequence[Watch]) -> AsyncIterator[None]:
    """Run all of these while the body runs."""
    async with anyio.create_task_group() as tasks:
        for watch in beside:
            tasks.start_soon(watch, job, calls)
        yield
        tasks.cancel_scope.cancel()


async def _stopped_by_signals(runner: Runner) -> None:
    """Let SIGTERM and SIGINT end a load tidily, with `FatalError` (75)."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            name = signal.Signals(number).name
            runner.stop(FatalError(f"stopped by {name}.", exit_code=ExitCode.UNFINISHED))
