"""The service of one tenant: looks for signals, claims exports and loads them in their order, for months.

    drop directory --signal--> claim (intake) --> ledger --> the job whose turn it is (load) --> outcome directory

`process` runs the services of all tenants side by side, each with a ledger and a budget of calls of its own.

A job that fails never stops the service, since its report says why. One in quarantine waits for its approval, and those
behind it wait too. A job that cannot be finished yet holds up those
behind it, because their order is promised. It is tried again when the reason may be gone (room on the disk, another
token, or just time); the log and `status` say what it waits for. Everything that matters is in the ledger, so stopping
is a tidy crash: the next process goes on.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from typing import Any

import anyio
import structlog
from anyio.to_thread import run_sync

from pipeline.core.batches.report import Report
from pipeline.core.drop.retention import ClockWatch
from pipeline.core.drop.signals import shown
from pipeline.core.errors import ExitCode, FatalError, PipelineError
from pipeline.edges.drop.arrivals import DEBOUNCE_S, Arrivals
from pipeline.edges.drop.last_look import AsRead, change_of_parts, change_since, has_writer
from pipeline.edges.drop.taking import Taking
from pipeline.edges.durable import free_bytes
from pipeline.edges.store.memory.memory import Memory
from pipeline.edges.store.notices import DropNotice, HoldUps, Pause, put_up_drops, put_up_pause, take_down_pause
from pipeline.edges.store.records import JobRecord
from pipeline.edges.target.token_warning import warn_of_token
from pipeline.jobs.claims import complete_claims
from pipeline.jobs.control import answer_requests
from pipeline.jobs.ending import tell_unexpected
from pipeline.jobs.gathering.memory_upkeep import expire_memory
from pipeline.jobs.runner import Runner
from pipeline.service.figures import LiveFigures, live_figures
from pipeline.service.intake import DropSource, Intake
from pipeline.service.ledger_check import check_ledger
from pipeline.service.prune import jobs_to_look_at, look_at_ends, overdue, remove
from pipeline.service.read_back import ReadBack
from pipeline.service.upkeep import Upkeep
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Tenant

log = structlog.get_logger()

#: Time after which a refused token is tried again, even if its file did not change (seconds): it may be valid by then.
TOKEN_AGAIN_S = 600.0
#: Time between two looks for old files, and between two warnings of a token that ends (seconds).
_DAY_S = 86_400.0
#: Characters of the reason of a pause that a heartbeat has room for.
_MOST_OF_WHY = 400
#: The words for what a bug may be met in besides the jobs; see `Upkeep`.
_LOOKING, _TAKING, _PRUNING = "looking for signals", "taking what is dropped", "removing old files"
_MOVING, _READING_BACK = "moving the files of ended jobs", "reading samples back"


class TenantService:
    """The service of one tenant: its drop directories, its state directory, its jobs.

    `former`: drop directories without a route; jobs that took from there are finished, nothing else is taken.
    `codes`: the exit codes of ended jobs, and with `drain` of what was left.
    """

    def __init__(self, runner: Runner, sources: Sequence[DropSource], former: Sequence[Taking]) -> None:
        self.codes: list[ExitCode] = []
        self._runner = runner
        self._state = runner.state
        self._ending = runner.ending
        self._clock = clock = runner.state.host.clock
        self._held = [*(source.processing for source in sources), *former]
        self._intake = Intake(runner.state, runner.settings, runner.ending, sources, former)
        self._arrivals = Arrivals([source.processing.drop for source in sources], clock, runner.ending.changed)
        self._upkeep = Upkeep(clock)
        self._failures = 0
        #: The job that could not be finished when it was tried last, and since when.
        self._paused_for = self._paused_since = ""
        self._untold_pause: Pause | None = None
        self._paused_with: ExitCode | None = None
        self._token: Any = None
        #: Ids of ended jobs whose files are to be moved; None: of all jobs, as an earlier process may have left some.
        #: And of those whose files could not be moved, which is tried again when another job has ended.
        self._to_move: set[str] | None = None
        self._not_moved: set[str] | None = set()
        #: Jobs of routes that were removed, of which the log has told.
        self._warned_of: set[int] = set()
        self._has_pruned = anyio.Event()
        self._samples = ReadBack(runner.state, lambda: self._settings, runner.calls, runner.ending)
        self._clock_watch = ClockWatch(clock.utc_now(), clock.monotonic())

    @property
    def job(self) -> str | None:
        """The id of the first running job, if any."""
        return next((job.record.job_id for job in self._runner.running), None)

    @property
    def is_paused(self) -> bool:
        """True if somebody asked to send nothing."""
        return self._state.is_paused

    @property
    def memory(self) -> Memory | None:
        """The memory of what was sent, if there is one."""
        return self._state.memory

    @property
    def figures(self) -> LiveFigures:
        """The figures of this moment."""
        return live_figures(self._runner, self._intake, self._paused_with)

    @property
    def untold(self) -> dict[str, Any]:
        """The notices that the disk does not take, and what meets a bug: the heartbeat has room for them."""
        pause = self._untold_pause
        untold: dict[str, Any] = {"pause": asdict(replace(pause, why=shortened(pause.why)))} if pause else {}
        runner = self._runner
        if not runner.is_told and runner.hold_ups != HoldUps():
            untold["sending"] = asdict(runner.hold_ups)
        if drops := self._intake.untold:
            untold["drops"] = asdict(drops)
        if failing := self._upkeep.failing:
            untold["failing"] = failing
        return untold

    @property
    def _settings(self) -> Settings:
        return self._runner.settings.settings

    def take(self, settings: Tenant) -> None:
        """Use other settings of the same tenant from now on: limits at once, the rest for drops and jobs to come."""
        self._runner.take(settings)
        self._intake.settings = settings

    async def run(self, *, drain: bool) -> None:
        """Serve until stopped, or with `drain` until nothing is left to do."""
        await complete_claims(self._state, self._held)
        await run_sync(take_down_pause, self._state.directory)
        await run_sync(put_up_drops, self._state.directory, DropNotice())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._upkeep.keep, "answering requests", self._answer_requests)
            tasks.start_soon(self._upkeep.keep, _LOOKING, self._look_for_signals)
            tasks.start_soon(self._upkeep.keep, "watching the drop directory", self._arrivals.watch)
            tasks.start_soon(self._upkeep.keep, _PRUNING, self._prune_daily)
            tasks.start_soon(self._upkeep.keep, "looking when the token ends", self._warn_of_token_daily)
            tasks.start_soon(self._upkeep.keep, "checking the ledger", self._check_ledger)
            tasks.start_soon(self._upkeep.keep, _READING_BACK, self._read_samples_back)
            await self._run_jobs(drain=drain)
            await self._move_out_ended()
            if drain:
                await self._has_pruned.wait()
            tasks.cancel_scope.cancel()
        await run_sync(take_down_pause, self._state.directory)
        await run_sync(put_up_drops, self._state.directory, DropNotice())

    async def _answer_requests(self) -> None:
        await answer_requests(self._state, lambda: self._runner.running, self._ending.changed)

    async def _look_for_signals(self) -> None:
        while not self._ending.is_due:
            seen = self._arrivals.count
            try:
                await self._intake.look()
            except FatalError as error:
                await self._bear(error)
                log.warning("signals_not_looked_for", why=str(error))
            self._upkeep.note_well(_LOOKING)
            look_in_s = min(self._settings.drop.poll_s, max(0.0, self._intake.look_in_s))
            await self._sleep(look_in_s, unless=partial(self._has_arrived_since, seen))
            if self._arrivals.count > seen:
                await self._clock.sleep(min(DEBOUNCE_S, self._settings.drop.poll_s))

    def _has_arrived_since(self, count: int) -> bool:
        return self._arrivals.count > count

    def _has_claimed_since(self, count: int) -> bool:
        return self._intake.claimed > count

    async def _sleep(self, seconds: float, *, unless: Callable[[], bool] = lambda: False) -> None:
        """Sleep until the seconds have passed, the process ends, or `unless()` holds."""
        await self._ending.changed.until(lambda: self._ending.is_due or unless(), within_s=seconds)

    async def _bear(self, error: FatalError) -> None:
        """Raise an error unless it may pass by itself (a full disk, a missing directory) and the ledger can be read."""
        if error.exit_code not in (ExitCode.DISK_OR_LEDGER, ExitCode.EXPORT_MISSING):
            raise error
        await self._state.in_turn(self._state.ledger.check)

    async def _run_jobs(self, *, drain: bool) -> None:
        while not self._ending.is_due:
            claimed = self._intake.claimed
            unfinished = await self._run_all()
            if unfinished is None and not self._ending.is_due:
                if drain and await self._is_drained():
                    return
                await self._sleep(self._settings.drop.poll_s, unless=partial(self._has_claimed_since, claimed))
            elif unfinished is None:
                return
            elif self._ending.is_due or drain:
                self.codes.append(unfinished.exit_code)
                return
            else:
                await self._pause(unfinished.exit_code, unfinished)

    async def _run_all(self) -> Report | None:
        """Run all jobs that there are. A bug in what is none of them is told like a job that cannot be finished."""
        bug: FatalError | None = None
        try:
            return await self._runner.run_jobs(self._next_job, self._note_ended)
        except* PipelineError:
            raise
        except* Exception as errors:  # noqa: BLE001 - other client codes go on
            bug = tell_unexpected(errors)
        return Report(error=str(bug), exit_code=ExitCode.OUR_BUG)

    async def _next_job(self, running: Collection[int]) -> JobRecord | None:
        if self._ending.is_due:
            return None
        await self._move_out_ended()
        # The token that the next job begins with; the file may hold another one when this one is refused.
        self._token = await run_sync(self._token_identity)
        try:
            record = await self._intake.next_job(running)
        except FatalError as error:
            await self._bear(error)
            log.warning("signals_not_looked_for", why=str(error))
            return None
        except PipelineError:
            raise
        except Exception as error:  # noqa: BLE001 - jobs that run go on
            self._upkeep.note(_TAKING, error)
            return None
        self._upkeep.note_well(_TAKING)
        if record is not None:
            self._warn_of_removed_route(record)
        return record

    async def _note_ended(self, record: JobRecord, report: Report) -> None:
        if report.state not in ("unfinished", "quarantined"):
            self._failures = 0
            again, self._not_moved = self._not_moved, set()
            is_all = self._to_move is None or again is None
            self._to_move = None if is_all else {*(self._to_move or ()), *(again or ()), record.job_id}
            self.codes.append(report.exit_code)
            self._samples.note_ended()

    def _warn_of_removed_route(self, record: JobRecord) -> None:
        tenant = self._runner.settings
        if record.route not in tenant.routes and record.seq not in self._warned_of:
            # One in quarantine comes up at each look.
            self._warned_of.add(record.seq)
            log.warning(
                "job_of_a_removed_route", job=record.job_id, route=record.route, goes_on_as=next(iter(tenant.routes))
            )

    async def _is_drained(self) -> bool:
        """Look for signals once more. True if nothing is left to do, or nothing before a job is approved."""
        await self._intake.look()
        if self._intake.refused:
            self.codes.append(ExitCode.EXPORT_UNUSABLE)
        if self._intake.waiting:
            return False
        record = await self._intake.next_job()
        if record is None:
            return True
        if await self._state.in_turn(self._state.ledger.is_quarantined, record):
            self.codes.append(ExitCode.UNFINISHED)
            return True
        return False

    async def _move_out_ended(self) -> None:
        """Move the files that ended jobs took to the jobs' folders, or remove them, as `keep_exports` says."""
        to_move, self._to_move = self._to_move, set()
        for processing in self._held if to_move is None or to_move else ():
            try:
                job_ids = await run_sync(processing.jobs, to_move)
            except FatalError as error:
                _tell_not_moved(error)
                self._not_moved = to_move
                continue
            for job_id in job_ids:
                try:
                    await self._move_out(processing, job_id)
                    self._upkeep.note_well(_MOVING)
                except Exception as error:  # noqa: BLE001 - that it lies there yet is no reason to stop
                    if isinstance(error, PipelineError):
                        _tell_not_moved(error)
                    else:
                        self._upkeep.note(_MOVING, error)
                    self._not_moved = None if self._not_moved is None else {*self._not_moved, job_id}

    async def _move_out(self, processing: Taking, job_id: str) -> None:
        record = await self._state.in_turn(self._state.ledger.job, job_id)
        if record is None:
            log.error("taken_by_a_job_that_the_ledger_does_not_know", job=job_id)
        elif record.state is not None:
            is_kept = self._is_kept(record)
            if not is_kept and (why := await run_sync(_reason_to_keep, record, processing)):
                log.error("export_kept", job=job_id, export=shown(record.export.name), why=why)
                is_kept = True
            await run_sync(processing.move_out, job_id, self._state.folder(job_id).dropped if is_kept else None)

    def _is_kept(self, record: JobRecord) -> bool:
        keep = self._runner.settings.of(record.route).drop.keep_exports
        return keep == "always" or (keep == "failed" and record.state in ("failed", "incomplete"))

    async def _pause(self, code: ExitCode, report: Report) -> None:
        """Wait until the reason why a job could not be finished may be gone."""
        tried = self._token, await self._is_abandoned(report.job)
        self._failures += 1
        upload = self._settings.upload
        wait_s = min(upload.backoff_s * 2 ** min(self._failures - 1, 30), upload.backoff_max_s)
        if self._failures == 1 or self._paused_for != report.job:
            self._paused_since, self._paused_for = self._clock.utc_now().isoformat(timespec="seconds"), report.job
        since = self._paused_since
        pause = Pause(int(code), report.error, since, report.job)
        self._untold_pause = None if await run_sync(put_up_pause, self._state.directory, pause) else pause
        self._paused_with = code
        log.warning("service_paused", job=report.job, exit_code=int(code), why=report.error)
        paused_at = self._clock.monotonic()
        while not self._ending.is_due:
            await self._sleep(min(wait_s, 1.0) if code is ExitCode.REFUSED_BY_TARGET else wait_s)
            if await self._may_go_on(code, self._clock.monotonic() - paused_at, report.job, tried):
                break
        self._untold_pause = self._paused_with = None
        await run_sync(take_down_pause, self._state.directory)
        log.info("service_goes_on", job=report.job)

    async def _may_go_on(self, code: ExitCode, paused_s: float, job_id: str, tried: tuple[Any, bool]) -> bool:
        match code:
            case ExitCode.REFUSED_BY_TARGET:
                is_abandoned = await self._is_abandoned(job_id)
                return paused_s >= TOKEN_AGAIN_S or (await run_sync(self._token_identity), is_abandoned) != tried
            case ExitCode.DISK_OR_LEDGER:
                # Raises where the ledger cannot even be read: that ends the service.
                await self._state.in_turn(self._state.ledger.check)
                directory = self._settings.state.directory
                return await run_sync(free_bytes, directory) >= self._settings.state.min_free_bytes
        return True

    async def _is_abandoned(self, job_id: str) -> bool:
        record = await self._state.in_turn(self._state.ledger.job, job_id)
        return record is not None and record.is_abandoned

    def _token_identity(self) -> Any:
        """The identity of the token file: it changes when the file does. None if there is no file."""
        try:
            info = self._settings.target.token_file and self._settings.target.token_file.stat()
        except OSError:
            return None
        return (info.st_mtime_ns, info.st_size, info.st_ino) if info else None

    async def _prune_daily(self) -> None:
        while True:
            try:
                await self._prune()
            finally:
                # What cannot be removed for a bug must not keep a service from its end.
                self._has_pruned.set()
            self._upkeep.note_well(_PRUNING)
            await self._clock.sleep(_DAY_S)

    async def _prune(self) -> None:
        settings, now, last = self._runner.settings, self._clock.utc_now(), None
        ends = await self._state.in_turn(look_at_ends, self._state.ledger, now)
        is_believed = self._clock_watch.is_steady(now, self._clock.monotonic()) or ends.doubt is None
        files = not_removed = 0
        while jobs := await self._state.in_turn(jobs_to_look_at, settings, self._state.ledger, now, last):
            old, last = await run_sync(overdue, settings, jobs, now, ends.set_back), jobs[-1]
            left = await run_sync(remove, self._settings, old) if is_believed else []
            files, not_removed = files + len(old) - len(left), not_removed + len(left)
        if files and not is_believed:
            log.warning("old_files_kept", files=files, why=ends.doubt)
        elif files or not_removed:
            log.info("old_files_removed", files=files, not_removed=not_removed)
        if is_believed:
            await self._forget_old(now)

    async def _forget_old(self, now: datetime) -> None:
        try:
            ids = await expire_memory(self._state, self._settings.memory.keep_days, now)
        except FatalError as error:
            # Whoever needs the memory will say so too, and end for it.
            log.warning("old_ids_kept", why=str(error))
            return
        if ids:
            log.info("old_ids_forgotten", ids=ids)

    async def _check_ledger(self) -> None:
        await check_ledger(self._state.directory / "ledger.db")

    async def _read_samples_back(self) -> None:
        await self._samples.run(partial(self._upkeep.note_well, _READING_BACK))

    async def _warn_of_token_daily(self) -> None:
        while True:
            warn_of_token(self._settings.target.token_expires, self._clock.utc_now().date())
            await self._clock.sleep(_DAY_S)


def _reason_to_keep(record: JobRecord, processing: Taking) -> str | None:
    """The reason why the export of an ended job must not be removed: it is not what its job has read. Blocks."""
    opened = partial(processing.open, record.job_id)
    # Otherwise the job has not read all of it, or it failed because of a change.
    read = record.report.export if record.report and record.state in ("done", "incomplete") else None
    if record.parts:
        change = change_of_parts(record.parts, read.sha256 or "" if read else "", opened)
    elif read is None:
        change = change_since(AsRead(record.identity, record.size_bytes, ""), partial(opened, record.export.name))
    else:
        as_read = AsRead(record.identity, read.size_bytes, read.sha256)
        change = change_since(as_read, partial(opened, record.export.name))
    names = [part.name for part in record.parts] or [record.export.name]
    is_open = any(has_writer(processing.drop, partial(opened, name)) for name in names)
    return change or ("a process has it open for writing" if is_open else None)


def shortened(why: str | None) -> str | None:
    """A reason that fits into a heartbeat."""
    return why if why is None or len(why) <= _MOST_OF_WHY else f"{why[:_MOST_OF_WHY]}..."


def _tell_not_moved(error: PipelineError) -> None:
    """Log an error of moving files; moving is tried again after the next job ends, at the latest at the next start."""
    log.warning("taken_files_not_moved", why=str(error))
