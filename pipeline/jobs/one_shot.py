"""Loads the exports of one command, in their order, after finishing the jobs that are unfinished."""

import asyncio
import math
import signal
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import structlog
from anyio.streams.memory import MemoryObjectSendStream

from pipeline.core.batches.report import Report
from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.errors import ExitCode, FatalError, PipelineError, most_telling
from pipeline.edges.host import Host
from pipeline.edges.process.early_signals import release_signals
from pipeline.edges.store.records import JobRecord
from pipeline.edges.target.token_warning import warn_of_token
from pipeline.jobs.claims import complete_claims, next_job
from pipeline.jobs.command import Command, enter_command, name_export
from pipeline.jobs.control import answer_requests
from pipeline.jobs.ending import Ending, tell_unexpected
from pipeline.jobs.load import Watch
from pipeline.jobs.report import report_without_job, target_of
from pipeline.jobs.runner import Runner, open_runner
from pipeline.jobs.status.notifications import send_last
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import DEFAULT_ROUTE, Tenant

log = structlog.get_logger()

#: Exit codes of a job after which the exports that remain are still tried.
GO_ON_AFTER = (
    ExitCode.DONE,
    ExitCode.EXPORT_UNUSABLE,
    ExitCode.EXPORT_MISSING,
    ExitCode.ROWS_LOST,
    # A bug that a job met: it was set aside.
    ExitCode.OUR_BUG,
)


async def load_export(
    path: Path, settings: Settings, *, host: Host, watch: Watch | None = None, again: bool = False
) -> Report:
    """Finish unfinished jobs, then bring every row of an export into Target; returns the report of its job.

    The other arguments and errors are those of `load_exports`.
    """
    tenant = Tenant.of_one(settings)
    reports = [report async for report in load_exports([path], tenant, host=host, watch=watch, again=again)]
    return reports[-1]


async def load_exports(
    paths: list[Path],
    settings: Tenant,
    *,
    route: str = DEFAULT_ROUTE,
    host: Host,
    watch: Watch | None = None,
    again: bool = False,
    only_retries: bool = False,
    wait_s: float | None = None,
) -> AsyncIterator[Report]:
    """Finish unfinished jobs, then bring every row of these exports into Target; yields the jobs' reports in order.

    `route`: its settings apply to the exports. `watch`: runs beside each load to show its progress, and is cancelled at
    its end. `wait_s`: after so many seconds the loads end unfinished, as at SIGTERM or SIGINT. `again`: send an export
    that was loaded already; without it, its report only names that job. `only_retries`: leave other unfinished jobs
    alone. An export that the same command had loaded before it was cut off has its report given once more. An error of
    an export, of Target or of the disk is in the report, `exit_code` with it. Raises `FatalError` if the state
    directory is in use (73), cannot be used (74) or belongs to another client code (78).
    """
    told, reports = anyio.create_memory_object_stream[Report](math.inf)
    is_told = anyio.Event()
    # In a task of its own: jobs go on while the caller has a report, and a generator cannot hold a task group then.
    command = Command(tuple(paths), route, again=again, only_retries=only_retries)
    loading = asyncio.ensure_future(_load_all(command, settings, host, watch, told, is_told, wait_s=wait_s))
    try:
        with reports:
            async for report in reports:
                yield report
        is_told.set()
        with anyio.CancelScope(shield=True):
            await loading
    finally:
        loading.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([loading])


async def _load_all(
    command: Command,
    settings: Tenant,
    host: Host,
    watch: Watch | None,
    told: MemoryObjectSendStream[Report],
    is_told: anyio.Event,
    *,
    wait_s: float | None,
) -> None:
    error: PipelineError | None = None
    unfinished: Report | None = None
    ending = Ending(grace_s=settings.settings.service.grace_s)
    with told:
        if unreadable := await _if_none_is_readable(command, settings, host):
            for report in unreadable:
                told.send_nowait(report)
            return
        async with _obeying_signals(ending) as obey_no_more, open_runner(settings, host, ending, watch) as runner:
            state = runner.state
            loads = Loads(runner, command, told.send_nowait)
            warn_of_token(settings.settings.target.token_expires, host.clock.utc_now().date())
            await complete_claims(state)
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_answer_requests, runner)
                    if wait_s is not None:
                        tasks.start_soon(_end_after, ending, wait_s)
                    unfinished = await runner.run_jobs(loads.next_job, loads.note_ended)
                    loads.tell_rest()
                    tasks.cancel_scope.cancel()
                if unfinished is None and not loads.have_ended:
                    # The end came between two jobs, so no report tells of it.
                    error = ending.error
            except* PipelineError as errors:
                error = most_telling(errors)
            await send_last(settings.directory, settings, host)
            if error is None and unfinished is None:
                told.close()
                obey_no_more()
                # Only then: who is cut off without a report runs the same command again to get it.
                await is_told.wait()
                await loads.close()
        if error is not None:
            raise error


async def _if_none_is_readable(command: Command, settings: Tenant, host: Host) -> list[Report]:
    """Their reports, if no export of a command can be read and no ledger could know them: then nothing is made."""
    named = [await name_export(place, path, host) for place, path in enumerate(command.exports)]
    ledger = settings.directory / "ledger.db"
    if not all(each.error for each in named) or await host.run_blocking(ledger.exists):
        return []
    of_route, now = settings.of(command.route), host.clock.utc_now()
    target = target_of(of_route, host)
    return [report_without_job(each.path.name, 0, of_route, now, target=target, error=each.error) for each in named]


class Loads:
    """The jobs of one run of `load`, in their order; `tell` gets their reports in that order."""

    def __init__(self, runner: Runner, command: Command, tell: Callable[[Report], None]) -> None:
        self._runner = runner
        self._state = runner.state
        self._command = command
        self._tell = tell
        #: The jobs of the command, once they are in the ledger; and those of them that ended before this run.
        self._jobs: list[JobRecord] | None = None
        self._ended_before: list[JobRecord] = []
        #: By the id of a job the reports of exports named behind it that have no job.
        self._behind: dict[str, list[Report]] = {}
        self._order: list[str] = []
        self._reports: dict[str, Report] = {}
        self._ended: set[str] = set()
        self._has_nothing_to_do = False

    async def next_job(self, running: Collection[int]) -> JobRecord | None:
        """The next unfinished job: those cut off, then the new ones of the command, then retries asked for since."""
        if self._jobs is None:
            ending = self._runner.ending
            with ending.changed.unless(lambda: ending.is_due):
                await self._enter()
            if self._jobs is None:
                return None
        if self._has_nothing_to_do:
            return None
        record = await next_job(self._state, running)
        if self._command.only_retries and record is not None and record.retry_of is None:
            record = None
        while self._ended_before and (record is None or self._ended_before[0].seq < record.seq):
            ended = self._ended_before.pop(0)
            self._order.append(ended.job_id)
            if ended.report is not None:
                await self.note_ended(ended, ended.report)
        if record is not None and record.job_id not in self._order:
            self._order.append(record.job_id)
        return record

    async def note_ended(self, record: JobRecord, report: Report) -> None:
        """Note that a job has ended, and tell the reports whose turn has come.

        That of a job in quarantine is told at the end: it may be approved meanwhile, and has another one then.
        """
        if report.state != "quarantined":
            # Else the command is not over: given again it goes on, and sends no other export anew.
            self._ended.add(record.job_id)
        self._reports[record.job_id] = report
        while self._order and (first := self._reports.get(self._order[0])) and first.state != "quarantined":
            self._tell_first()

    def tell_rest(self) -> None:
        """Tell the reports of jobs that are in quarantine still; none behind them has begun."""
        while self._order and self._order[0] in self._reports:
            self._tell_first()

    def _tell_first(self) -> None:
        job_id = self._order.pop(0)
        report, behind = self._reports.pop(job_id), self._behind.pop(job_id, [])
        self._tell(report)
        for each in behind:
            # What has the content of a job that is unfinished is not loaded yet.
            if each.same_as != job_id:
                self._tell(each)
            elif report.state not in ("unfinished", "quarantined"):
                self._tell(replace(each, target=report.target))

    @property
    def have_ended(self) -> bool:
        """True if every job of the command has ended."""
        return self._jobs is not None and self._ended.issuperset(job.job_id for job in self._jobs)

    async def close(self) -> None:
        """End the command in the ledger, since all reports were told: given again, it is a new command."""
        if self._jobs and self.have_ended:
            await self._state.in_turn(self._state.ledger.end_command, [job.job_id for job in self._jobs])

    async def _enter(self) -> None:
        settings = self._runner.settings.of(self._command.route)
        now = self._state.host.clock.utc_now()
        entered = await enter_command(self._command, self._state, settings, now)
        jobs: list[JobRecord] = []
        for each in entered:
            if isinstance(each, JobRecord):
                jobs.append(each)
            elif jobs:
                self._behind.setdefault(jobs[-1].job_id, []).append(each)
            else:
                self._tell(each)
        # A mistyped command does nothing else either.
        self._has_nothing_to_do = bool(entered) and all(
            not isinstance(each, JobRecord) and each.state == "failed" for each in entered
        )
        self._ended_before = [job for job in jobs if job.report is not None]
        self._jobs = jobs


async def _answer_requests(runner: Runner) -> None:
    """Carry requests out while jobs run. A bug in that is no reason to end them."""
    try:
        await answer_requests(runner.state, lambda: runner.running, runner.ending.changed)
    except PipelineError:
        raise
    except Exception as error:  # noqa: BLE001 - who asks hears that nobody answers
        tell_unexpected(error)


@asynccontextmanager
async def _obeying_signals(ending: Ending) -> AsyncIterator[Callable[[], None]]:
    """Let SIGTERM and SIGINT end the loads tidily, with `FatalError` (75), from before the state directory is held.

    Gives the function that ends this: once all is done, a signal ends a process that waits for whoever reads reports.
    """

    async def listen() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            release_signals()
            listens.set()
            async for number in signals:
                name = signal.Signals(number).name
                ending.hasten(FatalError(f"stopped by {name}.", exit_code=ExitCode.UNFINISHED))

    def stop() -> None:
        listening.cancel()

    listens = anyio.Event()
    listening = asyncio.ensure_future(listen())
    try:
        await listens.wait()
        yield stop
    finally:
        listening.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([listening])


async def _end_after(ending: Ending, wait_s: float) -> None:
    await anyio.sleep(wait_s)
    message = f"stopped after {wait_s:g} s, as --wait says: run the same command again to go on."
    # Nobody asks once more: what a signal lets come to its end before is not cut off.
    ending.raise_to(EndStage.LET_POSTS_END, FatalError(message, exit_code=ExitCode.UNFINISHED))
