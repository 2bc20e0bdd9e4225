"""The report of a job: the fate of every row and every batch, as `report.json` and the ledger keep it.

`as_json` has the keys in the order in which they are written. `from_json` reads reports of this and earlier versions: a
missing key gets a default, an unknown one is ignored.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from pipeline.core.errors import ExitCode
from pipeline.core.model import RowCounts, Settled

#: `done`; `incomplete` (rows lost); `failed` (the export); `unfinished` (run again); `skipped` (nothing was sent).
JobState = Literal["done", "incomplete", "failed", "unfinished", "skipped"]

_CLASSES = {field.name for field in fields(RowCounts)}


@dataclass(frozen=True, slots=True)
class ReportedExport:
    """The file that was loaded, as far as it was read."""

    name: str
    size_bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class ReportedRejects:
    """The name of the file with the rejected rows, and their number by reason, the most frequent first."""

    file: str
    by_reason: dict[str, int]


@dataclass(frozen=True, slots=True)
class ReportedBatch:
    """A settled batch. `rejected`: its rows that Target rejected. `why`: the reason if not all rows are confirmed."""

    number: int
    rows: int
    size_bytes: int
    sha256: str
    state: str
    attempts: int
    rejected: int = 0
    why: str | None = None

    @classmethod
    def of(cls, settled: Settled) -> "ReportedBatch":
        """The report of a settled batch."""
        return cls(
            number=settled.batch.number,
            rows=settled.batch.rows,
            size_bytes=settled.batch.size_bytes,
            sha256=settled.batch.sha256,
            state=settled.state.value,
            attempts=settled.attempts,
            rejected=settled.rejected,
            why=settled.why,
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ReportedBatch":
        """A batch as `as_json` wrote it."""
        return cls(
            number=values.get("number", 0),
            rows=values.get("rows", 0),
            size_bytes=values.get("bytes", 0),
            sha256=values.get("sha256", ""),
            state=values.get("state", ""),
            attempts=values.get("attempts", 1),
            rejected=values.get("rejected", 0),
            why=values.get("why"),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values; `rejected` only if it is not 0, and `why` only if there is one."""
        told: dict[str, Any] = {
            "number": self.number,
            "rows": self.rows,
            "bytes": self.size_bytes,
            "sha256": self.sha256,
            "state": self.state,
            "attempts": self.attempts,
        }
        if self.rejected:
            told["rejected"] = self.rejected
        if self.why:
            told["why"] = self.why
        return told


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a job that has ended, or that a run left unfinished.

    Times are UTC in ISO 8601, to the second. `warnings` are those of `Warnings.as_dict`. `seconds` is the duration of
    the job's last run, `calls` the number of its calls to Target in that run.
    """

    job: str
    state: JobState
    error: str | None
    exit_code: ExitCode
    export: ReportedExport
    client_code: str
    columns_sent: tuple[str, ...]
    version: str
    config_sha256: str
    started_at: str
    finished_at: str
    seconds: float
    rows: RowCounts
    rejects: ReportedRejects
    warnings: dict[str, int | dict[str, int]]
    batches: tuple[ReportedBatch, ...]
    calls: int

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Report":
        """A report as `as_json` of this or an earlier version wrote it."""
        export, rejects = values.get("export", {}), values.get("rejects", {})
        return cls(
            job=values.get("job", ""),
            state=values.get("state", "unfinished"),
            error=values.get("error"),
            exit_code=ExitCode(values.get("exit_code", 0)),
            export=ReportedExport(
                name=export.get("name", ""),
                size_bytes=export.get("bytes", 0),
                sha256=export.get("sha256", ""),
                rows=export.get("rows", 0),
            ),
            client_code=values.get("client_code", ""),
            columns_sent=tuple(values.get("columns_sent", ())),
            version=values.get("version", ""),
            config_sha256=values.get("config_sha256", ""),
            started_at=values.get("started_at", ""),
            finished_at=values.get("finished_at", ""),
            seconds=values.get("seconds", 0.0),
            rows=RowCounts(**{name: count for name, count in values.get("rows", {}).items() if name in _CLASSES}),
            rejects=ReportedRejects(rejects.get("file", "rejects.jsonl"), dict(rejects.get("by_reason", {}))),
            warnings=dict(values.get("warnings", {})),
            batches=tuple(map(ReportedBatch.from_json, values.get("batches", ()))),
            calls=values.get("calls", 0),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `report.json` and `--json` have them."""
        return {
            "job": self.job,
            "state": self.state,
            "error": self.error,
            "exit_code": int(self.exit_code),
            "export": {
                "name": self.export.name,
                "bytes": self.export.size_bytes,
                "sha256": self.export.sha256,
                "rows": self.export.rows,
            },
            "client_code": self.client_code,
            "columns_sent": list(self.columns_sent),
            "version": self.version,
            "config_sha256": self.config_sha256,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "seconds": self.seconds,
            "rows": asdict(self.rows),
            "rejects": {"file": self.rejects.file, "by_reason": dict(self.rejects.by_reason)},
            "warnings": dict(self.warnings),
            "batches": [batch.as_json() for batch in self.batches],
            "calls": self.calls,
        }
