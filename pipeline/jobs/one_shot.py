"""Loads the exports of one command, in their order, and what is unfinished before them."""

import asyncio
import math
import signal
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path

import anyio
import structlog
from anyio.streams.memory import MemoryObjectSendStream

from pipeline.core.errors import ExitCode, FatalError, InputError, PipelineError, most_telling
from pipeline.edges.exports import Identity, digest, identify
from pipeline.edges.host import Host
from pipeline.edges.store.records import JobRecord
from pipeline.jobs.claims import complete_claims, next_job
from pipeline.jobs.control import answer_requests
from pipeline.jobs.load import Watch
from pipeline.jobs.report import Report
from pipeline.jobs.runner import Runner, open_runner
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import DEFAULT_ROUTE, Tenant

log = structlog.get_logger()

#: After these, the remaining exports of a run are still tried.
GO_ON_AFTER = (ExitCode.DONE, ExitCode.EXPORT_UNUSABLE, ExitCode.EXPORT_MISSING, ExitCode.ROWS_LOST)


async def load_export(
    path: Path, settings: Settings, *, host: Host, watch: Watch | None = None, again: bool = False
) -> Report:
    """Bring every row of an export into Target; the report of its job. Unfinished jobs are finished before.

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
) -> AsyncIterator[Report]:
    """Finish what is unfinished, then bring every row of these exports into Target; reports in the order of the jobs.

    The exports are loaded as `route` says. `watch` is run beside each load to show its progress, and cancelled at its
    end. An export whose content is that of the latest job is not sent, unless `again`: that job's report is given once
    more. Whatever goes wrong with an export, with Target or with the disk is in its report, `exit_code` with it. Raises
    `FatalError` where the state directory is in use (73), cannot be used (74) or belongs to another client code (78).
    """
    told, reports = anyio.create_memory_object_stream[Report](math.inf)
    # In a task of its own: jobs go on while a report is looked at, and a generator cannot hold a task group meanwhile.
    loading = asyncio.ensure_future(_load_all(paths, (settings, route), host, watch, told, again=again))
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
    way: tuple[Tenant, str],
    host: Host,
    watch: Watch | None,
    told: MemoryObjectSendStream[Report],
    *,
    again: bool,
) -> None:
    settings, route = way
    error: PipelineError | None = None
    with told:
        async with open_runner(settings, host, [watch] if watch else []) as runner:
            state = runner.state
            loads = Loads(runner, route, paths, told.send_nowait, again=again)
            await complete_claims(state)
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(answer_requests, state, lambda: runner.running)
                    tasks.start_soon(_stopped_by_signals, runner)
                    await runner.run_jobs(loads.next_job, loads.note_ended)
                    tasks.cancel_scope.cancel()
            except* PipelineError as errors:
                error = most_telling(errors)
        if error is not None:
            raise error


class Loads:
    """The exports of one run of `load`, whose turn it is next, and their reports: `tell` gets them in order."""

    def __init__(
        self, runner: Runner, route: str, paths: list[Path], tell: Callable[[Report], None], *, again: bool
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
                self._digests[path, identity] = await digest(path, self._state.host.open_export)
        except InputError:
            # The load itself will meet the same error, and report it.
            return None
        return latest if self._digests[path, identity] == (latest.sha256 or latest.checkpoint.digest) else None


async def _stopped_by_signals(runner: Runner) -> None:
    """Let SIGTERM and SIGINT end a load tidily, with `FatalError` (75)."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            name = signal.Signals(number).name
            runner.stop(FatalError(f"stopped by {name}.", exit_code=ExitCode.UNFINISHED))
