"""Loads exports into Target: READ FIRST. The only file that starts the tasks of the pipeline.

    produce ----sealed batches----> deliver (one task a batch) --> settled
       ^                                                             |
       +----------------- ids that are free again <------------------+

One task reads, maps and places rows (`producer`); each sealed batch gets a task that uploads it and follows it to its
final outcome (`delivery`). Both are bounded: at most `[upload] concurrency` batches upload, as many more wait
sealed, and the status window limits how many are unsettled. All facts are in the ledger before they have consequences:
a job that was cut off is gone on with first, and a crash is only an untidy way to stop. Whatever ends a load, every
row read is in exactly one class when it has ended, and the report says so.
"""

import gc
import math
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from pipeline.claims import check_claim, complete_claims, next_job
from pipeline.core.checkpoint import Checkpoint
from pipeline.core.errors import ExitCode, FatalError, InputError, PipelineError, most_telling
from pipeline.core.lifecycle import Life
from pipeline.core.model import Batch, Settled
from pipeline.core.pacing import CallBudget, StatusWindow
from pipeline.core.polling import PollPlan
from pipeline.core.progress import TARGET_REFUSED, Progress
from pipeline.core.refusals import Refusals
from pipeline.core.signals import shown
from pipeline.core.status_memory import Learned, StatusMemory
from pipeline.delivery import Courier
from pipeline.edges.calls import CallQueue
from pipeline.edges.clock import Clock
from pipeline.edges.exports import Identity, digest, identify
from pipeline.edges.ledger import JobRecord
from pipeline.edges.state import State
from pipeline.edges.target import Endpoint, Target, connect
from pipeline.edges.windows import Windows
from pipeline.following import Follower
from pipeline.job import Job, new_job_id
from pipeline.lanes import DEFAULT_ROUTE, LaneSettings
from pipeline.opening import open_lane
from pipeline.producer import abandoned, produce
from pipeline.recovery import Recovered, recover
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
    """Finish what is unfinished, then bring every row of these exports into Target; the report of each job as it ends.

    The exports are loaded as `route` says. `watch` is run beside each load to show its progress, and cancelled at its
    end. An export whose content is that of the latest job is not sent, unless `again`: that job's report is given once
    more. Whatever goes wrong with an export, with Target or with the disk is in its report, `exit_code` with it. Raises
    `FatalError` where the state directory is in use (73), cannot be used (74) or belongs to another client code (78).
    """
    beside = [stopped_by_signals, _answering, *([watch] if watch else [])]
    async with open_runner(settings, clock, beside) as runner:
        state = runner.state
        finished: set[str] = set()
        await complete_claims(state)
        for path in [*paths, None]:
            # What was cut off, and what was asked for meanwhile: retries. In order, so that nothing overtakes.
            async for report in runner.run_unfinished():
                finished.add(report["job"])
                yield report
                if report["state"] == "unfinished":
                    return
            if path is None:
                return
            known = None if again else await _same_as_latest(state, path, route)
            if known is not None:
                if known["job"] not in finished:
                    log.warning("export_not_sent", export=path.name, same_as=known["job"], to_send_it="--again")
                    yield known
                continue
            report = await runner.load(path, route)
            finished.add(report["job"])
            yield report
            if ExitCode(report["exit_code"]) not in GO_ON_AFTER:
                return


@asynccontextmanager
async def open_runner(settings: LaneSettings, clock: Clock, beside: Sequence[Watch]) -> AsyncIterator["Runner"]:
    """Hold the state directory of a client code, with a runner for its jobs. Raises the errors of `open_lane`."""
    async with open_lane(settings, clock) as state:
        yield Runner(state, settings, clock, beside, await state.call(state.ledger.learned_statuses))


async def _same_as_latest(state: State, path: Path, route: str) -> Report | None:
    """The report of the latest job, if it had the content of this export, and came by the same route."""
    latest = await state.call(state.ledger.latest_job)
    if latest is None or latest.report is None or latest.route != route:
        return None
    try:
        if (await identify(path)).size_bytes != latest.size_bytes:
            return None
        return latest.report if await digest(path) == latest.sha256 else None
    except InputError:
        # The load itself will meet the same error, and report it.
        return None


class Runner:
    """Runs jobs one after the other in a state directory; `running` is the one that runs at the moment.

    All of `beside` run beside each job, to watch it or to end it by an error, and are cancelled at its end. `learned`
    is what the ledger knows of statuses.
    """

    def __init__(
        self, state: State, settings: LaneSettings, clock: Clock, beside: Sequence[Watch], learned: Learned
    ) -> None:
        self.running: Job | None = None
        self.state = self._state = state
        self.settings = settings
        self._clock = clock
        self._beside = beside
        windows = Windows(schedule_of(settings.settings.windows), clock)
        self._calls = CallQueue(CallBudget(settings.settings.target.calls_per_minute), clock, windows)
        self._refusals = Refusals()
        self._follower = self._new_follower()
        self._memory = StatusMemory(learned)

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

    async def run_unfinished(self) -> AsyncIterator[Report]:
        """Run all unfinished jobs in their order; the report of each. An endless loop unless one ends it by leaving."""
        while record := await next_job(self._state):
            yield await self.run(record)

    async def load(self, path: Path, route: str) -> Report:
        """Begin a job for an export and run it, as that route says."""
        error: InputError | None = None
        try:
            identity = await identify(path)
        except InputError as missing:
            identity, error = Identity(0, 0), missing
        now = self._clock.utc_now()
        export = await anyio.Path(path).absolute()
        record = await self._state.call(
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
        return await self.run(record, error)

    async def run(self, record: JobRecord, error: PipelineError | None = None) -> Report:
        """Run a job from where it stands to its end; with `error` it has none but to be reported."""
        # All that is logged on the way, by whichever task, names the job.
        with bound_contextvars(job=record.job_id):
            report = await self._run_record(record, error)
        # A job leaves circles of tasks and callbacks behind, and in them arrays and mapped files, deleted by now. Left
        # to itself, the collector finds them many jobs later.
        gc.collect()
        return report

    async def _run_record(self, record: JobRecord, error: PipelineError | None) -> Report:
        state, clock = self._state, self._clock
        started = clock.monotonic()
        if record.retry_of:
            try:
                record = await state.call(rows_left, state, record)
            except PipelineError as not_written:
                error = not_written
        job = Job(
            record=record,
            settings=self.settings.of(record.route),
            state=state,
            folder=await state.call(state.folder, record.job_id),
            progress=Progress(checkpoint=record.checkpoint, error=error, is_abandoned=record.is_abandoned),
            clock=clock,
            until_resumed=lambda: until_resumed(state, clock, self._calls.windows),
        )
        calls_before = self._calls.made
        self.running = job
        # Before this it may have been abandoned without anybody to tell.
        latest = await state.call(state.ledger.job, record.job_id)
        job.progress.is_abandoned = job.progress.is_abandoned or (latest is not None and latest.is_abandoned)
        log.info(
            "load_started",
            export=shown(job.export.name),
            at_line=job.record.checkpoint.position.line,
        )
        try:
            await state.call(
                job.folder.cut_rejects, record.checkpoint.rejects_bytes, may_be_shorter=record.is_abandoned
            )
            recovered = await recover(job)
            if error is None:
                async with _watched(job, self._calls, [*self._beside, _watching_windows]):
                    await check_claim(record, state)
                    if record.claim is not None and record.claim.manifest.dry_run:
                        await rehearse(job)
                    else:
                        async with connect(_endpoint(job.settings), self._calls, clock) as target:
                            await self._run(job, target, recovered)
                if job.progress.error is None:
                    job.progress.error = _error_of_ended(job)
        except* PipelineError as errors:
            job.progress.error = most_telling(errors)
        job.progress.calls = self._calls.made - calls_before

        def tell() -> Report:
            seconds = clock.monotonic() - started
            return build_report(job, datetime.fromisoformat(record.started_at), clock.utc_now(), seconds)

        report = tell()
        try:
            await put_away(job, report)
        except FatalError as error:
            # It has ended, but that cannot be written down: the next run ends it.
            job.progress.error = error
            report = tell()
        self.running = None
        if report["exit_code"] == ExitCode.REFUSED_BY_TARGET:
            # Whoever runs it again expects that something was mended: what was seen before tells nothing any more.
            self._refusals = Refusals()
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

    async def _run(self, job: Job, target: Target, recovered: Recovered) -> None:
        """Read, send and settle; ends when every batch is settled or an error has ended the job."""
        sealed_in, sealed_out = anyio.create_memory_object_stream[Batch](0)
        # As many as there are batches in flight at most; unbounded so that a delivery never waits here.
        settled_in, settled_out = anyio.create_memory_object_stream[Settled](math.inf)
        fixed = job.settings.settle.status_window
        memory = self._memory if fixed == "auto" else None
        window = StatusWindow(
            self._memory.learned.size if fixed == "auto" else fixed,
            next_number=recovered.next_post_number,
            unsettled=recovered.open_posts,
            overlap=job.settings.upload.concurrency - 1,
        )
        self._refusals.begin_job()
        self._refusals.prove(*recovered.proven)
        self._refusals.has_accepted |= recovered.has_accepted
        with settled_in, settled_out, sealed_out:
            courier = Courier(job, target, WindowGate(window, memory), self._follower, settled_in, self._refusals)
            async with anyio.create_task_group() as tasks:

                def spawn(batch: Batch, life: Life) -> None:
                    tasks.start_soon(courier.deliver, batch, life)

                courier.spawn = spawn
                tasks.start_soon(produce, job, courier, recovered.in_flight, sealed_in, settled_out)
                # The producer has to know what is in flight before anything of it is settled.
                await recovered.in_flight.is_tracked.wait()
                for batch, life in recovered.to_deliver:
                    tasks.start_soon(courier.deliver, batch, life)
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


async def _watching_windows(_: Job, calls: CallQueue) -> None:
    await calls.windows.watch(calls.look_again)


async def _answering(job: Job, _: CallQueue) -> None:
    await answer_requests(job.state, job.clock, lambda: job)


async def stopped_by_signals(_: Job, __: CallQueue) -> None:
    """Let SIGTERM and SIGINT end a job tidily, with `FatalError` (75)."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            raise FatalError(f"stopped by {signal.Signals(number).name}.", exit_code=ExitCode.UNFINISHED)


def _endpoint(settings: Settings) -> Endpoint:
    target = settings.target
    return Endpoint(
        url=target.url,
        client_code=target.client_code,
        api_version=target.api_version,
        status_hosts=target.status_hosts,
        token_file=target.token_file,
        min_rate_bytes_s=settings.upload.min_rate_bytes_s,
    )
