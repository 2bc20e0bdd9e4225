"""The overview of all that the service does, from the status of all tenants: what its page shows."""

from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pipeline import __version__
from pipeline.core.duration import time_in_words
from pipeline.core.plural import counted
from pipeline.core.target.token_life import WARNED_DAYS, in_words
from pipeline.edges.store.ledger_reader import LedgerReader, read_ledger
from pipeline.edges.store.records import RouteEnd
from pipeline.edges.views.days import days_of
from pipeline.edges.views.figures import size_in_words
from pipeline.edges.views.overview_view import (
    CALENDAR_DAYS,
    Day,
    JobLine,
    Notice,
    OverviewView,
    RouteView,
    TenantView,
)
from pipeline.jobs.status.drop import DropStatus, drop_lines
from pipeline.jobs.status.job import JobStatus
from pipeline.jobs.status.job_page import shown_state
from pipeline.jobs.status.tenant import Status
from pipeline.jobs.status.tenants import Statuses
from pipeline.settings.tenants import DEFAULT_ROUTE


@dataclass(frozen=True, slots=True)
class History:
    """The last days of a route, and the job that ended last; retries aside, which bring no export."""

    days: tuple[Day, ...] = ()
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


def histories_of(told: Statuses, now: datetime) -> dict[tuple[str, str], History]:
    """The last days of each route, and the job of it that ended last in them. Blocks."""
    today, found = now.astimezone(UTC).date(), {}
    since = datetime.combine(today - timedelta(days=CALENDAR_DAYS), datetime.min.time(), UTC)
    for one in told.tenants:
        ledger = read_ledger(Path(one.state_directory) / "ledger.db")
        with closing(ledger) if ledger else nullcontext():
            ends = ledger.ends_since(since.isoformat(timespec="seconds")) if ledger else []
            for route in _route_names(one):
                of_route = [end for end in ends if end.route == route]
                days = [(datetime.fromisoformat(end.finished_at).date(), end.state) for end in of_route]
                latest = _latest(ledger, of_route[-1], one) if ledger and of_route else None
                found[one.client_code, route] = History(days_of(days, today, _missing(one, route)), latest)
    return found


def _missing(one: Status, route: str) -> set[date]:
    return {date.fromisoformat(each.day) for each in one.missing if each.route == route}


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


def _route_names(one: Status) -> list[str]:
    return [DEFAULT_ROUTE] if one.routes is None else [route.route for route in one.routes]


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
        error=job.error,
        waits_for=tuple(job.waits_for),
    )


def _tenant(one: Status, histories: Histories) -> TenantView:
    drops = {DEFAULT_ROUTE: one.drop} if one.routes is None else {route.route: route.drop for route in one.routes}
    return TenantView(
        client_code=one.client_code,
        notices=(*_notices(one), *(notice for drop in drops.values() if drop for notice in _about_drop(drop))),
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


def _notices(one: Status) -> list[Notice]:
    """The things that sending waits for, what somebody has to act on first."""
    told = []
    if pause := one.paused_by_itself:
        why = f": {pause.why}" if pause.why else "."
        told.append(Notice(f"The service waits since {time_in_words(pause.since)}{why}", is_urgent=True))
    if one.is_paused:
        told.append(Notice("Sending is paused.", "`profile-pipeline resume --config FILE` goes on.", is_urgent=True))
    if one.token_expires and one.token_days_left is not None and one.token_days_left <= WARNED_DAYS:
        ends = date.fromisoformat(one.token_expires)
        words = in_words(ends, ends - timedelta(days=one.token_days_left))
        told.append(
            Notice(
                f"The token {words}.",
                "Put a new one into [target] token_file, and its end into token_expires; a reload takes both.",
                is_urgent=True,
            )
        )
    if one.held_up.away_since:
        told.append(
            Notice(
                f"Target gives no usable answer since {time_in_words(one.held_up.away_since)}, the last was: "
                f"{one.held_up.last_answer}.",
                "It is tried again and again, and nothing is lost; if it lasts, look at the network and at "
                "status.adobe.com.",
                is_urgent=True,
            )
        )
    else:
        told += [Notice(f"{words[0].upper()}{words[1:]}.") for words in one.held_up.words]
    if one.window:
        then = f"; then {one.window.then}" if one.window.then else ""
        told.append(Notice(f"Time windows: {one.window.in_words}{then}."))
    if one.memory and one.memory.is_behind:
        told.append(
            Notice(
                "The memory is behind: rows were sent that it does not know.",
                "`profile-pipeline memory rebuild --config FILE` empties it.",
            )
        )
    if one.memory and one.memory.why:
        told.append(Notice(f"{one.memory.why[0].upper()}{one.memory.why[1:]}"))
    if one.log_lines_dropped:
        told.append(Notice(f"The log lacks {counted(one.log_lines_dropped, 'line')}: stderr did not take them."))
    return told


def _about_drop(drop: DropStatus) -> list[Notice]:
    """The drops and the directory that cannot be taken, so that somebody has to act."""
    if drop.problem:
        return [Notice(f"The drop directory {drop.directory} {drop.problem}.", is_urgent=True)]
    return [
        Notice(f"{each.name} is not taken since {time_in_words(each.since)}: {each.why}.", is_urgent=True)
        for each in drop.not_taken
    ]


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
