"""Removes files of ended jobs when their time is over: exports first, then rejects, then reports and the folder."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.core.drop.retention import Retention
from pipeline.edges.store.ledger_reader import LedgerReader
from pipeline.edges.store.records import EndedJob
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Tenant

#: Jobs whose folders are looked at in one go.
_AT_ONCE = 1_000


def jobs_to_look_at(settings: Tenant, ledger: LedgerReader, now: datetime, behind: EndedJob | None) -> list[EndedJob]:
    """The next ended jobs that are old enough to have overdue files; none behind the last. Blocks.

    `behind`: the last job of the call before; None begins with the first.
    """
    days = min(
        min(drop.keep_exports_days, drop.keep_rejects_days, drop.keep_reports_days)
        for drop in (route.drop for route in settings.routes.values())
    )
    # Ends are noted to the second.
    before = (now - timedelta(days=days) + timedelta(seconds=1)).astimezone(UTC).isoformat(timespec="seconds")
    return ledger.ended_before(before, behind=behind, count=_AT_ONCE)


def overdue(settings: Tenant, jobs: Iterable[EndedJob], now: datetime) -> list[Path]:
    """The files of these jobs whose time is over. Blocks."""
    found: list[Path] = []
    for job in jobs:
        drop = settings.of(job.route).drop
        retention = Retention(drop.keep_exports_days, drop.keep_rejects_days, drop.keep_reports_days)
        folder = settings.settings.outcome_directory / job.job_id
        age_s = (now - datetime.fromisoformat(job.finished_at).astimezone(UTC)).total_seconds()
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
