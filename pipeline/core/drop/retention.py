"""How long the files of a job's folder are kept, by what they are."""

from dataclasses import dataclass
from enum import Enum

#: Seconds of a day.
_DAY_S = 86_400.0


class Kind(Enum):
    """What a file in a job's folder is."""

    REPORT = "report"
    REJECTS = "rejects"
    EXPORT = "export"


def kind_of(path: str) -> Kind:
    """What the file of this path, relative to the folder, is; what is unknown may be an export, which goes first."""
    if path in ("report.json", "report.html"):
        return Kind.REPORT
    return Kind.REJECTS if path in ("rejects.jsonl", "failed.jsonl") else Kind.EXPORT


@dataclass(frozen=True, slots=True)
class Retention:
    """Days for which each kind is kept after its job has ended."""

    exports_days: float
    rejects_days: float
    reports_days: float

    def is_over(self, path: str, age_s: float) -> bool:
        """Whether a file is to go whose job ended so long ago."""
        days = {
            Kind.EXPORT: self.exports_days,
            Kind.REJECTS: self.rejects_days,
            Kind.REPORT: self.reports_days,
        }[kind_of(path)]
        return age_s > days * _DAY_S
