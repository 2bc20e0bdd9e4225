"""The retention of the files in a job's folder, by their kind; and whether the clock may be believed that it is over.

What is removed is gone for good, and a clock may stand anywhere after a machine has started. So a clock counts only
once something bears it out: the ends of jobs in the ledger, or a day in which it has gone as it should.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

_DAY_S = 86_400.0
#: Files about rejected rows, those in which they are mended, and by which they are told from later ones.
_OF_REJECTS = frozenset(
    [
        *["rejects.jsonl", "rejects.csv", "columns.json", "failed.jsonl", "answers.jsonl", "header.txt"],
        *["fixed.csv", "fixed.of", "mended.csv", "mended.lines"],
    ]
)
#: The longest time without the end of a job after which the clock is still believed at once. Ours: a day and a half,
#: since many exports come once a day.
FAR = timedelta(hours=36)
#: The time for which a clock must have gone as it should after a longer one.
_STEADY = timedelta(days=1)
#: The most seconds by which a clock that is set right now and then, or a machine that sleeps, is off for no other
#: reason. Ours.
_JUMP_S = 3_600.0


class Kind(Enum):
    """The kind of a file in a job's folder."""

    REPORT = "report"
    REJECTS = "rejects"
    EXPORT = "export"


def kind_of(path: str) -> Kind:
    """The kind of the file at this path, relative to the job's folder.

    An unknown file may be an export, and thus counts as one.
    """
    if path in ("report.json", "report.html", "verified.json"):
        return Kind.REPORT
    is_of_rows = path in _OF_REJECTS or path.startswith(("sent/", "rows/"))
    return Kind.REJECTS if is_of_rows else Kind.EXPORT


@dataclass(frozen=True, slots=True)
class Retention:
    """The days for which each kind of file is kept after its job has ended."""

    exports_days: float
    rejects_days: float
    reports_days: float

    def is_over(self, path: str, age_s: float) -> bool:
        """True if a file must go whose job ended `age_s` seconds ago."""
        days = {Kind.EXPORT: self.exports_days, Kind.REJECTS: self.rejects_days, Kind.REPORT: self.reports_days}
        return age_s > days[kind_of(path)] * _DAY_S


def doubt_about(now: datetime, ends: Iterable[datetime]) -> str | None:
    """The reason not to believe the clock yet, in words; None if the ledger bears it out.

    `ends`: when jobs ended, the latest first. They bear out the time if the latest is not far from it, and they go back
    for a day, or as far as there are any, without a long time between two of them. So what one process has noted by a
    wrong clock does not bear it out for the next one.
    """
    later: datetime | None = None
    for end in ends:
        if later is None and end - now > FAR:
            return f"the clock says {_told(now)}, and a job ended at {_told(end)}"
        if (later or now) - end > FAR:
            return None if later and now - later >= _STEADY else _gap(now, end, later)
        later = end if later is None else min(later, end)
        if now - later >= _STEADY:
            return None
    return None


def _gap(now: datetime, end: datetime, later: datetime | None) -> str:
    nothing = "nothing has ended since" if later is None else f"the next one at {_told(later)}"
    return f"the clock says {_told(now)}, a job ended at {_told(end)}, and {nothing}"


def _told(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


class ClockWatch:
    """The time for which the clock of a process has gone as it should, beside a monotonic one."""

    def __init__(self, now: datetime, monotonic_s: float) -> None:
        self._since_s = monotonic_s
        self._difference_s = now.timestamp() - monotonic_s

    def is_steady(self, now: datetime, monotonic_s: float) -> bool:
        """True if it has gone as it should for a day; after a jump the day begins anew."""
        difference_s = now.timestamp() - monotonic_s
        if abs(difference_s - self._difference_s) > _JUMP_S:
            self._since_s = monotonic_s
        self._difference_s = difference_s
        # A day less a minute: whoever looks once a day need not look a third time.
        return monotonic_s - self._since_s >= _DAY_S - 60.0
