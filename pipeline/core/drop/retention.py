"""The retention of the files in a job's folder, by their kind."""

from dataclasses import dataclass
from enum import Enum

_DAY_S = 86_400.0


class Kind(Enum):
    """The kind of a file in a job's folder."""

    REPORT = "report"
    REJECTS = "rejects"
    EXPORT = "export"


def kind_of(path: str) -> Kind:
    """The kind of the file at this path, relative to the job's folder.

    An unknown file may be an export, and thus counts as one.
    """
    if path in ("report.json", "report.html"):
        return Kind.REPORT
    is_of_rows = path in ("rejects.jsonl", "failed.jsonl", "answers.jsonl", "header.txt")
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
