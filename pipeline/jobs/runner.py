"""Runs the jobs of a client code. A job begins as soon as the export of the one before is read to its end.

`core.batches.in_flight` keeps the rows of overlapping jobs in order, and says why that is safe. All limits are those of
the client code, not of a job. A job that fails (65, 66) touches no other. When one cannot be finished (69, 70, 73, 74,
75, 77, 78), all running jobs are stopped, unfinished: the next run goes on with them, in their order.

A job in *quarantine* (`gathering`) ends its run by itself: those before it go on, and none behind it begins. It is run
once, so that its report tells why, and again when it is approved or given up.

A job that meets a bug is *set aside*, so that it holds up no other, and is not met again at each start: that is written
down, all running jobs are stopped, and a new round begins with what is durable, as after a crash. In it that job only
comes to its end (`load`): nothing more of it is sent, and what was sent is followed. If that meets a bug too, it ends
without, and what Target may have of it is unconfirmed. If even that does, nothing is known of what it sent: no job of
the client code goes on.
"""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from pipeline.core.batches.in_flight import InFlight
from pipeline.core.batches.progress import Progress
from pipeline.core.batches.refusals import SeenAccepting
from pipeline.core.batches.report import Report
from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.drop.signals import shown
from pipeline.core.errors import ExitCode, FatalError, PipelineError, is_bug, most_telling
from pipeline.core.target.pacing import CallBudget
from pipeline.core.target.status_memory import Learned, StatusMemory
from pipeline.edges.host import Host
from pipeline.edges.store.notices import HoldUps, put_up_hold_ups
from pipeline.edges.store.records import JobRecord, SetAside
from pipeline.edges.store.state import State
from pipeline.edges.target.authorities import trusting
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.status_poller import StatusPoller
from pipeline.edges.target.window_limits import Windows
from pipeline.edges.traces.of_jobs import job_span, note_report
from pipeline.jobs.delivery.send_limits import SendLimits, hold_ups, open_send_limits, plan_of
from pipeline.jobs.ending import Ending, tell_unexpected
from pipeline.jobs.job import Job, digest_of_salt, export_settings, mapping_settings, root_of, told_of_job
from pipeline.jobs.load import Watch, load_job
from pipeline.jobs.open_state import open_tenant
from pipeline.jobs.recovery import Standing, begun_jobs, settle_unfollowed, take_stock
from pipeline.jobs.report import build_report, build_uncounted_report, put_away, report_without_job, target_of
from pipeline.jobs.retries import rows_left
from pipeline.jobs.status.notifications import keep_notifications
from pipeline.settings.sections.export import ExportSettings
from pipeline.settings.sections.mapping import NO_MAPPING
from pipeline.settings.sections.windows import schedule_of
from pipeline.settings.sending import sending_digest
from pipeline.settings.tenants import Tenant

log = structlog.get_logger()

#: Returns the next job to run, given the `seq` of those that run; None if there is none now.
Next = Callable[[Collection[int]], Awaitable[JobRecord | None]]
#: Takes a job and its report as soon as its run has ended.
Told = Callable[[JobRecord, Report], Awaitable[None]]

#: The most jobs that read or hold rows at once. Ours: each has a table of the ids in flight, 16 MB for five million.
#: The rows they hold are under one cap, and only the last one reads.
MAX_PLACING = 4
#: The most jobs that run at once. Ours: a job whose rows are all sealed costs next to nothing, and more jobs than
#: statuses that Target keeps (ten by its own word) gain little.
MAX_RUNNING = 16
#: The most jobs, and bytes of their exports, whose garbage waits to be collected. Ours: to look for it takes as long as
#: a tenth of the smallest job.
_COLLECTED_JOBS = 16
_COLLECTED_BYTES = 1_000_000
#: Time between two looks for another job while some run (seconds).
_LOOK_AROUND_S = 1.0


@asynccontextmanager
async def open_runner(
    settings: Tenant, host: Host, ending: Ending, watch: Watch | None = None
) -> AsyncIterator["Runner"]:
    """Hold the state directory of a client code, with a runner for its jobs. Raises the errors of `open_tenant`, and
    `FatalError` (78) if `[target] ca_file` cannot be used.
    """
    if ca_file := settings.settings.target.ca_file:
        await host.run_blocking(trusting, ca_file)
    async with open_tenant(settings, host) as state:
        yield Runner(state, settings, ending, await state.in_turn(state.ledger.learned_statuses), watch)


@dataclass(slots=True)
class _Run:
    """Everything that the jobs of one round share. `limits` are opened for the first of them."""

    ending: Ending
    in_flight: InFlight
    aside: dict[str, SetAside]
    limits: SendLimits | None = None
    #: The jobs that could not be finished; and if one met a bug, for which all were stopped.
    unfinished: list[tuple[JobRecord, Report]] = field(default_factory=list)
    is_to_begin_anew: bool = False

    @property
    def cause(self) -> Report | None:
        """The report of a job that could not be finished for a reason of its own, or else of any."""
        reports = [report for _, report in self.unfinished]
        own = [report for report in reports if report.exit_code is not ExitCode.UNFINISHED]
        return next(iter([*own, *reports]), None)


class Runner:
    """Runs the jobs of a client code in a state directory, in their order; `running` are those that run now.

    `ending` is that of the process. `watch` runs beside each job, and is cancelled at its end. `learned`: the number
    of statuses that Target keeps, as the ledger has it.
    """

    def __init__(self, state: State, settings: Tenant, ending: Ending, learned: Learned, watch: Watch | None) -> None:
        self.state = state
        self.settings = settings
        self.ending = ending
        self._clock = clock = state.host.clock
        self._watch = watch or _watch_nothing
        windows = Windows(schedule_of(settings.settings.windows), clock)
        self._calls = CallQueue(CallBudget(settings.settings.target.calls_per_minute), clock, windows)
        settle = settings.settings.settle
        self._poller = StatusPoller(plan_of(settle), self._calls, clock, deadline_s=settle.deadline_s)
        self._seen_accepting = SeenAccepting()
        self._memory = StatusMemory(learned)
        self._running: dict[int, Job | None] = {}
        #: The jobs in quarantine of which that was told.
        self._quarantined: set[int] = set()
        self._left_jobs = self._left_bytes = 0
        #: The things that hold up sending, as they were told last; and if that is on the disk.
        self.hold_ups = HoldUps()
        self.is_told = False
        self._run: _Run | None = None

    @property
    def calls(self) -> CallQueue:
        """The queue of all calls of the client code."""
        return self._calls

    def take(self, settings: Tenant) -> None:
        """Change the settings of the client code: limits change at once, everything else with the jobs to come."""
        before, self.settings = self.settings.settings, settings
        self._calls.windows.take(schedule_of(settings.settings.windows))
        self._calls.allow(settings.settings.target.calls_per_minute)
        settle = settings.settings.settle
        if settle != before.settle:
            self._poller.take(first_s=settle.poll_first_s, max_s=settle.poll_max_s, deadline_s=settle.deadline_s)
            if self._run is not None and self._run.limits is not None:
                self._run.limits.hold_s = settle.ambiguous_hold_s
        self.ending.changed.tell()

    @property
    def window(self) -> tuple[int, int]:
        """The statuses that are awaited, and the number of those that Target keeps, as far as is known."""
        limits = self._run.limits if self._run else None
        if limits is not None:
            return limits.window.awaited, limits.window.size
        fixed = self.settings.settings.settle.status_window
        return 0, self._memory.learned.size if fixed == "auto" else fixed

    @property
    def running(self) -> list[Job]:
        """The jobs that run, in their order."""
        return [job for job in self._running.values() if job]

    async def run_jobs(self, next_job: Next, told: Told) -> Report | None:
        """Run jobs until there is none any more; each begins as soon as the one before is read.

        `told` is awaited with the report of each. When one cannot be finished, all running jobs are stopped, to be run
        again, and its report is returned.
        """
        async with anyio.create_task_group() as watching:
            watching.start_soon(self._calls.windows.watch, self._calls.look_again)
            run = await self._run_round(next_job, told)
            while run is not None and self._is_to_go_on(run):
                run = await self._run_round(next_job, told)
            watching.cancel_scope.cancel()
        await self._tell_hold_ups(HoldUps())
        for record, report in run.unfinished if run else ():
            await told(record, report)
        return run.cause if run else None

    async def _run_round(self, next_job: Next, told: Told) -> _Run | None:
        """Run jobs until there is none any more, or all are to stop. None if there was none."""

        async def run_and_tell(run: _Run, record: JobRecord) -> None:
            report = await self._run_and_clear(run, record)
            if report is not None and report.state == "unfinished":
                run.unfinished.append((record, report))
                run.ending.raise_to(EndStage.LET_POSTS_END, _stopped_because_of(report.job, "could not be finished"))
            elif report is not None:
                if report.state == "quarantined":
                    self._quarantined.add(record.seq)
                await told(record, report)
            if run.is_to_begin_anew:
                run.ending.raise_to(EndStage.LET_POSTS_END, _stopped_because_of(record.job_id, "met a bug"))
            self.ending.changed.tell()

        self._running.clear()
        record = await self._next(next_job)
        if record is None:
            return None
        aside = await self.state.in_turn(self.state.ledger.set_aside)
        run = self._run = _Run(self.ending.child(), await self._new_in_flight(), aside)
        async with anyio.create_task_group() as tasks:
            while not run.ending.is_due:
                if record is not None and not (record.retry_of and self._running):
                    self._running[record.seq] = None
                    tasks.start_soon(run_and_tell, run, record)
                elif self._running:
                    await self._tell_hold_ups()
                    await self._until_another_may_begin(run)
                else:
                    break
                record = await self._next(next_job) if self._may_begin(run) else None
        self._run = None
        return run

    async def _next(self, next_job: Next) -> JobRecord | None:
        """The next job to run; None also if that waits for its approval, as those behind it do."""
        record = await next_job(self._running.keys())
        if record is None or record.seq not in self._quarantined:
            return record
        return None if await self.state.in_turn(self.state.ledger.is_quarantined, record) else record

    def _is_to_go_on(self, run: _Run) -> bool:
        """True if a round ended for a job that met a bug, and for nothing else: the next one begins at once."""
        was_stopped_only = all(report.exit_code is ExitCode.UNFINISHED for _, report in run.unfinished)
        return run.is_to_begin_anew and was_stopped_only and not self.ending.is_due

    async def _tell_hold_ups(self, told: HoldUps | None = None) -> None:
        """Tell `status` and the log what holds up sending, if that has changed."""
        before = self.hold_ups
        told = hold_ups(self._calls, self._clock) if told is None else told
        if told == before and self.is_told:
            return
        self.hold_ups = told
        with suppress(FatalError):
            self.is_told = await self.state.host.run_blocking(put_up_hold_ups, self.state.directory, told)
        if told.away_since and not before.away_since:
            log.warning("target_away", since=told.away_since, last_answer=told.last_answer)
        elif before.away_since and not told.away_since:
            log.info("target_back", away_since=before.away_since)

    async def _new_in_flight(self) -> InFlight:
        return InFlight(self.state.spool.hashes, await begun_jobs(self.state))

    def _may_begin(self, run: _Run) -> bool:
        """True if one more job may run: all others are read, and they are not too many."""
        is_room = run.in_flight.views < MAX_PLACING and len(self._running) < MAX_RUNNING
        return is_room and all(run.in_flight.is_read(seq) for seq in self._running)

    async def _until_another_may_begin(self, run: _Run) -> None:
        """Wait until a job has ended or is read, or `_LOOK_AROUND_S` has passed."""
        before = len(self._running), self._may_begin(run)
        await self.ending.changed.until(
            lambda: run.ending.is_due or (len(self._running), self._may_begin(run)) != before,
            within_s=_LOOK_AROUND_S,
        )

    async def _run_and_clear(self, run: _Run, record: JobRecord) -> Report | None:
        # Every task of the job logs its id.
        traces = self.state.host.traces
        with (
            bound_contextvars(job=record.job_id),
            job_span(traces, record.job_id, record.route, record.size_bytes) as span,
        ):
            report = await self._run_or_set_aside(run, record)
            note_report(span, report)
        if report is not None:
            self._count_end(record, report)
        self._collect_garbage(report.export.size_bytes if report else record.size_bytes)
        del self._running[record.seq]
        return report

    def _count_end(self, record: JobRecord, report: Report) -> None:
        """Count a run that has ended, and its rows; of one that met a bug the next round does."""
        counts = self.state.host.counts[self.settings.client_code]
        counts.end_run(record.job_id, record.route, report.state, report.rows, report.rejects.by_reason)
        if report.state == "done" and record.retry_of is None:
            counts.done_at[record.route] = report.finished_at

    async def _run_or_set_aside(self, run: _Run, record: JobRecord) -> Report | None:
        """Run a job, and set it aside if it meets a bug; None then. Raises other errors that its report cannot tell."""
        report: Report | None = None
        error: PipelineError | None = None
        try:
            report, error = await self._run_job(run, record)
        except* PipelineError as errors:
            error = most_telling(errors)
        except* Exception as errors:  # noqa: BLE001 - whatever it is, other jobs go on
            error = tell_unexpected(errors)
        if error is None:
            return report
        if not is_bug(error):
            raise error
        if (job := self._running[record.seq]) is not None:
            self.state.note_ages(job.progress.book)
        try:
            return await self._set_aside(run, record, error)
        except FatalError as not_written:
            return self._report_of_stopped(record, not_written)
        except Exception as not_written:  # noqa: BLE001 - nothing of the job goes on before it is written down
            return self._report_of_stopped(record, tell_unexpected(not_written))

    async def _set_aside(self, run: _Run, record: JobRecord, bug: PipelineError) -> Report | None:
        """Write down that a job met a bug; what follows is for the next round. Returns its report if it has ended."""
        ledger, before = self.state.ledger, run.aside.get(record.job_id)
        if before is not None and not before.is_followed:
            return self._report_of_stopped(record, _not_known(bug))
        # What this process has in memory is not to be trusted from here on.
        run.is_to_begin_anew = True
        latest = await self.state.in_turn(ledger.job, record.job_id)
        if latest is not None and latest.state is not None:
            return latest.report
        aside = SetAside(str(bug)) if before is None else replace(before, is_followed=False)
        await self.state.in_turn(ledger.set_job_aside, record.job_id, aside)
        log.error("job_set_aside", why=str(bug), is_followed=aside.is_followed)
        return None

    def _report_of_stopped(self, record: JobRecord, error: PipelineError) -> Report:
        """The report of a job that met a bug, and could not be set aside for this reason: no job goes on."""
        settings, now = self.settings.of(record.route), self._clock.utc_now()
        target = target_of(settings, self.state.host)
        report = report_without_job(record.export.name, record.size_bytes, settings, now, target=target, error=error)
        return replace(report, job=record.job_id, state="unfinished")

    def _collect_garbage(self, size_bytes: int) -> None:
        """Free what a job of this size has left behind, now or a few small jobs later.

        It leaves reference cycles of tasks and callbacks, which keep arrays and deleted, mapped files. Left to itself,
        the collector finds them many jobs later.
        """
        self._left_jobs, self._left_bytes = self._left_jobs + 1, self._left_bytes + size_bytes
        if self._left_jobs >= _COLLECTED_JOBS or self._left_bytes >= _COLLECTED_BYTES:
            self._left_jobs = self._left_bytes = 0
            gc.collect()

    async def _run_job(self, run: _Run, record: JobRecord) -> tuple[Report | None, PipelineError | None]:
        """Run a job from where it stands to its end. Returns its report, or the bug that it met."""
        began_at, ending = self._clock.monotonic(), run.ending.child()
        aside = run.aside.get(record.job_id)
        with ending.by_errors():
            if record.retry_of and aside is None:
                record = await rows_left(self.state, record)
        job = await self._begin(run, record, ending, began_at)
        is_counted, stock = await self._take_stock(job)
        job.counts.begin_run(record.job_id, job.progress.rows(), job.progress.rejects_by_reason)
        await self._open_send_limits(run)
        error = ending.error
        if run.limits is not None and not ending.is_due:
            error = await load_job(job, stock, run.limits, self._seen_accepting, self._watch)
        if ending.own_error is not None and is_bug(ending.own_error):
            return None, ending.own_error
        self.state.note_ages(job.progress.book)
        report = self._report(job, error, is_counted=is_counted)
        try:
            await keep_notifications(job, report)
            await put_away(job, report)
        except FatalError as not_put_away:
            # It has ended, but that cannot be written down: the next run does that.
            report = self._report(job, not_put_away, is_counted=is_counted)
        if report.exit_code is ExitCode.REFUSED_BY_TARGET:
            # Before the next run somebody has mended something: earlier acceptances prove nothing then.
            self._seen_accepting = SeenAccepting()
        _log_end(report)
        return report, None

    async def _take_stock(self, job: Job) -> tuple[bool, list[Standing]]:
        """Enter the job's batches in its book, and return True with them.

        One that is not even followed any more is settled before. False if a bug is in the way of its book.
        """
        if job.aside is None or job.aside.is_followed:
            return True, await take_stock(job)
        await settle_unfollowed(job, job.aside.why)
        try:
            return True, await take_stock(job)
        except PipelineError:
            raise
        except Exception as error:  # noqa: BLE001 - it ends all the same
            tell_unexpected(error)
            return False, []

    def _report(self, job: Job, error: PipelineError | None, *, is_counted: bool) -> Report:
        """The report of a job. One that is not even followed any more gets one whatever its counts come to."""
        now = self._clock.utc_now()
        seconds = job.progress.seconds(self._clock.monotonic())
        started_at = datetime.fromisoformat(job.record.started_at)
        if is_counted:
            try:
                return build_report(job, error, started_at, now, seconds)
            except Exception as uncounted:
                if job.aside is None or job.aside.is_followed:
                    raise
                tell_unexpected(uncounted)
        return build_uncounted_report(job, error, started_at, now, seconds)

    async def _begin(self, run: _Run, record: JobRecord, ending: Ending, began_at: float) -> Job:
        """Make the `Job` of a record that is about to run, behind all running jobs."""
        state, aside = self.state, run.aside.get(record.job_id)
        progress = Progress(
            checkpoint=record.checkpoint,
            began_at=began_at,
            seconds_before=record.seconds,
            calls_before=record.calls,
            is_in_sandbox=record.was_in_sandbox,
            calls_refused_below_share=record.refused_below_share,
        )
        if not record.has_begun:
            progress.checkpoint.turn = 1 + max((job.progress.checkpoint.turn for job in self.running), default=0)
        job = Job(
            record=record,
            export=self._export_settings(record, aside),
            mapping=NO_MAPPING if aside else mapping_settings(record),
            settings=self.settings.of(record.route),
            state=state,
            folder=state.folder(record.job_id),
            progress=progress,
            ending=ending,
            in_flight=run.in_flight,
            aside=aside,
        )
        job.in_flight.enter(record.seq)
        self._running[record.seq] = job
        if aside is not None:
            ending.raise_to(EndStage.NO_ATTEMPTS)
        with ending.by_errors():
            if aside is None:
                await self._note_settings(job)
        # An `abandon` before this line could reach no running job: look in the ledger.
        latest = await state.in_turn(state.ledger.job, record.job_id)
        if record.is_abandoned or (latest is not None and latest.is_abandoned):
            ending.raise_to(EndStage.NO_ATTEMPTS)
        at_line = record.checkpoint.position.line
        log.info("load_started", export=shown(record.export.name), at_line=at_line)
        return job

    async def _note_settings(self, job: Job) -> None:
        """Note by which settings the job is sent, and say so if they are not those of the configuration now."""
        record, checkpoint = job.record, job.progress.checkpoint
        salt = await digest_of_salt(job.mapping, job.host.run_blocking)
        origin = await self.state.in_turn(root_of, self.state, record)
        sending = sending_digest(job.settings, job.export, job.mapping, salt=salt, told=told_of_job(origin or record))
        if not record.has_begun:
            checkpoint.sending, checkpoint.salt = sending, salt
        elif checkpoint.sending not in ("", sending):
            # It was sent by several: nobody can say that it was loaded by these.
            checkpoint.sending = ""
            await self.state.in_turn(self.state.ledger.note_checkpoint, record, checkpoint)
        if keys := job.earlier_settings:
            log.warning("job_goes_on_with_its_settings", keys=keys)

    def _export_settings(self, record: JobRecord, aside: SetAside | None) -> ExportSettings:
        """The [export] section with which a job began; of one that was set aside any will do, as it reads no row."""
        try:
            return export_settings(record)
        except ValueError:
            if aside is None:
                raise
            return self.settings.of(record.route).export

    async def _open_send_limits(self, run: _Run) -> None:
        """Open the limits of a round, unless they are. What is wrong with them ends the round, and no job of it."""
        if run.limits is not None:
            return
        settings = self.settings.settings
        with run.ending.by_errors():
            run.limits = await open_send_limits(
                run.in_flight, self.state, settings, self._calls, self._poller, self._memory
            )
            # Other settings may have been taken meanwhile.
            run.limits.hold_s = self.settings.settings.settle.ambiguous_hold_s


def _log_end(report: Report) -> None:
    rows = report.rows
    log.info(
        "load_finished",
        state=report.state,
        exit_code=int(report.exit_code),
        error=report.error,
        read=rows.read,
        confirmed=rows.confirmed,
        superseded=rows.superseded,
        unchanged=rows.unchanged,
        excluded=rows.excluded,
        rejected=rows.rejected,
        empty=rows.empty,
        failed=rows.failed,
        unconfirmed=rows.unconfirmed,
        unsent=rows.unsent,
        pending=rows.pending,
        seconds=report.seconds,
        target=report.target,
    )
    if report.is_of_sandbox and report.batches:
        log.info("sent_to_sandbox_not_to_target", batches=len(report.batches))


def _stopped_because_of(job_id: str, why: str) -> FatalError:
    return FatalError(f"stopped because job {job_id} {why}.", exit_code=ExitCode.UNFINISHED)


def _not_known(bug: PipelineError) -> FatalError:
    """The error for a job that cannot even be ended."""
    return FatalError(
        f"{bug} The job was set aside before and cannot be ended either: nobody can tell what Target may have of it. "
        "Nothing more is sent for this client code: older values could win over newer ones."
    )


async def _watch_nothing(job: Job, calls: CallQueue) -> None:
    """Do nothing: nobody watches."""
