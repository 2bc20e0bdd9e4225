"""The report of a job: what became of every row, and its exit code. Also puts away a job that has ended."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import structlog

from pipeline import __version__
from pipeline.core.batches.lifecycle import RowRejected
from pipeline.core.batches.progress import Progress
from pipeline.core.batches.report import (
    SANDBOX,
    JobState,
    LastRun,
    Report,
    ReportedBatch,
    ReportedExport,
    ReportedPart,
    ReportedRejects,
)
from pipeline.core.errors import ExitCode, FatalError, InputError, PipelineError, QuarantinedError
from pipeline.core.model import FailedRow, RowCounts, Settled
from pipeline.core.rows.encoding import encode, encoded_forms
from pipeline.edges.host import Host
from pipeline.edges.store.ledger_reader import LedgerReader
from pipeline.edges.store.records import BatchRecord
from pipeline.edges.store.rejects_table import write_rejects_table, written_of
from pipeline.edges.store.state import life_of
from pipeline.edges.views.wording import REASONS
from pipeline.jobs.ending import tell_unexpected
from pipeline.jobs.gathering import remember
from pipeline.jobs.job import Job, is_mapped, root_of
from pipeline.jobs.recovery import never_sent_of
from pipeline.jobs.retries.later_rows import lines_of_origin, origins_of
from pipeline.jobs.retries.mended_rows import columns_sent
from pipeline.settings.settings import Settings, config_digest

if TYPE_CHECKING:
    from pipeline.edges.views.batch_track import BatchTrack

log = structlog.get_logger()

#: Said in a report of which the classes are no count.
NOT_COUNTED = "What became of its rows cannot be counted any more: all that may have been sent are unconfirmed."


def build_report(
    job: Job, error: PipelineError | None, started_at: datetime, finished_at: datetime, seconds: float
) -> Report:
    """The report of a job whose run has ended, with `error` if any."""
    rows = job.progress.close(goes_on=_goes_on(error))
    return _report(job, error, rows, started_at, finished_at, seconds)


def build_uncounted_report(
    job: Job, error: PipelineError | None, started_at: datetime, finished_at: datetime, seconds: float
) -> Report:
    """The report of a job that ends because of a bug, and of which nobody can tell what became of its batches.

    Rows that were read are unconfirmed, but for those that were never to be sent; pending, if the job goes on.
    """
    checkpoint = job.progress.checkpoint
    rows = RowCounts(
        read=checkpoint.read,
        superseded=checkpoint.superseded,
        unchanged=checkpoint.unchanged,
        excluded=checkpoint.excluded,
        rejected=checkpoint.rejected,
        empty=checkpoint.empty,
    )
    if rows.accounted > rows.read:
        rows = RowCounts(read=rows.read)
    if _goes_on(error):
        rows.pending = rows.read - rows.accounted
    else:
        rows.unconfirmed = rows.read - rows.accounted
    report = _report(job, error, rows, started_at, finished_at, seconds)
    return replace(report, error=f"{report.error} {NOT_COUNTED}")


def _report(
    job: Job, error: PipelineError | None, rows: RowCounts, started_at: datetime, finished_at: datetime, seconds: float
) -> Report:
    progress = job.progress
    code = exit_code(error, rows, job.settings)
    return Report(
        job=job.record.job_id,
        state=job_state(progress, error, code),
        error=None if error is None else str(error),
        exit_code=code,
        export=ReportedExport(
            name=job.record.export.name,
            size_bytes=progress.bytes_read or progress.checkpoint.digest_bytes,
            sha256=progress.sha256 or progress.checkpoint.digest,
            rows=rows.read,
        ),
        client_code=job.settings.target.client_code,
        parts=tuple(ReportedPart(each.name, each.size_bytes, each.rows) for each in progress.checkpoint.parts),
        columns_sent=tuple(progress.checkpoint.columns_sent),
        retry_of=job.record.retry_of,
        target=SANDBOX if progress.is_in_sandbox else target_of(job.settings, job.host),
        version=__version__,
        config_sha256=config_digest(job.settings),
        started_at=started_at.isoformat(timespec="seconds"),
        finished_at=finished_at.isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        rows=rows,
        rejects=ReportedRejects.of(
            job.folder.rejects.name, progress.rejects_by_reason, progress.checkpoint, job.record.export.name
        ),
        excluded=dict(progress.checkpoint.excluded_by.most_common()),
        warnings=progress.checkpoint.warnings_told(job.record.export.name)
        | _about_target(progress)
        | _about_settings(job),
        batches=tuple(map(ReportedBatch.of, progress.book.settled)),
        calls=progress.calls,
        spent=progress.time_spent.seconds(progress.began_at + seconds - progress.seconds_before),
    )


def target_of(settings: Settings, host: Host) -> str:
    """`target` of a report, as far as it is known before Target has answered."""
    return SANDBOX if host.is_with_sandbox else settings.target.url


def _about_target(progress: Progress) -> dict[str, int]:
    """The warnings about Target's answers, counted; only what occurred."""
    counts = {
        "batch_size_differs": progress.book.misread,
        "batch_refused_as_empty": progress.book.refused_as_empty,
        "budget_shared": progress.calls_refused_below_share,
    }
    return {name: count for name, count in counts.items() if count}


def _about_settings(job: Job) -> dict[str, int]:
    counts = {"earlier_settings": len(job.earlier_settings), "guard_learns": job.progress.checkpoint.guard_learns}
    return {name: count for name, count in counts.items() if count}


def report_without_job(
    name: str,
    size_bytes: int,
    settings: Settings,
    now: datetime,
    *,
    target: str,
    same_as: str | None = None,
    error: PipelineError | None = None,
) -> Report:
    """The report of an export without a job: either `same_as` has loaded the same, or it cannot be read (`error`).

    `target`: where `same_as` sent it, or where it would have been sent.
    """
    at = now.isoformat(timespec="seconds")
    return Report(
        state="skipped" if error is None else "failed",
        error=None if error is None else str(error),
        exit_code=ExitCode.DONE if error is None else error.exit_code,
        # Bytes that are not UTF-8 are no JSON.
        export=ReportedExport(name=name.encode(errors="backslashreplace").decode(), size_bytes=size_bytes),
        client_code=settings.target.client_code,
        same_as=same_as,
        target=target,
        version=__version__,
        config_sha256=config_digest(settings),
        started_at=at,
        finished_at=at,
    )


def job_state(progress: Progress, error: PipelineError | None, code: ExitCode) -> JobState:
    """The state of a job whose run ended with this error, if any, and with this exit code: see `JobState`."""
    if isinstance(error, InputError):
        return "failed"
    if isinstance(error, QuarantinedError):
        return "quarantined"
    if _goes_on(error):
        return "unfinished"
    if progress.is_dry_run:
        return "skipped"
    return "incomplete" if code is ExitCode.ROWS_LOST else "done"


def _goes_on(error: PipelineError | None) -> bool:
    """True if the next run goes on with a job whose run ended with this error."""
    return error is not None and not isinstance(error, InputError)


def exit_code(error: PipelineError | None, rows: RowCounts, settings: Settings) -> ExitCode:
    """The exit code of a run of this job alone."""
    if error is not None:
        return error.exit_code
    is_lossy = settings.settle.max_lost.is_exceeded(rows.lost, rows.read, final=True)
    return ExitCode.ROWS_LOST if is_lossy else ExitCode.DONE


async def put_away(job: Job, report: Report) -> None:
    """Write the report of a job that has ended, end it in the ledger, and remove bodies that nobody needs any more.

    An unfinished job keeps everything: the next run goes on with it. Why, and what it took so far, is noted. So does
    one in quarantine.
    """
    state = job.state
    if report.state in ("unfinished", "quarantined"):
        try:
            await state.in_turn(state.ledger.note_run, job.record, LastRun.of(report))
        except FatalError as error:
            # The report says why the run ended; that it could not be noted matters less.
            log.warning("run_not_noted", why=str(error))
        return
    if job.aside is None:
        never_sent = [batch.batch_id for batch in job.progress.book.unsettled]
        await state.in_turn(_write, job, report)
    else:
        # Its book may be what the bug is about.
        never_sent = await never_sent_of(job)
        await _write_if_it_can_be(job, report)
    # While it is remembered a batch stays in flight: a job that begins meanwhile waits for it.
    now = job.clock.monotonic()
    due = job.in_flight.over_with(job.record.seq, now)
    for batch_id in (*never_sent, *due):
        await remember(state, batch_id)
    over = [*never_sent, *job.in_flight.take_over(job.record.seq, now, due)]
    await state.in_turn(
        state.ledger.finish_job,
        job.record,
        report,
        never_sent=never_sent,
        released=over,
        remembered=state.pending,
    )
    state.note_remembered(over)
    await state.in_turn(state.end_gathering, job.record.job_id)
    job.in_flight.finish(job.record.seq, never_sent)
    for batch_id in over:
        if batch_id not in state.lost:
            await state.in_turn(state.spool.remove, batch_id)


async def _write_if_it_can_be(job: Job, report: Report) -> None:
    """Write the files of a job that was set aside, unless a bug is in the way: then the ledger has its report alone."""
    try:
        await job.state.in_turn(job.folder.make)
        await job.state.in_turn(job.folder.cut_rejects, job.record.checkpoint.rejects_bytes, may_be_shorter=True)
        await job.state.in_turn(job.folder.index.cut_index, job.record.checkpoint.index_bytes)
        await job.state.in_turn(_write, job, report)
    except PipelineError:
        raise
    except Exception as error:  # noqa: BLE001 - it ends all the same
        tell_unexpected(error)


def _write(job: Job, report: Report) -> None:
    """Write the report, its page, and the rows that Target rejected or failed, to files. Blocks."""
    records = job.state.ledger.batches(job=job.record)
    facts = [(record.batch.number, record.latest) for record in records]
    rejected = [(number, fact) for number, fact in facts if isinstance(fact, RowRejected)]
    places = job.progress.checkpoint.places(job.record.export.name)
    job.folder.add_target_rejects(places, rejected)
    job.folder.index.write_index()
    failed = [row for settled in job.progress.book.settled for row in _failed_rows(job, settled)]
    if failed:
        job.folder.write_failed(places, failed)
    if job.aside is None:
        # The settings of one that was set aside may be what the bug is about.
        _write_table(job)
    if page := page_of(
        report, job.folder.directory, _tracks(job.state.ledger, records), is_trial=job.host.is_with_sandbox
    ):
        job.folder.write_page(page)
    job.folder.write_report(report)


def _write_table(job: Job) -> None:
    """Write the rejected rows as a table to be mended; not those of lost rows, which no export holds."""
    record, progress = job.record, job.progress
    if record.retry_of is not None and not record.is_of_mended:
        return
    origin = root_of(job.state, record) or record
    checkpoint = progress.checkpoint if origin is record else origin.checkpoint
    places, table = checkpoint.places(origin.export.name), lines_of_origin(job.folder.mended_lines)
    write_rejects_table(
        job.folder,
        columns_sent(replace(record, checkpoint=progress.checkpoint), written_of(job.folder)),
        REASONS,
        place_of=lambda place: (
            places.of(int(origins_of(np.array([place.line]), table)[0])) if record.is_of_mended else place
        ),
        has_parts=bool(checkpoint.parts),
        is_sent_as_read=not is_mapped(record),
    )


def page_of(report: Report, folder: Path, tracks: Iterable["BatchTrack"] = (), *, is_trial: bool = False) -> str | None:
    """The report as an HTML page; None if it cannot be made, which must not keep a job from its end."""
    # Imported late: it takes a while, and is needed only when a job has ended.
    from pipeline.edges.views.page import render

    try:
        return render(report, folder, tuple(tracks), is_trial=is_trial)
    except Exception:
        # report.json has the same facts.
        log.exception("report_page_not_made")
        return None


def _tracks(ledger: LedgerReader, batches: list[BatchRecord]) -> Iterator["BatchTrack"]:
    """The way of each batch of a job; none of those whose facts cannot be true, as a bug may have left them."""
    from pipeline.edges.views.batch_track import track_of

    with suppress(FatalError):
        for each in batches:
            yield track_of(each.batch, life_of(ledger, each), each.facts, each.times)


def _failed_rows(job: Job, settled: Settled) -> list[FailedRow]:
    """The rows that Target named as failed, with their lines in the export."""
    if not settled.failed_ids:
        return []
    lines = job.spool.find_lines(settled.batch.batch_id, encoded_forms(settled.failed_ids))
    return [
        FailedRow(
            failed_id,
            lines.get(encode(failed_id.encode()), lines.get(failed_id.encode())),
            settled.batch.number,
        )
        for failed_id in settled.failed_ids
    ]
