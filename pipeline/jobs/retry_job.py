"""Sends the failed and unconfirmed rows of a job again, but never a value that a later row has overtaken.

The rows come from the bodies that the spool keeps for this. They are written to an export `retry.csv`, which is loaded
as an ordinary job: it goes on after a crash, waits for ids in flight, and has its own report. The export is written on
request, and once more when its job begins: jobs before it may have overtaken more rows meanwhile.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import structlog

from pipeline.core.batches.lifecycle import Failed, GivenUp, SeenComplete
from pipeline.core.errors import ExitCode, PipelineError
from pipeline.core.rows.allowance import Allowance
from pipeline.core.rows.encoding import encoded_forms
from pipeline.core.rows.hashing import hash_ids
from pipeline.edges.durable import write_durably
from pipeline.edges.exports import Identity
from pipeline.edges.store.records import BatchRecord, JobRecord
from pipeline.edges.store.state import State
from pipeline.jobs.job import export_settings, new_job_id, unknown_job
from pipeline.settings.sections import ExportSettings

log = structlog.get_logger()


async def begin_retry(state: State, job_id: str) -> str:
    """Enter a job that sends the lost rows of another again; returns what it will do, in words."""
    return await state.in_turn(_begin_retry, state, job_id)


def _begin_retry(state: State, job_id: str) -> str:
    original = state.ledger.job(job_id)
    if original is None:
        raise unknown_job(job_id)
    if original.state is None:
        raise PipelineError(f"job {job_id} has not ended yet; it is finished first.", exit_code=ExitCode.USAGE)
    rows, overtaken = _lost_rows(state, original)
    named = f"; overtaken by later rows and left alone: {', '.join(overtaken[:20])}" if overtaken else ""
    named += f" and {len(overtaken) - 20} more" if len(overtaken) > 20 else ""
    named += _about_unnamed(state, original, sum(map(_unnamed, state.ledger.batches(job=original))))
    if not rows:
        return f"job {job_id} has nothing to send again{named}."
    now = state.host.clock.utc_now()
    new_id = new_job_id(Path(f"retry-of-{original.export.stem}"), now)
    export = state.folder(new_id).make().directory / "retry.csv"
    write_durably(export, _as_csv(original, rows))
    settings = _settings_of_retry(export_settings(original)).model_dump(mode="json")
    state.ledger.begin_job(
        JobRecord.new(new_id, export, Identity.of(export.stat()), settings, now, route=original.route, retry_of=job_id)
    )
    return f"{len(rows):,} rows of job {job_id} are sent again as job {new_id}{named}."


def rows_left(state: State, retry: JobRecord) -> JobRecord:
    """Write the export of a retry that is about to begin anew, without rows overtaken since the request. Blocks."""
    original = state.ledger.job(retry.retry_of or "")
    is_begun = retry.checkpoint.read or retry.checkpoint.has_ended or state.ledger.batches(job=retry)
    if original is None or is_begun:
        return retry
    rows, overtaken = _lost_rows(state, original)
    write_durably(retry.export, _as_csv(original, rows))
    if overtaken:
        log.warning("retry_rows_overtaken", job=retry.job_id, retry_of=original.job_id, rows=len(overtaken))
    return state.ledger.set_source(retry, Identity.of(retry.export.stat()))


def _lost_rows(state: State, job: JobRecord) -> tuple[list[list[bytes]], list[str]]:
    """The encoded cells of the lost rows of a job, id first, and the ids of those that were overtaken."""
    lost = [record for record in state.ledger.batches(job=job) if record.batch.batch_id in state.lost]
    rows: list[list[bytes]] = []
    overtaken: list[str] = []
    for record in lost:
        later = state.ledger.overtaken(record.batch.batch_id)
        for profile_id, row in _rows_of(state, record):
            lengths = np.array([len(profile_id)], dtype=np.int64)
            hash_ = int(hash_ids(profile_id, np.zeros(1, dtype=np.int64), lengths, state.ledger.salt)[0])
            if hash_ in later:
                overtaken.append(unquote(profile_id.decode()))
            else:
                rows.append(row[:-1].split(b","))
    return rows, overtaken


def _unnamed(record: BatchRecord) -> int:
    """The number of rows of a batch that Target failed, or did not count as applied, and did not name."""
    if not isinstance(record.latest, SeenComplete):
        return 0
    return max(0, record.latest.failed + record.latest.unconfirmed - len(record.latest.lost_ids))


def _about_unnamed(state: State, job: JobRecord, count: int) -> str:
    if not count:
        return ""
    source: JobRecord | None = job
    while source is not None and source.retry_of is not None:
        job, source = source, state.ledger.job(source.retry_of)
    source = source or job
    # A dropped export was moved to the folder of its job since, or removed.
    places = (source.export, state.folder(source.job_id).dropped / source.export.name)
    there = next((place for place in places if place.exists()), None)
    how = f"`load {there} --again`" if there else f"`load` with --again, of {source.export.name}, which was not kept,"
    return (
        f"; {count:,} rows cannot be told from the others, because Target counted them as failed or not at all, and "
        f"did not name them: {how} sends all rows again"
    )


def _rows_of(state: State, record: BatchRecord) -> Iterator[tuple[bytes, bytes]]:
    """The encoded id and the row of each lost row of a batch."""
    match record.latest:
        case GivenUp() | Failed():
            wanted = None
        case SeenComplete(lost_ids=lost_ids):
            wanted = encoded_forms(lost_ids)
        case _:
            wanted = set()
    for _, profile_id, row in state.spool.rows(record.batch.batch_id):
        if wanted is None or profile_id in wanted:
            yield profile_id, row


def _settings_of_retry(settings: ExportSettings) -> ExportSettings:
    """The [export] section for `retry.csv`: its columns are named as Target's parameters, and all of them are sent."""
    return settings.model_copy(
        update={
            "id_column": settings.id_kind,
            "columns": {},
            "unlisted": "send",
            "format": "csv",
            "delimiter": ",",
            "encoding": "utf-8",
            "quote": '"',
            "escape": "",
            "header": True,
            "skip_first": 0,
            "skip_last": 0,
            "on_delimiter": "encode",
            # Its cells are as they were sent.
            "trim": "none",
            "null_values": (),
            "id_placeholders": (),
            "number_ids": "send",
            "max_rejects": Allowance(percent=100.0),
        }
    )


def _as_csv(original: JobRecord, rows: list[list[bytes]]) -> Iterator[bytes]:
    header = [export_settings(original).id_kind, *original.checkpoint.parameters]
    for cells in [[name.encode() for name in header], *rows]:
        line = io.StringIO()
        values = [unquote(cell.decode("ascii")) for cell in cells]
        csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(
            values + [""] * (len(header) - len(values))
        )
        yield line.getvalue().encode()
