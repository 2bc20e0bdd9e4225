"""The report of a job: what became of every row, and how the run ends."""

from datetime import datetime
from typing import Any

from pipeline import __version__
from pipeline.core.errors import ExitCode, InputError
from pipeline.core.model import Settled
from pipeline.core.progress import Progress
from pipeline.job import Job
from pipeline.settings import Settings, config_digest


def build_report(job: Job, started_at: datetime, finished_at: datetime, seconds: float) -> dict[str, Any]:
    """The report of a job that has ended, as `report.json` holds it; times are UTC in ISO 8601."""
    progress = job.progress
    rows = progress.rows
    return {
        "job": job.job_id,
        "state": job_state(progress, job.settings),
        "error": None if progress.error is None else str(progress.error),
        "exit_code": int(exit_code(progress, job.settings)),
        "export": {
            "name": job.export.name,
            "bytes": progress.bytes_read,
            "sha256": progress.sha256,
            "rows": rows.read,
        },
        "client_code": job.settings.target.client_code,
        "columns_sent": list(progress.columns_sent),
        "version": __version__,
        "config_sha256": config_digest(job.settings),
        "started_at": started_at.isoformat(timespec="seconds"),
        "finished_at": finished_at.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "rows": {
            "read": rows.read,
            "confirmed": rows.confirmed,
            "superseded": rows.superseded,
            "rejected": rows.rejected,
            "empty": rows.empty,
            "failed": rows.failed,
            "unconfirmed": rows.unconfirmed,
            "unsent": rows.unsent,
        },
        "rejects": {
            "file": job.folder.rejects.name,
            "by_reason": dict(progress.rejects_by_reason.most_common()),
        },
        "warnings": progress.warnings.as_dict(),
        "batches": [_batch(progress.settled[number]) for number in sorted(progress.settled)],
        "calls": progress.calls,
    }


def _batch(settled: Settled) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "number": settled.batch.number,
        "rows": settled.batch.rows,
        "bytes": settled.batch.size_bytes,
        "sha256": settled.batch.sha256,
        "state": settled.state.value,
        "attempts": settled.attempts,
    }
    if settled.why:
        facts["why"] = settled.why
    return facts


def job_state(progress: Progress, settings: Settings) -> str:
    """`done`, `incomplete` (rows lost), `failed` (the export) or `unfinished` (run again)."""
    if isinstance(progress.error, InputError):
        return "failed"
    if progress.error is not None:
        return "unfinished"
    return "incomplete" if exit_code(progress, settings) is ExitCode.ROWS_LOST else "done"


def exit_code(progress: Progress, settings: Settings) -> ExitCode:
    """How a run of this job alone ends."""
    if progress.error is not None:
        return progress.error.exit_code
    is_lossy = settings.settle.max_lost.is_exceeded(progress.rows.lost, progress.rows.read, final=True)
    return ExitCode.ROWS_LOST if is_lossy else ExitCode.DONE
