"""The status of tenants: read from their ledgers, beside the processes that write them."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pipeline.cli.ask import tenants_about
from pipeline.cli.drop_status import DropStatus, drop_status
from pipeline.cli.job_status import JobStatus, job_status
from pipeline.core.plain import plain, written
from pipeline.core.target.status_memory import STATUSES_KEPT, Learned
from pipeline.core.target.token_life import days_left
from pipeline.edges.lock import held_since, holder
from pipeline.edges.store.ledger import Ledger, read_ledger
from pipeline.edges.store.notice import Pause, read_pause
from pipeline.edges.store.records import JobRecord
from pipeline.edges.target.time_windows import in_words
from pipeline.edges.target.time_windows import told as told_of_window
from pipeline.jobs.claims import in_order
from pipeline.jobs.job import unknown_job
from pipeline.jobs.open_state import without_route
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Configuration
from pipeline.settings.time_windows import schedule_of

#: `status` without a job shows the latest jobs, this many, and all unfinished ones.
_SHOWN_JOBS = 10


@dataclass(frozen=True, slots=True)
class StatusWindowStatus:
    """The size of the status window, if it was learned, and when a larger one did not hold (UTC in ISO 8601)."""

    size: int
    is_learned: bool
    more_failed_at: str | None


@dataclass(frozen=True, slots=True)
class TimeWindowStatus:
    """The limits that the time windows set now, until when (in their time zone), and in words what comes `then`."""

    pause: bool
    calls_per_minute: int | None
    concurrency: int | None
    until: str | None
    time_zone: str | None
    in_words: str
    then: str | None


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """A route of a tenant, and its drop directory if it has one."""

    route: str
    drop: DropStatus | None


@dataclass(frozen=True, slots=True)
class LeftStatus:
    """A state directory with unfinished jobs of a client code that has no route any more."""

    client_code: str
    state_directory: str
    unfinished: int


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a tenant: the process that holds its state directory, what sending waits for, and its jobs.

    `held_by`: the number of that process, None without one. `token_expires`, `token_days_left`: the end of the token, a
    date, and the days until then, None if it is not known. `paused_by_itself`: the reason why the service waits.
    `routes` is None if the configuration has no routes, and `drop` if it has.
    """

    client_code: str
    state_directory: str
    held_by: int | str | None
    is_paused: bool
    status_window: StatusWindowStatus
    window: TimeWindowStatus | None
    paused_by_itself: Pause | None
    drop: DropStatus | None
    jobs: tuple[JobStatus, ...]
    token_expires: str | None = None
    token_days_left: int | None = None
    routes: tuple[RouteStatus, ...] | None = written(default=None, if_default=False)

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `status --json` prints them: the fields in their order, without `routes` that are None."""
        values: dict[str, Any] = plain(self)
        return values


@dataclass(frozen=True, slots=True)
class Statuses:
    """The status of all tenants, and the state directories with unfinished jobs that no tenant has any more."""

    tenants: tuple[Status, ...]
    without_route: tuple[LeftStatus, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; a single tenant's status stands by itself, not in a list."""
        told = [one.as_json() for one in self.tenants]
        whole = told[0] if len(told) == 1 else {"client_codes": told}
        if not self.without_route:
            return whole
        return {**whole, "without_route": plain(self.without_route)}


def statuses(configuration: Configuration, job_id: str | None, now: datetime) -> Statuses:
    """The status of all tenants; with `job_id` of the tenant that has the job, and of that job alone. Blocks."""
    told = []
    for tenant in tenants_about(configuration, job_id):
        ledger = read_ledger(tenant.directory / "ledger.db")
        pid = holder(tenant.directory)
        held_by = int(pid) if pid is not None and pid.isdecimal() else pid
        one = status(ledger, job_id, tenant.settings, now, held_by)
        if configuration.has_routes and job_id is None:
            routes = tuple(RouteStatus(name, drop_status(of, now)) for name, of in tenant.routes.items())
            one = replace(one, drop=None, routes=routes)
        told.append(one)
    left = {} if job_id is not None else without_route(configuration)
    return Statuses(
        tuple(told),
        tuple(LeftStatus(owner.client_code, str(directory), owner.unfinished) for directory, owner in left.items()),
    )


def status(
    ledger: Ledger | None, job_id: str | None, settings: Settings, now: datetime, held_by: int | str | None
) -> Status:
    """The status of a tenant, its latest job last; with `job_id` that job alone. Raises `PipelineError` (64)."""
    every = records = [] if ledger is None else ledger.jobs()
    since = held_since(settings.state.directory) if held_by else None
    if job_id is not None:
        records = [record for record in records if record.job_id == job_id]
        if not records:
            raise unknown_job(job_id)
    expires = settings.target.token_expires
    latest = records[-_SHOWN_JOBS:]
    jobs = [record for record in records if record in latest or record.state is None]
    return Status(
        client_code=settings.target.client_code,
        state_directory=str(settings.state.directory),
        held_by=held_by,
        is_paused=ledger is not None and ledger.is_paused,
        status_window=_status_window(ledger, settings),
        window=_window(settings, now),
        token_expires=expires.isoformat() if expires else None,
        token_days_left=days_left(expires, now.date()) if expires else None,
        paused_by_itself=read_pause(settings.state.directory) if held_by else None,
        drop=None if job_id else drop_status(settings, now),
        jobs=()
        if ledger is None
        else tuple(job_status(ledger, record, settings, now, _at_it_since(record, every, since)) for record in jobs),
    )


def _at_it_since(record: JobRecord, records: list[JobRecord], since: datetime | None) -> datetime | None:
    """The time at which the process that holds the directory, since `since`, began a job or went on with it.

    None if there is no such process, or the job waits for an earlier one to be read.
    """
    order = in_order([other for other in records if other.state is None])
    if since is None or record not in order:
        return None
    before = order[: order.index(record)]
    if not all(other.checkpoint.has_ended for other in before):
        return None
    ended = [datetime.fromisoformat(other.report.finished_at) for other in records if other.report]
    return max([since, datetime.fromisoformat(record.started_at), *ended])


def _status_window(ledger: Ledger | None, settings: Settings) -> StatusWindowStatus:
    """The status window that the settings fix, or that was learned."""
    fixed = settings.settle.status_window
    if fixed != "auto":
        return StatusWindowStatus(fixed, is_learned=False, more_failed_at=None)
    learned = Learned() if ledger is None else ledger.learned_statuses()
    return StatusWindowStatus(
        learned.size,
        is_learned=learned.size > STATUSES_KEPT,
        more_failed_at=learned.failed_at.isoformat() if learned.failed_at else None,
    )


def _window(settings: Settings, now: datetime) -> TimeWindowStatus | None:
    """The limits of the time windows now, and from `until` on; None without time windows."""
    if not settings.windows:
        return None
    schedule = schedule_of(settings.windows)
    held = schedule.at(now)
    later = held.until and schedule.at(held.until)
    then = in_words(later) if later else None
    return TimeWindowStatus(**told_of_window(held), in_words=in_words(held), then=then)
