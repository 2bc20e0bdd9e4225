"""Runs the jobs of a client code. A job begins as soon as the export of the one before is read to its end.

`core.batches.in_flight` keeps the rows of overlapping jobs in order, and says why that is safe. All limits are those of
the client code, not of a job. A job that fails (65, 66) touches no other. When one cannot be finished (69, 70, 73, 74,
75, 77, 78), all running jobs are stopped, unfinished: the next run goes on with them, in their order.
"""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
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
from pipeline.core.errors import ExitCode, FatalError, PipelineError
from pipeline.core.target.pacing import CallBudget
from pipeline.core.target.status_memory import Learned, StatusMemory
from pipeline.edges.host import Host
from pipeline.edges.store.notices import HoldUps, put_up_hold_ups
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.status_poller import StatusPoller
from pipeline.edges.target.window_limits import Windows
from pipeline.jobs.ending import Ending
from pipeline.jobs.job import Job, export_settings
from pipeline.jobs.load import Watch, load_job
from pipeline.jobs.open_state import open_tenant
from pipeline.jobs.recovery import begun_jobs, take_stock
from pipeline.jobs.report import build_report, put_away
from pipeline.jobs.retry_job import rows_left
from pipeline.jobs.send_limits import SendLimits, hold_ups, open_send_limits, plan_of
from pipeline.settings.sending import sending_digest
from pipeline.settings.tenants import Tenant
from pipeline.settings.windows_section import schedule_of

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
    """Hold the state directory of a client code, with a runner for its jobs. Raises the errors of `open_tenant`."""
    async with open_tenant(settings, host) as state:
        yield Runner(state, settings, ending, await state.in_turn(state.ledger.learned_statuses), watch)


@dataclass(slots=True)
class _Run:
    """Everything that the jobs of one call of `run_jobs` share. `limits` are opened for the first of them."""

    ending: Ending
    in_flight: InFlight
    limits: SendLimits | None = None


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
        self._left_jobs = self._left_bytes = 0
        #: The things that hold up sending, as they were told last; and if that is on the disk.
        self.hold_ups = HoldUps()
        self.is_told = False
        self._run: _Run | None = None

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
    def running(self) -> list[Job]:
        """The jobs that run, in their order."""
        return [job for job in self._running.values() if job]

    async def run_jobs(self, next_job: Next, told: Told) -> Report | None:
        """Run jobs until there is none any more; each begins as soon as the one before is read.

        `told` is awaited with the report of each. When one cannot be finished, all running jobs are stopped, to be run
        again, and its report is returned.
        """
        unfinished: list[Report] = []

        async def run_and_tell(run: _Run, record: JobRecord) -> None:
            report = await self._run_and_clear(run, record)
            if report.state == "unfinished":
                unfinished.append(report)
                run.ending.raise_to(EndStage.LET_POSTS_END, _stopped_because_of(report.job))
            await told(record, report)
            self.ending.changed.tell()

        async with anyio.create_task_group() as watching:
            watching.start_soon(self._calls.windows.watch, self._calls.look_again)
            record = await next_job(())
            if record is not None:
                run = self._run = _Run(self.ending.child(), await self._new_in_flight())
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
                        record = await next_job(self._running.keys()) if self._may_begin(run) else None
                self._run = None
            watching.cancel_scope.cancel()
        await self._tell_hold_ups(HoldUps())
        return unfinished[0] if unfinished else None

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

    async def _run_and_clear(self, run: _Run, record: JobRecord) -> Report:
        # Every task of the job logs its id.
        with bound_contextvars(job=record.job_id):
            report = await self._run_job(run, record)
        self._collect_garbage(report.export.size_bytes)
        del self._running[record.seq]
        return report

    def _collect_garbage(self, size_bytes: int) -> None:
        """Free what a job of this size has left behind, now or a few small jobs later.

        It leaves reference cycles of tasks and callbacks, which keep arrays and deleted, mapped files. Left to itself,
        the collector finds them many jobs later.
        """
        self._left_jobs, self._left_bytes = self._left_jobs + 1, self._left_bytes + size_bytes
        if self._left_jobs >= _COLLECTED_JOBS or self._left_bytes >= _COLLECTED_BYTES:
            self._left_jobs = self._left_bytes = 0
            gc.collect()

    async def _run_job(self, run: _Run, record: JobRecord) -> Report:
        """Run a job from where it stands to its end."""
        state, clock = self.state, self._clock
        began_at = clock.monotonic()
        ending = run.ending.child()
        with ending.by_errors():
            if record.retry_of:
                record = await state.in_turn(rows_left, state, record)
        job = await self._begin(run, record, ending, began_at)
        stock = await take_stock(job)
        with ending.by_errors():
            run.limits = run.limits or await self._open_send_limits(run)
        error = ending.error
        if run.limits is not None and not ending.is_due:
            error = await load_job(job, stock, run.limits, self._seen_accepting, self._watch)

        def tell(error: PipelineError | None) -> Report:
            seconds = job.progress.seconds(clock.monotonic())
            return build_report(job, error, datetime.fromisoformat(record.started_at), clock.utc_now(), seconds)

        report = tell(error)
        state.note_ages(job.progress.book)
        try:
            await put_away(job, report)
        except FatalError as not_put_away:
            # It has ended, but that cannot be written down: the next run does that.
            report = tell(not_put_away)
        if report.exit_code is ExitCode.REFUSED_BY_TARGET:
            # Before the next run somebody has mended something: earlier acceptances prove nothing then.
            self._seen_accepting = SeenAccepting()
        rows = report.rows
        log.info(
            "load_finished",
            state=report.state,
            exit_code=int(report.exit_code),
            error=report.error,
            read=rows.read,
            confirmed=rows.confirmed,
            superseded=rows.superseded,
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
        return report

    async def _begin(self, run: _Run, record: JobRecord, ending: Ending, began_at: float) -> Job:
        """Make the `Job` of a record that is about to run, behind all running jobs."""
        state = self.state
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
            export=export_settings(record),
            settings=self.settings.of(record.route),
            state=state,
            folder=state.folder(record.job_id),
            progress=progress,
            ending=ending,
            in_flight=run.in_flight,
        )
        job.in_flight.enter(record.seq)
        self._running[record.seq] = job
        with ending.by_errors():
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
        sending = sending_digest(job.settings, job.export)
        if not record.has_begun:
            checkpoint.sending = sending
        elif checkpoint.sending not in ("", sending):
            # It was sent by several: nobody can say that it was loaded by these.
            checkpoint.sending = ""
            await self.state.in_turn(self.state.ledger.note_checkpoint, record, checkpoint)
        if keys := job.earlier_settings:
            log.warning("job_goes_on_with_its_settings", keys=keys)

    async def _open_send_limits(self, run: _Run) -> SendLimits:
        settings = self.settings.settings
        limits = await open_send_limits(run.in_flight, self.state, settings, self._calls, self._poller, self._memory)
        # Other settings may have been taken meanwhile.
        limits.hold_s = self.settings.settings.settle.ambiguous_hold_s
        return limits


def _stopped_because_of(job_id: str) -> FatalError:
    return FatalError(f"stopped because job {job_id} could not be finished.", exit_code=ExitCode.UNFINISHED)


async def _watch_nothing(job: Job, calls: CallQueue) -> None:
    """Do nothing: nobody watches."""
