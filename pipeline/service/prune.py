"""Removes files of ended jobs when their time is over: exports first, then rejects, then reports and the folder.

Nothing is removed while the clock stands far from what the ledger knows, see `retention.doubt_about`.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from pipeline.core.drop.retention import Retention, doubt_about
from pipeline.edges.store.ledger_reader import LedgerReader
from pipeline.edges.store.records import EndedJob
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Tenant

#: Jobs whose folders are looked at in one go.
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of jobs, as far as they tell of the clock.

    `doubt`: the reason not to believe the clock yet, or None. `set_back`: see `LedgerReader.ends_set_back`.
    """

    doubt: str | None
    set_back: Mapping[int, str]


def look_at_ends(ledger: LedgerReader, now: datetime) -> Ends:
    """The ends of the jobs in a ledger. Blocks."""
    return Ends(doubt_about(now, ledger.latest_ends()), ledger.ends_set_back())


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


def overdue(
    settings: Tenant, jobs: Iterable[EndedJob], now: datetime, set_back: Mapping[int, str] = MappingProxyType({})
) -> list[Path]:
    """The files of these jobs whose time is over. Blocks.

    `set_back`: by `seq` of a job the time from which its age counts, where that is later than its end.
    """
    found: list[Path] = []
    for job in jobs:
        drop = settings.of(job.route).drop
        retention = Retention(drop.keep_exports_days, drop.keep_rejects_days, drop.keep_reports_days)
        folder = settings.settings.outcome_directory / job.job_id
        if folder.is_symlink():
            # Somebody put it there: what it leads to is not ours.
            continue
        age_s = (now - datetime.fromisoformat(set_back.get(job.seq, job.finished_at)).astimezone(UTC)).total_seconds()
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
