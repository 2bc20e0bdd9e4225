"""The long-running process: looks for signals, claims exports, loads them in their order, for months.

    drop directory --signal--> claim (intake) --> ledger --> the job whose turn it is (load) --> outcome directory

A job that fails never stops the service, since its report says why. A job that cannot be finished yet holds up those
behind it, as their order is what is promised: it is tried again when the reason may be gone (room on the disk, another
token, or just time), and the log and `status` say what is waited for. Everything that matters is in the ledger, so
stopping is a tidy crash: the next process goes on.
"""

from collections.abc import Collection
from typing import Any

import anyio
import structlog
from anyio.to_thread import run_sync

from pipeline.claims import complete_claims, ended_drop, next_job
from pipeline.core.errors import ExitCode, FatalError, worst
from pipeline.core.signals import shown
from pipeline.edges.clock import Clock
from pipeline.edges.durable import free_bytes
from pipeline.edges.ledger import JobRecord
from pipeline.edges.notice import put_up, take_down
from pipeline.edges.processing import Processing, hold_drop
from pipeline.edges.state import State, open_state
from pipeline.intake import Intake
from pipeline.load import Report, Runner, Watch
from pipeline.requests import answer_requests
from pipeline.retaining import overdue, remove
from pipeline.settings import Settings
from pipeline.stopping import Stop

log = structlog.get_logger()

#: A refused token is tried again after so long even if its file did not change (seconds): it may be valid by then.
TOKEN_AGAIN_S = 600.0
#: Old files are looked for so often (seconds).
_PRUNE_EVERY_S = 86_400.0


async def serve(settings: Settings, *, clock: Clock, drain: bool = False, watch: Watch | None = None) -> ExitCode:
    """Load what is dropped until SIGTERM or SIGINT; with `drain` until nothing is left, and the worst job's code.

    Raises `FatalError`: 73 where state or drop directory are in use, 78 where one of them cannot be served, and 74
    where the ledger cannot be used.
    """
    drop = settings.drop.directory
    if drop is None:
        raise FatalError(
            "[drop] directory is required to serve: the directory into which exports and their signals are dropped.",
            exit_code=ExitCode.CONFIGURATION,
        )
    state_settings = settings.state
    async with open_state(
        state_settings.directory,
        settings.target.client_code,
        clock,
        min_free_bytes=state_settings.min_free_bytes,
        outcomes=settings.outcome_directory,
    ) as state:
        with hold_drop(drop) as processing:
            stop = Stop(state, clock, settings.service.grace_s)
            beside = [stop.end_job, *([watch] if watch else [])]
            runner = Runner(state, settings, clock, beside, await state.call(state.ledger.learned_statuses))
            return await Service(state, settings, clock, processing, (runner, stop)).run(drain=drain)


class Service:
    """One drop directory, one state directory, the jobs of one client code."""

    def __init__(
        self, state: State, settings: Settings, clock: Clock, processing: Processing, machinery: tuple[Runner, Stop]
    ) -> None:
        self._state = state
        self._settings = settings
        self._clock = clock
        self._processing = processing
        self._runner, self._stop = machinery
        self._intake = Intake(state, settings, clock, processing)
        self._codes: list[ExitCode] = []
        self._failures = 0
        self._token: Any = None
        self._unsettled = True

    async def run(self, *, drain: bool) -> ExitCode:
        """Until it is stopped, or with `drain` until nothing is left to do; the exit code."""
        await complete_claims(self._state, self._processing)
        await run_sync(take_down, self._state.directory)
        log.info("service_started", drop=str(self._processing.drop), drain=drain)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop.listen)
            tasks.start_soon(answer_requests, self._state, self._clock, lambda: self._runner.running)
            tasks.start_soon(self._look_for_signals)
            tasks.start_soon(self._prune_daily)
            await self._run_jobs(drain=drain)
            await self._settle_ended()
            tasks.cancel_scope.cancel()
        await run_sync(take_down, self._state.directory)
        code = worst(self._codes) if drain else ExitCode.DONE
        log.info("service_stopped", exit_code=int(code))
        return code

    async def _look_for_signals(self) -> None:
        while not self._stop.is_asked.is_set():
            try:
                await self._intake.look()
            except FatalError as error:
                await self._bear(error, "signals_not_looked_for")
            await self._clock.sleep(self._settings.drop.poll_s)

    async def _bear(self, error: FatalError, event: str) -> None:
        """Go on after what may pass by itself: a full disk, a directory that is away. The ledger's failure ends it."""
        if error.exit_code not in (ExitCode.DISK_OR_LEDGER, ExitCode.EXPORT_MISSING):
            raise error
        await self._state.call(self._state.ledger.jobs, unfinished_only=True)
        log.warning(event, why=str(error))

    async def _run_jobs(self, *, drain: bool) -> None:
        while not self._stop.is_asked.is_set():
            unfinished = await self._runner.run_jobs(self._next_job, self._note_ended)
            if unfinished is None and not self._stop.is_asked.is_set():
                if drain and await self._is_drained():
                    return
                await self._stop.sleep(self._settings.drop.poll_s, self._intake.has_claimed)
            elif unfinished is None:
                return
            elif self._stop.is_asked.is_set() or drain:
                self._codes.append(ExitCode(unfinished["exit_code"]))
                return
            else:
                await self._pause(ExitCode(unfinished["exit_code"]), unfinished)

    async def _next_job(self, running: Collection[int]) -> JobRecord | None:
        if self._stop.is_asked.is_set():
            return None
        if self._unsettled:
            self._unsettled = False
            await self._settle_ended()
        # What a job is begun with: it may be another one when it is refused.
        self._token = await run_sync(self._token_identity)
        return await next_job(self._state, running)

    async def _note_ended(self, record: JobRecord, report: Report) -> None:
        if report["state"] != "unfinished":
            self._failures = 0
            self._unsettled = True
            self._codes.append(ExitCode(report["exit_code"]))
            await self._tell_of_drop(record)

    async def _is_drained(self) -> bool:
        """Whether nothing is left, looking once more for signals."""
        await self._intake.look()
        if self._intake.refused:
            self._codes.append(ExitCode.EXPORT_UNUSABLE)
        return not self._intake.waiting and await next_job(self._state) is None

    async def _settle_ended(self) -> None:
        """Bring what ended jobs have taken to their folders, or remove it, as `keep_exports` says."""
        try:
            for job_id in await run_sync(self._processing.jobs):
                record = await self._state.call(self._state.ledger.job, job_id)
                if record is None:
                    log.error("taken_by_a_job_that_the_ledger_does_not_know", job=job_id)
                elif record.state is not None:
                    folder = self._settings.outcome_directory / job_id / "drop"
                    await run_sync(self._processing.settle, job_id, folder if self._is_kept(record) else None)
        except FatalError as error:
            # It is tried again before the next job, and at the latest at the next start.
            log.warning("taken_files_not_moved", why=str(error))

    def _is_kept(self, record: JobRecord) -> bool:
        keep = self._settings.drop.keep_exports
        return keep == "always" or (keep == "failed" and record.state in ("failed", "incomplete"))

    async def _tell_of_drop(self, record: JobRecord) -> None:
        if record.claim is None:
            return
        jobs = await self._state.call(self._state.ledger.jobs_of_drop, record.claim.drop)
        if told := ended_drop(jobs):
            log.info("drop_finished", drop=record.claim.drop, signal=shown(record.claim.signal), **told)

    async def _pause(self, code: ExitCode, report: Report) -> None:
        """Wait until the reason for which a job could not be finished may be gone."""
        tried = self._token, await self._is_abandoned(report["job"])
        self._failures += 1
        upload = self._settings.upload
        wait_s = min(upload.backoff_s * 2 ** min(self._failures - 1, 30), upload.backoff_max_s)
        since = self._clock.utc_now().isoformat(timespec="seconds")
        notice = {"paused": {"exit_code": int(code), "why": report["error"], "since": since, "job": report["job"]}}
        await run_sync(put_up, self._state.directory, notice)
        log.warning("service_paused", job=report["job"], exit_code=int(code), why=report["error"])
        paused_at = self._clock.monotonic()
        while not self._stop.is_asked.is_set():
            await self._stop.sleep(min(wait_s, 1.0) if code is ExitCode.REFUSED_BY_TARGET else wait_s)
            if await self._may_go_on(code, self._clock.monotonic() - paused_at, report["job"], tried):
                break
        await run_sync(take_down, self._state.directory)
        log.info("service_goes_on", job=report["job"])

    async def _may_go_on(self, code: ExitCode, paused_s: float, job_id: str, tried: tuple[Any, bool]) -> bool:
        match code:
            case ExitCode.REFUSED_BY_TARGET:
                is_abandoned = await self._is_abandoned(job_id)
                return paused_s >= TOKEN_AGAIN_S or (await run_sync(self._token_identity), is_abandoned) != tried
            case ExitCode.DISK_OR_LEDGER:
                # Raises where the ledger cannot even be read: that ends the service.
                await self._state.call(self._state.ledger.jobs, unfinished_only=True)
                directory = self._settings.state.directory
                return await run_sync(free_bytes, directory) >= self._settings.state.min_free_bytes
        return True

    async def _is_abandoned(self, job_id: str) -> bool:
        record = await self._state.call(self._state.ledger.job, job_id)
        return record is not None and record.is_abandoned

    def _token_identity(self) -> Any:
        """What tells the token file from the one that comes after it."""
        try:
            facts = self._settings.target.token_file and self._settings.target.token_file.stat()
        except OSError:
            return None
        return (facts.st_mtime_ns, facts.st_size, facts.st_ino) if facts else None

    async def _prune_daily(self) -> None:
        while True:
            jobs = await self._state.call(self._state.ledger.jobs)
            old = await run_sync(overdue, self._settings, jobs, self._clock.utc_now())
            left = await run_sync(remove, self._settings, old)
            if old:
                log.info("old_files_removed", files=len(old) - len(left), not_removed=len(left))
            await self._clock.sleep(_PRUNE_EVERY_S)
