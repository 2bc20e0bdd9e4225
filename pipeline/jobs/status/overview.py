"""The overview of all that the service does, from the status of all tenants: what its page shows."""

from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pipeline import __version__
from pipeline.core.expectations.calendar import CALENDAR_DAYS, CalendarDay
from pipeline.core.plural import counted
from pipeline.core.target.token_life import in_words
from pipeline.edges.notify.told_file import read_told
from pipeline.edges.store.ledger_reader import LedgerReader, read_ledger
from pipeline.edges.store.records import RouteEnd
from pipeline.edges.views.figures import size_in_words
from pipeline.edges.views.overview_view import (
    JobLine,
    Notice,
    OverviewView,
    RouteView,
    TenantView,
)
from pipeline.jobs.status.drop import DropStatus, drop_lines
from pipeline.jobs.status.expected import calendars
from pipeline.jobs.status.job import JobStatus
from pipeline.jobs.status.job_page import shown_state
from pipeline.jobs.status.overview_notices import notices_of
from pipeline.jobs.status.tenant import Status
from pipeline.jobs.status.tenants import Statuses
from pipeline.settings.tenants import DEFAULT_ROUTE, Configuration


@dataclass(frozen=True, slots=True)
class History:
    """The last days of a route, and the job that ended last; retries aside, which bring no export."""

    days: tuple[CalendarDay, ...] = ()
    latest: JobLine | None = None


#: By client code and name of the route.
Histories = Mapping[tuple[str, str], History]


def overview(told: Statuses, now: datetime, histories: Histories) -> OverviewView:
    """The overview of what `status` tells of all tenants. `histories`: see `histories_of`."""
    jobs = [line for one in told.tenants for line in _job_lines(one)]
    ended = sorted(
        (line for line in jobs if line.finished_at is not None), key=lambda line: str(line.finished_at), reverse=True
    )
    return OverviewView(
        now=now,
        version=__version__,
        tenants=tuple(_tenant(one, histories) for one in told.tenants),
        jobs=(*(line for line in jobs if line.finished_at is None), *ended),
        older_jobs=sum(one.older_jobs for one in told.tenants),
        waiting_jobs=sum(one.waiting_jobs for one in told.tenants),
        notices=tuple(
            Notice(
                f"{counted(left.unfinished, 'unfinished job')} of client code {left.client_code}, which has no route "
                f"any more, in {left.state_directory}.",
                "Give it a route again until they have ended.",
                is_urgent=True,
            )
            for left in told.without_route
        ),
    )


def histories_of(configuration: Configuration, told: Statuses, now: datetime) -> dict[tuple[str, str], History]:
    """The last days of each route, and the job of it that ended last in them. Blocks."""
    found, tenants = {}, {tenant.client_code: tenant for tenant in configuration.tenants}
    for one in told.tenants:
        tenant = tenants.get(one.client_code)
        if tenant is None:
            # The configuration is another one since.
            continue
        ledger = read_ledger(tenant.directory / "ledger.db")
        with closing(ledger) if ledger else nullcontext():
            days = calendars(tenant, ledger, read_told(tenant.directory), now)
            latest = _latest_ends(ledger, now) if ledger else {}
            for route, of_route in days.items():
                end = latest.get(route)
                found[one.client_code, route] = History(of_route, _latest(ledger, end, one) if ledger and end else None)
    return found


def _latest_ends(ledger: LedgerReader, now: datetime) -> dict[str, RouteEnd]:
    """By route the end of the job that ended last, if it was in the days of the calendar."""
    since = now.astimezone(UTC) - timedelta(days=CALENDAR_DAYS)
    return {end.route: end for end in ledger.ends_since(since.isoformat(timespec="seconds"))}


def _latest(ledger: LedgerReader, end: RouteEnd, one: Status) -> JobLine:
    """The job that ended last."""
    listed = next((job for job in one.jobs if job.job == end.job_id), None)
    line = (
        _job_line(listed, one, is_first=False)
        if listed is not None
        else JobLine(end.job_id, end.state, Path(end.export).name, one.client_code)
    )
    retries = ledger.retries_of(end.job_id) if end.state == "incomplete" else []
    return replace(
        line,
        finished_at=datetime.fromisoformat(end.finished_at),
        is_sent_again=any(job.state == "done" and not job.is_of_mended for job in retries),
    )


def _job_lines(one: Status) -> list[JobLine]:
    unfinished = [job.job for job in one.jobs if job.state == "unfinished"]
    return [_job_line(job, one, is_first=unfinished[:1] == [job.job]) for job in one.jobs]


def _job_line(job: JobStatus, one: Status, *, is_first: bool) -> JobLine:
    return JobLine(
        job=job.job,
        state=shown_state(job, one, is_first=is_first),
        export=Path(job.export).name,
        client_code=one.client_code,
        route="" if one.routes is None else job.route,
        started_at=datetime.fromisoformat(job.started_at),
        finished_at=datetime.fromisoformat(job.finished_at) if job.finished_at else None,
        seconds=job.seconds,
        rows=job.rows,
        error=job.error or job.quarantine,
        waits_for=tuple(job.waits_for),
        oldest_accepted=datetime.fromisoformat(job.oldest_accepted) if job.oldest_accepted else None,
    )


def _tenant(one: Status, histories: Histories) -> TenantView:
    drops = {DEFAULT_ROUTE: one.drop} if one.routes is None else {route.route: route.drop for route in one.routes}
    return TenantView(
        client_code=one.client_code,
        notices=tuple(notices_of(one)),
        routes=tuple(
            RouteView(
                client_code=one.client_code,
                name="" if one.routes is None else name,
                directory=drop.directory if drop else "",
                days=of_route.days,
                latest=of_route.latest,
                lying=tuple(_lying(drop)) if drop else (),
            )
            for name, drop in drops.items()
            for of_route in [histories.get((one.client_code, name), History())]
        ),
        facts=tuple(_facts(one)),
    )


def _lying(drop: DropStatus) -> list[str]:
    """The other things that lie in a drop directory, one a line."""
    return [] if drop.problem else [line for line in drop_lines(drop) if not line.startswith("Not taken:")]


def _facts(one: Status) -> list[tuple[str, str]]:
    facts = [("Process", f"{one.held_by} is at work" if one.held_by else "none is at work")]
    if one.token_expires and one.token_days_left is not None:
        ends = date.fromisoformat(one.token_expires)
        facts.append(("Token", in_words(ends, ends - timedelta(days=one.token_days_left))))
    if one.memory and one.memory.ids:
        size = size_in_words(one.memory.size_bytes or 0)
        facts.append(("Memory", f"{counted(one.memory.ids, 'id')} ({one.memory.remember}), {size}"))
    under_way = f"{counted(one.statuses_under_way, 'batch is', 'batches are')} being applied by Target"
    facts.append(("Status window", f"{one.status_window.size}; {under_way}"))
    facts.append(("State directory", one.state_directory))
    return facts
