"""The last days of a route as a calendar: what became of the exports of each, and where one is missing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from pipeline.core.expectations.days import Expectation, JobEnd, day_in

#: `none`: no job, and none was expected, or is due only later.
DayState = Literal["done", "incomplete", "failed", "missing", "none"]
#: The days of a calendar.
CALENDAR_DAYS = 30
#: From the best to the worst.
_ORDER: tuple[DayState, ...] = ("done", "incomplete", "failed")
_MISSING: DayState = "missing"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """A day, and what became of its exports: the worst, but of an export that was loaded again the last one."""

    day: date
    state: DayState


def calendar(
    now: datetime,
    ends: Iterable[JobEnd],
    *,
    days: int = CALENDAR_DAYS,
    expectation: Expectation | None = None,
    since: datetime | None = None,
) -> tuple[CalendarDay, ...]:
    """So many days up to today, the oldest first.

    A job stands on the day for which it counts, if that is not in the future; else, and without an expectation, on the
    day on which its export was taken. Days are those of the expectation's time zone, else of UTC. `since`: nothing was
    expected that was due before, or at all if it is None. `ends`: those of all jobs whose exports were taken in these
    days or the day before.
    """
    zone = UTC if expectation is None else expectation.zone
    today = now.astimezone(zone).date()
    first = datetime.combine(today - (days + 1) * _DAY, datetime.min.time(), UTC)
    expected = [] if expectation is None else expectation.days_due(first, now.astimezone(UTC) + 9 * _DAY)
    counted: dict[date, dict[str, DayState]] = {}
    others: dict[date, dict[str, DayState]] = {}
    for end in sorted(ends, key=lambda each: each.ended_at):
        of_day = day_in(expected, end.taken_at)
        for state in _ORDER:
            if state != end.state:
                continue
            if of_day is not None and of_day.day <= today:
                counted.setdefault(of_day.day, {})[end.export] = state
            else:
                others.setdefault(end.taken_at.astimezone(zone).date(), {})[end.export] = state
    missing = {
        each.day: _MISSING
        for each in expected
        if since is not None and since <= each.due <= now and each.day not in counted
    }
    told = {**{day: _worst(of.values()) for day, of in others.items()}, **missing}
    told |= {day: _worst(of.values()) for day, of in counted.items()}
    shown = [today - number * _DAY for number in reversed(range(days))]
    return tuple(CalendarDay(day, told.get(day, "none")) for day in shown)


def _worst(states: Iterable[DayState]) -> DayState:
    return max(states, key=_ORDER.index)
