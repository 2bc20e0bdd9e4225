"""The report of a job: the fate of every row and every batch, as `report.json` and the ledger keep it.

`as_json` has the keys in the order in which they are written. `from_json` reads reports of this and earlier versions: a
missing key gets a default, an unknown one is ignored.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.errors import ExitCode
from pipeline.core.model import RowCounts, Settled
from pipeline.core.plain import of_plain, plain, written

#: `target` of a report whose batches went to the sandbox.
SANDBOX = "sandbox"
#: `done`; `incomplete` (rows lost); `failed` (the export); `unfinished` (run again); `skipped` (nothing was sent);
#: `quarantined` (a guard holds it back, so it goes on once it is approved).
JobState = Literal["done", "incomplete", "failed", "unfinished", "skipped", "quarantined"]

#: Warnings about Target's answers, which the report has beside those about rows.
TARGET_WARNINGS = ("batch_size_differs", "batch_refused_as_empty", "budget_shared")


@dataclass(frozen=True, slots=True)
class ReportedExport:
    """The file that was loaded, as far as it was read."""

    name: str = ""
    size_bytes: int = written("bytes", default=0)
    sha256: str = ""
    rows: int = 0


@dataclass(frozen=True, slots=True)
class ReportedPart:
    """A part of an export of several, as far as it was read."""

    name: str = ""
    size_bytes: int = written("bytes", default=0)
    rows: int = 0


@dataclass(frozen=True, slots=True)
class ReportedRejects:
    """The name of the file with the rejected rows, and their number by reason, the most frequent first.

    `first_lines`, `first_parts`: by reason, the line of the first of them, and the part that it is in if there are any;
    not of rows that Target refused.
    """

    file: str = "rejects.jsonl"
    by_reason: dict[str, int] = field(default_factory=dict)
    first_lines: dict[str, int] = field(default_factory=dict)
    first_parts: dict[str, str] | None = written(default=None, if_default=False)  # noqa: RUF009 - a field

    @classmethod
    def of(cls, file: str, by_reason: Counter[str], checkpoint: Checkpoint, export: str) -> "ReportedRejects":
        """Those of an export of this name, up to a checkpoint. `by_reason`: with those that Target refused."""
        places = checkpoint.places(export)
        first = {reason: places.of(line) for reason, line in checkpoint.first_lines.items()}
        return cls(
            file=file,
            by_reason=dict(by_reason.most_common()),
            first_lines={reason: place.line for reason, place in first.items()},
            first_parts={reason: place.file for reason, place in first.items()} if checkpoint.parts and first else None,
        )


@dataclass(frozen=True, slots=True)
class ReportedBatch:
    """A settled batch. `rejected`: its rows that Target rejected. `why`: the reason if not all rows are confirmed."""

    number: int = 0
    rows: int = 0
    size_bytes: int = written("bytes", default=0)
    sha256: str = ""
    state: str = ""
    attempts: int = 1
    rejected: int = written(default=0, if_default=False)
    why: str | None = written(default=None, if_default=False)

    @classmethod
    def of(cls, settled: Settled) -> "ReportedBatch":
        """A batch whose outcome is final."""
        batch, state = settled.batch, settled.state.value
        told = (batch.number, batch.rows, batch.size_bytes, batch.sha256, state, settled.attempts, settled.rejected)
        return cls(*told, why=settled.why)


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a job that has ended, or that a run left unfinished or in quarantine.

    Times are UTC in ISO 8601, to the second. `warnings` are those of `Warnings.as_dict`. `seconds` is the duration of
    all runs of the job, `calls` the number of calls to Target in them; of a run that was killed, what was not sealed
    is not known. `same_as`: the job that loaded the same before, None if this one was run. `retry_of`: the job whose
    lost or mended rows it sends, or None. `parts`: those that were begun; none where the export is one file.
    `target`: "sandbox", or the URL that batches are sent to. `spent`: the seconds of the latest run by `Activity`.
    """

    job: str = ""
    state: JobState = "unfinished"
    error: str | None = None
    exit_code: ExitCode = ExitCode.DONE
    export: ReportedExport = ReportedExport()
    client_code: str = ""
    columns_sent: tuple[str, ...] = ()
    parts: tuple[ReportedPart, ...] = ()
    same_as: str | None = None
    retry_of: str | None = None
    target: str = ""
    version: str = ""
    config_sha256: str = ""
    started_at: str = ""
    finished_at: str = ""
    seconds: float = 0.0
    rows: RowCounts = field(default_factory=RowCounts)
    rejects: ReportedRejects = field(default_factory=ReportedRejects)
    excluded: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int | dict[str, int] | dict[str, str]] = field(default_factory=dict)
    batches: tuple[ReportedBatch, ...] = ()
    calls: int = 0
    spent: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Report":
        """A report as `as_json` of this or an earlier version wrote it."""
        return of_plain(cls, values)

    @property
    def is_of_sandbox(self) -> bool:
        """True if the batches went to the sandbox, not to Target."""
        return self.target == SANDBOX

    @property
    def refused_below_share(self) -> int:
        """The calls that Target refused though we had made few: the warning `budget_shared`."""
        count = self.warnings.get("budget_shared", 0)
        return count if isinstance(count, int) else 0

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `report.json` and `--json` have them."""
        written: dict[str, Any] = plain(self)
        return written


@dataclass(frozen=True, slots=True)
class LastRun:
    """The end of a run that left its job unfinished: `status` tells it, and the next run counts on from it.

    `finished_at`: UTC in ISO 8601. `why`: the reason, and what there is to do, in words. `seconds`, `calls`: of all
    runs of the job up to then. `rows`: all that were read, of which the next run reads those again that are in no
    sealed batch. `target`: as in `Report`. `refused_below_share`: its `warnings.budget_shared`.
    """

    finished_at: str = ""
    exit_code: ExitCode = ExitCode.UNFINISHED
    why: str | None = None
    seconds: float = 0.0
    calls: int = 0
    rows: RowCounts = field(default_factory=RowCounts)
    target: str = ""
    refused_below_share: int = 0

    @classmethod
    def of(cls, report: Report) -> "LastRun":
        """The end of the run that made this report."""
        return cls(
            finished_at=report.finished_at,
            exit_code=report.exit_code,
            why=report.error,
            seconds=report.seconds,
            calls=report.calls,
            rows=report.rows,
            target=report.target,
            refused_below_share=report.refused_below_share,
        )
