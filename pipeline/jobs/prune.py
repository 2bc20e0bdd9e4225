"""Removes files of ended jobs when their time is over: exports first, then rejects, then reports and the folder."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pipeline.core.drop.retention import Retention
from pipeline.edges.store.records import JobRecord
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Tenant


def overdue(settings: Tenant, jobs: list[JobRecord], now: datetime) -> list[Path]:
    """The files of these jobs whose time is over; none of a job that has not ended."""
    found: list[Path] = []
    for job in jobs:
        if job.state is None or job.report is None:
            continue
        drop = settings.of(job.route).drop
        retention = Retention(drop.keep_exports_days, drop.keep_rejects_days, drop.keep_reports_days)
        folder = settings.settings.outcome_directory / job.job_id
        age_s = (now - datetime.fromisoformat(job.report.finished_at).astimezone(UTC)).total_seconds()
        files = sorted(file for file in folder.rglob("*") if not file.is_dir() or file.is_symlink())
        found += [file for file in files if retention.is_over(file.relative_to(folder).as_posix(), age_s)]
    return found


def remove(settings: Settings, files: list[Path]) -> list[Path]:
    """Remove files of jobs, and the folders that are empty then. Returns the files that could not be removed."""
    left = []
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError:
            left.append(file)
            continue
        for folder in file.parents:
            if folder == settings.outcome_directory:
                break
            with suppress(OSError):
                folder.rmdir()
    return left
