"""Jobs of all tenants by the time at which they were entered, the latest first, a page at a time."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pipeline.core.plain import plain
from pipeline.edges.lock import held_since, holder
from pipeline.edges.store.ledger_reader import LedgerReader, read_ledger
from pipeline.edges.store.notices import read_pause
from pipeline.edges.store.records import JobRecord
from pipeline.jobs.job import unknown_job
from pipeline.jobs.status.job import MOST_BEFORE, JobStatus, Surroundings, job_status
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Configuration, Tenant


@dataclass(frozen=True, slots=True)
class JobsPage:
    """Some jobs, the latest first. `next_before`: the `before` of the page behind it; None if this is the last one."""

    jobs: tuple[JobStatus, ...]
    next_before: str | None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        values: dict[str, Any] = plain(self)
        return values


def jobs_page(configuration: Configuration, now: datetime, *, before: str | None, limit: int) -> JobsPage:
    """The jobs with the highest ids, which begin with the time, at most `limit`. Blocks.

    `before`: only those whose ids come before this one.
    """
    found: list[JobStatus] = []
    for tenant in configuration.tenants:
        ledger = read_ledger(tenant.directory / "ledger.db")
        if ledger is not None:
            with closing(ledger):
                # One more than is told, so that it is known if there are more.
                records = ledger.jobs_before(before, limit + 1)
                found += job_statuses(ledger, records, tenant.settings, now, holder(tenant.directory))
    found.sort(key=lambda job: job.job, reverse=True)
    told = tuple(found[:limit])
    return JobsPage(told, told[-1].job if len(found) > limit else None)


def listed_job(configuration: Configuration, job_id: str, now: datetime) -> JobStatus:
    """The status of a job, whosever it is. Blocks. Raises `PipelineError` (64) if there is none of this id."""
    for tenant in configuration.tenants:
        if (found := _job_of(tenant, job_id, now)) is not None:
            return found
    raise unknown_job(job_id)


def _job_of(tenant: Tenant, job_id: str, now: datetime) -> JobStatus | None:
    ledger = read_ledger(tenant.directory / "ledger.db")
    if ledger is None:
        return None
    with closing(ledger):
        record = ledger.job(job_id)
        if record is None:
            return None
        (told,) = job_statuses(ledger, [record], tenant.settings, now, holder(tenant.directory))
        return told


def job_statuses(
    ledger: LedgerReader, records: Sequence[JobRecord], settings: Settings, now: datetime, held_by: str | None
) -> list[JobStatus]:
    """The status of each of these jobs of a tenant. `held_by`: the id of the process that serves it, if any does."""
    directory = settings.state.directory
    around = Surroundings(now, settings, pause=read_pause(directory) if held_by else None)
    if all(record.state for record in records):
        return [job_status(ledger, record, around) for record in records]
    at = _At(ledger, held_since(directory) if held_by else None, ledger.jobs_in_order(MOST_BEFORE))
    return [job_status(ledger, record, around if record.state else at.around(around, record)) for record in records]


@dataclass(frozen=True, slots=True)
class _At:
    """The process at the jobs: since when it holds the directory, and the unfinished jobs that it comes to first."""

    ledger: LedgerReader
    since: datetime | None
    order: list[JobRecord]

    def around(self, around: Surroundings, record: JobRecord) -> Surroundings:
        """The surroundings of an unfinished job."""
        places = [job.seq for job in self.order]
        place = places.index(record.seq) if record.seq in places else len(places)
        is_next = place < len(places) and all(job.checkpoint.has_ended for job in self.order[:place])
        at_it_since = self._at_it_since(record) if is_next else None
        return replace(around, before=(*places[:place],), at_it_since=at_it_since)

    def _at_it_since(self, record: JobRecord) -> datetime | None:
        """The time at which the process began a job or went on with it; None if there is no process."""
        if self.since is None:
            return None
        ended = self.ledger.latest_end()
        times = [datetime.fromisoformat(ended)] if ended else []
        return max([self.since, datetime.fromisoformat(record.started_at), *times])
