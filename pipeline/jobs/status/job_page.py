"""A job as its page shows it: read from the ledger, beside the process that writes it."""

from contextlib import closing
from datetime import datetime
from pathlib import Path

from pipeline import __version__
from pipeline.core.batches.book import settlement
from pipeline.core.batches.lifecycle import Life, Phase
from pipeline.core.batches.progress import TARGET_REFUSED
from pipeline.core.batches.report import (
    SANDBOX,
    Report,
    ReportedBatch,
    ReportedExport,
    ReportedPart,
    ReportedRejects,
)
from pipeline.core.model import RowCounts
from pipeline.core.plain import of_plain
from pipeline.edges.lock import holder
from pipeline.edges.store.ledger_reader import LedgerReader, read_ledger
from pipeline.edges.store.records import BatchRecord, JobRecord
from pipeline.edges.store.state import life_of
from pipeline.edges.views.batch_track import track_of
from pipeline.edges.views.job_view import JobView
from pipeline.edges.views.wording import to_do
from pipeline.jobs.job import unknown_job
from pipeline.jobs.open_state import tenants_about
from pipeline.jobs.status.job import JobStatus
from pipeline.jobs.status.tenant import Status, status
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Configuration


def job_view(configuration: Configuration, job_id: str, now: datetime) -> JobView:
    """A job as its page shows it. Blocks. Raises `PipelineError` (64) for an unknown job."""
    (tenant,) = tenants_about(configuration, job_id)
    ledger = read_ledger(tenant.directory / "ledger.db")
    if ledger is None:
        raise unknown_job(job_id)
    with closing(ledger):
        told = status(ledger, job_id, tenant.settings, now, holder(tenant.directory))
        record = ledger.job(job_id)
        if record is None:
            raise unknown_job(job_id)
        route = record.route if configuration.has_routes else ""
        return _view(ledger, record, told, tenant.of(record.route), route, now)


def _view(
    ledger: LedgerReader, record: JobRecord, told: Status, settings: Settings, route: str, now: datetime
) -> JobView:
    (job,) = told.jobs
    batches = [(batch, life_of(ledger, batch)) for batch in ledger.batches(job=record)]
    report = record.report or _so_far(record, job, batches, settings, now)
    folder = settings.outcome_directory / record.job_id
    return JobView(
        report=report,
        state=shown_state(job, told, is_first=not job.waits_for or record.has_begun),
        tracks=tuple(track_of(batch.batch, life, batch.facts, batch.times) for batch, life in batches),
        route=route,
        waits_for=tuple(job.waits_for),
        tasks=_tasks(report, folder) if record.report else (),
        folder=str(folder),
        read_to_line=job.read_to_line,
        read_bytes=record.checkpoint.digest_bytes,
        export_bytes=record.size_bytes,
        last_run=None if record.report else record.last_run,
        set_aside=job.set_aside,
        is_abandoned=job.is_abandoned,
        came_back=job.came_back,
        read_back={name: count for name, count in (job.verified or {}).items() if name != "at"},
    )


def shown_state(job: JobStatus, told: Status, *, is_first: bool) -> str:
    """The state of a job as pages have it: of an unfinished one, if it runs, waits, or nobody is at it.

    `is_first`: no other job comes before it.
    """
    if job.state != "unfinished":
        return job.state
    if told.held_by is None:
        return "unfinished"
    waits = told.is_paused or told.paused_by_itself is not None or not (is_first or job.batches or job.rows["read"])
    return "waiting" if waits else "running"


def _so_far(
    record: JobRecord, job: JobStatus, batches: list[tuple[BatchRecord, Life]], settings: Settings, now: datetime
) -> Report:
    """The report that a job would have if it ended now, but for the rows that it has not read."""
    checkpoint, name = record.checkpoint, record.export.name
    settled = [
        ReportedBatch.of(settlement(each.batch, life, now=0.0, hold_s=0.0))
        for each, life in batches
        if life.phase is Phase.SETTLED and not life.is_never_sent
    ]
    by_reason = checkpoint.by_reason.copy()
    by_reason[TARGET_REFUSED] += sum(batch.rejected for batch in settled)
    return Report(
        job=record.job_id,
        state="unfinished" if job.quarantine is None else "quarantined",
        error=job.quarantine,
        export=ReportedExport(name=name, size_bytes=record.size_bytes, rows=job.rows["read"]),
        client_code=settings.target.client_code,
        columns_sent=tuple(checkpoint.columns_sent),
        parts=tuple(ReportedPart(each.name, each.size_bytes, each.rows) for each in checkpoint.parts),
        retry_of=record.retry_of,
        target=SANDBOX if record.was_in_sandbox else settings.target.url,
        version=__version__,
        started_at=record.started_at,
        finished_at=now.isoformat(timespec="seconds"),
        seconds=job.seconds,
        rows=of_plain(RowCounts, job.rows),
        rejects=ReportedRejects.of("rejects.jsonl", +by_reason, checkpoint, name),
        excluded=dict(checkpoint.excluded_by.most_common()),
        warnings=checkpoint.warnings_told(name)
        | ({"guard_learns": checkpoint.guard_learns} if checkpoint.guard_learns else {}),
        batches=tuple(settled),
        calls=record.calls,
    )


def _tasks(report: Report, folder: Path) -> tuple[str, ...]:
    return tuple(line.removeprefix("To do: ") for line in to_do(report, folder))
