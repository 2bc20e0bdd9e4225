"""The exports that are overdue, and the last days of each route as a calendar: from the ledger and the settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from pipeline.core.expectations.calendar import CALENDAR_DAYS, CalendarDay, calendar
from pipeline.core.expectations.days import Expectation, ExpectedDay, JobEnd, day_in, overdue
from pipeline.edges.notify.told_file import Told
from pipeline.edges.store.ledger_reader import LedgerReader
from pipeline.edges.store.records import RouteEnd
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Tenant

#: The unfinished jobs that are looked at for the reason why an export is overdue.
_LOOKED_AT = 20
#: Said of an overdue export of which nothing was taken.
NONE_HAS_COME = "none has come"


@dataclass(frozen=True, slots=True)
class OverdueExport:
    """An export of a route that had to be done, and is not. Told once for each `day`.

    `day`: the local date on which it was due. `due_at`: UTC in ISO 8601. `by`: the same in local time, with its zone.
    `why`: in words.
    """

    route: str
    day: str
    due_at: str
    by: str
    why: str


def to_do_about(late: OverdueExport, directory: str) -> str:
    """The next thing to do about an overdue export, with its command. `directory`: where it should be dropped."""
    if late.why == NONE_HAS_COME:
        return f"Ask whoever drops it; `ls -la {directory}` shows what lies there, and if its signal is missing."
    return "`profile-pipeline status --config FILE` says why."


@dataclass(frozen=True, slots=True)
class MissingDay:
    """A day (a local date) on which an export of a route was expected, and none came that counts for it."""

    route: str
    day: str


def expectation_of(settings: Settings) -> Expectation | None:
    """The expectation of a route; None if it has none, or no drop directory into which an export could come."""
    return settings.expect.expectation if settings.drop.directory else None


def expected_since(settings: Settings, route: str, told: Told) -> datetime | None:
    """Since when exports of a route are expected as its settings say; None if no service has noted that yet."""
    noted = told.expected.get(route)
    if noted is None or noted.words != settings.expect.words:
        return None
    return datetime.fromisoformat(noted.since)


def days_due(settings: Tenant, told: Told, now: datetime) -> dict[str, ExpectedDay]:
    """By route that expects exports the day that was due last, if that was since they are expected."""
    found = {}
    for route, of_route in settings.routes.items():
        expectation, since = expectation_of(of_route), expected_since(of_route, route, told)
        if expectation is not None and (day := overdue(expectation, now, (), since=since)) is not None:
            found[route] = day
    return found


def overdue_exports(
    settings: Tenant, ledger: LedgerReader | None, days: Mapping[str, ExpectedDay]
) -> tuple[OverdueExport, ...]:
    """The exports of these days, by route, that no job has brought. Blocks."""
    return tuple(_overdue(settings, ledger, days))


def _overdue(settings: Tenant, ledger: LedgerReader | None, days: Mapping[str, ExpectedDay]) -> Iterator[OverdueExport]:
    for route, day in days.items():
        expect = settings.routes[route].expect
        ends = [] if ledger is None else _ends(ledger, day.begins).get(route, [])
        if not day.is_met(end for end, _ in ends):
            yield OverdueExport(
                route=route,
                day=day.day.isoformat(),
                due_at=day.due.isoformat(timespec="seconds"),
                by=f"{day.due.astimezone(ZoneInfo(expect.time_zone)):%Y-%m-%d %H:%M} ({expect.time_zone})",
                why=_why(ledger, route, day, ends),
            )


def calendars(
    settings: Tenant, ledger: LedgerReader | None, told: Told, now: datetime, *, days: int = CALENDAR_DAYS
) -> Mapping[str, tuple[CalendarDay, ...]]:
    """By route what became of the exports of the last days, the oldest day first, today last. Blocks."""
    ends = {} if ledger is None else _ends(ledger, now - timedelta(days=days + 2))
    return {
        route: calendar(
            now,
            [end for end, _ in ends.get(route, ())],
            days=days,
            expectation=expectation_of(of_route),
            since=expected_since(of_route, route, told),
        )
        for route, of_route in settings.routes.items()
    }


def missing_days(settings: Tenant, ledger: LedgerReader | None, told: Told, now: datetime) -> tuple[MissingDay, ...]:
    """The days of the calendars on which an export was expected and none came. Blocks."""
    if not any(expectation_of(of_route) for of_route in settings.routes.values()):
        return ()
    return tuple(
        MissingDay(route, each.day.isoformat())
        for route, days in calendars(settings, ledger, told, now).items()
        for each in days
        if each.state == "missing"
    )


def _ends(ledger: LedgerReader, since: datetime) -> dict[str, list[tuple[JobEnd, RouteEnd]]]:
    found: dict[str, list[tuple[JobEnd, RouteEnd]]] = {}
    for each in ledger.ends_since(since.astimezone(UTC).isoformat(timespec="seconds")):
        times = datetime.fromisoformat(each.started_at), datetime.fromisoformat(each.finished_at)
        found.setdefault(each.route, []).append((JobEnd(*times, each.state, Path(each.export).name), each))
    return found


def _why(ledger: LedgerReader | None, route: str, day: ExpectedDay, ends: list[tuple[JobEnd, RouteEnd]]) -> str:
    for job in [] if ledger is None else ledger.jobs_in_order(_LOOKED_AT):
        is_of_day = day_in([day], datetime.fromisoformat(job.started_at)) is not None
        if job.route == route and job.retry_of is None and is_of_day:
            return f"it has come, and job {job.job_id} is not done yet"
    for end, of_route in reversed(ends):
        if day_in([day], end.taken_at) is not None:
            return f"job {of_route.job_id} ended {end.state}"
    return NONE_HAS_COME
