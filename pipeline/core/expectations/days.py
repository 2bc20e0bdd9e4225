"""The days on which an export is expected, and the job that counts for each of them.

On each of its days an export has to be *done* by a time of day: its *due* time. A job counts for the due time that is
nearest to the moment at which its export was taken. So an export that comes some hours late counts for the day it is
late for, one that comes the evening before counts for the next day, and no job counts for two days.

Pure: moments are aware datetimes, passed in; a zone is a value that knows its clock changes. Where clocks jump over a
due time, the jump is that time; where clocks show it twice, the first counts.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise

from pipeline.core.target.time_windows import first_shown

_DAY = timedelta(days=1)
#: The longest way from one day to the next: a week, and two days more since clocks may be set by a whole day.
_FARTHEST_DAYS = 9
#: States of jobs that bring an export: what an incomplete one lacks is told by itself.
ARRIVED = ("done", "incomplete")


@dataclass(frozen=True, slots=True)
class JobEnd:
    """The end of a job, as far as it counts here. Retries are none: they bring no export.

    `taken_at`: the moment at which its export was taken, and the job entered. `export`: the name of the export.
    """

    taken_at: datetime
    ended_at: datetime
    state: str
    export: str = ""


@dataclass(frozen=True, slots=True)
class ExpectedDay:
    """A day on which an export is expected: due at `due`. Exports count for it that were taken from `begins` on, and
    before `ends`. All three are UTC.
    """

    day: date
    begins: datetime
    due: datetime
    ends: datetime

    def is_met(self, ends: Iterable[JobEnd]) -> bool:
        """True if a job brought the export of this day, or one that counts for a later day: that is as new."""
        return any(end.state in ARRIVED and end.taken_at >= self.begins for end in ends)


@dataclass(frozen=True, slots=True)
class Expectation:
    """An export on some days of the week.

    `days`: Monday is 0; at least one.
    `by`: minutes from local midnight, below 1440.
    """

    days: frozenset[int]
    by: int
    zone: tzinfo

    def days_due(self, start: datetime, end: datetime) -> list[ExpectedDay]:
        """The expected days that are due from `start` to `end`, both included, in their order."""
        first = start.astimezone(self.zone).date() - _FARTHEST_DAYS * _DAY
        last = end.astimezone(self.zone).date() + _FARTHEST_DAYS * _DAY
        days = [first + number * _DAY for number in range((last - first).days + 1)]
        dues = [(day, first_shown(day, self.by, self.zone)) for day in days if day.weekday() in self.days]
        middles = [before + (after - before) / 2 for (_, before), (_, after) in pairwise(dues)]
        return [
            ExpectedDay(day, begins, due, ends)
            for (day, due), (begins, ends) in zip(dues[1:-1], pairwise(middles), strict=True)
            if start <= due <= end
        ]

    def latest_due(self, now: datetime) -> ExpectedDay:
        """The expected day that was due last, `now` included."""
        return self.days_due(now - _FARTHEST_DAYS * _DAY, now)[-1]

    def next_due(self, now: datetime) -> ExpectedDay:
        """The expected day that is due next, `now` included."""
        return self.days_due(now, now + _FARTHEST_DAYS * _DAY)[0]


def day_in(days: Sequence[ExpectedDay], taken_at: datetime) -> ExpectedDay | None:
    """The one of these days, in their order, for which an export counts; None if it is another one."""
    place = bisect_right([each.begins for each in days], taken_at) - 1
    return days[place] if place >= 0 and taken_at < days[place].ends else None


def overdue(
    expectation: Expectation, now: datetime, ends: Iterable[JobEnd], *, since: datetime | None
) -> ExpectedDay | None:
    """The expected day whose export is overdue now, the latest one; None if none is.

    `since`: nothing is expected that was due before, or at all if it is None. `ends`: at least those of all jobs whose
    exports were taken from the day's `begins` on.
    """
    if since is None:
        return None
    latest = expectation.latest_due(now.astimezone(UTC))
    return None if latest.due < since or latest.is_met(ends) else latest
