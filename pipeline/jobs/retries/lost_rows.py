"""Sends the failed and unconfirmed rows of a job again, but never a value that a later row has overtaken.

Nor does one come back that a lost row did not say, and was filled in with: what is remembered by now is filled in anew.
The rows come from the bodies that the spool keeps for this. They are written to an export `retry.csv`, which is loaded
as an ordinary job: it goes on after a crash, waits for ids in flight, and has its own report. The export is written on
request, and once more when its job begins: jobs before it may have overtaken more rows meanwhile.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import structlog

from pipeline.core.batches.lifecycle import Failed, GivenUp, SeenComplete
from pipeline.core.errors import ExitCode, PipelineError
from pipeline.core.plural import counted
from pipeline.core.rows.allowance import Allowance
from pipeline.core.rows.encoding import encoded_forms
from pipeline.core.rows.hashing import hash_ids
from pipeline.edges.durable import write_durably
from pipeline.edges.exports import Identity
from pipeline.edges.store.records import BatchRecord, JobRecord
from pipeline.edges.store.state import State
from pipeline.jobs.job import export_settings, new_job_ids, unknown_job
from pipeline.settings.sections.export import ExportSettings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Lost:
    """The lost rows of a job: those to send, as encoded cells with the id first, and what is left alone.

    `in_part`: the number of rows of which a later row has overtaken some values, so that only the others are sent.
    `overtaken`: the ids of rows of which later ones have overtaken every value.
    """

    rows: list[list[bytes]]
    in_part: int
    overtaken: list[str]


@dataclass(frozen=True, slots=True)
class Retry:
    """The answer to the request for a retry, in words. `job`: the job that sends the rows; None if there are none.

    `waits_for`: the unfinished jobs before it.
    """

    told: str
    job: str | None = None
    waits_for: tuple[str, ...] = ()


async def begin_retry(state: State, job_id: str) -> Retry:
    """Enter a job that sends the lost rows of another again, unless there is one already, or nothing to send."""
    return await state.in_turn(_begin_retry, state, job_id)


def _begin_retry(state: State, job_id: str) -> Retry:
    asked = state.ledger.job(job_id)
    if asked is None:
        raise unknown_job(job_id)
    if asked.state is None:
        raise PipelineError(f"job {job_id} has not ended yet; it is finished first.", exit_code=ExitCode.USAGE)
    unfinished = [job.job_id for job in state.ledger.jobs(unfinished_only=True)]
    if running := _unfinished_retry(state, asked):
        told = f"the lost rows of job {job_id} are sent again by job {running} already"
        return to_go_on(told, running, unfinished)
    original = _latest(state, asked)
    lost = _lost_rows(state, original)
    named = "" if original is asked else f"; job {original.job_id} has sent its rows again"
    named += _about_overtaken(lost)
    named += _about_unnamed(state, original, sum(map(_unnamed, state.ledger.batches(job=original))))
    if not lost.rows:
        return Retry(f"job {job_id} has nothing to send again{named}.")
    now = state.host.clock.utc_now()
    (new_id,) = new_job_ids([Path(f"retry-of-{asked.export.stem}")], now, state.ledger)
    try:
        export = state.begin_folder(new_id).directory / "retry.csv"
        write_durably(export, _as_csv(original, lost.rows))
        settings = _settings_of_retry(export_settings(original)).model_dump(mode="json")
        identity, route = Identity.of(export.stat()), original.route
        state.ledger.begin_job(
            JobRecord.new(new_id, export, identity, settings, now, route=route, retry_of=original.job_id)
        )
    finally:
        state.end_folder(new_id)
    rows, are = counted(len(lost.rows), "row"), "is" if len(lost.rows) == 1 else "are"
    told = f"{rows} of job {job_id} {are} sent again as job {new_id}{named}"
    return to_go_on(told, new_id, unfinished)


def to_go_on(told: str, job_id: str, unfinished: list[str]) -> Retry:
    """The answer about a retry that is entered; it begins when the jobs before it have ended."""
    before = tuple(unfinished[: unfinished.index(job_id)] if job_id in unfinished else unfinished)
    if before:
        more = f" and {len(before) - 1} more" if before[1:] else ""
        told += f"; it begins when the unfinished jobs before it have ended, with `load` or `serve`: {before[0]}{more}"
    return Retry(f"{told}.", job_id, before)


def _unfinished_retry(state: State, job: JobRecord) -> str | None:
    """The id of an unfinished retry of this job, or of one of its retries, that was not abandoned."""
    for retry in state.ledger.retries_of(job.job_id):
        if retry.is_of_mended:
            continue
        if retry.state is None and not retry.is_abandoned:
            return retry.job_id
        if found := _unfinished_retry(state, retry):
            return found
    return None


def _latest(state: State, job: JobRecord) -> JobRecord:
    """The latest retry that has sent all that was to be sent again of a job, or of that retry; else the job itself.

    What that retry did not lose is sent.
    """
    for retry in reversed(state.ledger.retries_of(job.job_id)):
        if retry.state in ("done", "incomplete") and not retry.is_of_mended:
            return _latest(state, retry)
    return job


def lost_left(state: State, retry: JobRecord) -> JobRecord:
    """Write the export of a retry that is about to begin anew, without what was overtaken since the request. Blocks."""
    original = state.ledger.job(retry.retry_of or "")
    is_begun = retry.checkpoint.read or retry.checkpoint.has_ended or state.ledger.batches(job=retry)
    if original is None or is_begun:
        return retry
    lost = _lost_rows(state, original)
    write_durably(retry.export, _as_csv(original, lost.rows))
    if lost.overtaken or lost.in_part:
        log.warning(
            "retry_rows_overtaken",
            job=retry.job_id,
            retry_of=original.job_id,
            rows=len(lost.overtaken),
            in_part=lost.in_part,
        )
    return state.ledger.set_source(retry, Identity.of(retry.export.stat()))


def _lost_rows(state: State, job: JobRecord) -> Lost:
    """The lost rows of a job, without the values that later rows have overtaken."""
    lost = [record for record in state.ledger.batches(job=job) if record.batch.batch_id in state.lost]
    rows: list[list[bytes]] = []
    overtaken: list[str] = []
    in_part = 0
    for record in lost:
        batch_id = record.batch.batch_id
        later, values = state.ledger.overtaken(batch_id), state.ledger.overtaken_values(batch_id)
        filled_in = state.ledger.filled_in(batch_id)
        names = state.spool.parameters(batch_id) if values or filled_in else ()
        for profile_id, row in _rows_of(state, record):
            lengths = np.array([len(profile_id)], dtype=np.int64)
            hash_ = int(hash_ids(profile_id, np.zeros(1, dtype=np.int64), lengths, state.ledger.salt)[0])
            cells = row[:-1].split(b",")
            if hash_ in filled_in:
                cells = _without(cells, names, filled_in[hash_])
            if hash_ in later:
                left = _without(cells, names, values.get(hash_))
                if not any(left[1:]):
                    overtaken.append(unquote(profile_id.decode()))
                    continue
                in_part += left != cells
                cells = left
            rows.append(cells)
    return Lost(rows, in_part, overtaken)


def _without(cells: list[bytes], names: tuple[str, ...], overtaken: frozenset[str] | None) -> list[bytes]:
    """The cells of a row, the id first, with those of overtaken parameters empty; None: all are."""
    if overtaken is None:
        return cells[:1]
    kept = [b"" if name in overtaken else cell for name, cell in zip(names, cells[1:], strict=False)]
    return [cells[0], *kept]


def _about_overtaken(lost: Lost) -> str:
    told = ""
    if lost.in_part:
        rows = "row has" if lost.in_part == 1 else "rows have"
        told += f"; of those, {lost.in_part:,} {rows} values that later rows have overtaken, which are left out"
    if lost.overtaken:
        told += f"; overtaken by later rows and left alone: {', '.join(lost.overtaken[:20])}"
    if len(lost.overtaken) > 20:
        told += f" and {len(lost.overtaken) - 20:,} more"
    return told


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
    kept = state.folder(source.job_id).dropped
    places = (source.export.parent, kept) if source.parts else (source.export, kept / source.export.name)
    there = next((place for place in places if place.exists()), None)
    how = f"`load {there} --again`" if there else f"`load` with --again, of {source.export.name}, which was not kept,"
    them = "it" if count == 1 else "them"
    return (
        f"; {counted(count, 'row')} cannot be told from the others, because Target counted {them} as failed or not at "
        f"all, and did not name {them}: {how} sends all rows again"
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
    """The [export] section for `retry.csv`: its columns are named as Target's parameters, and all of them are sent.

    Its values are as they were sent, so nothing is done to them once more.
    """
    return ExportSettings(
        id_column=settings.id_kind,
        id_kind=settings.id_kind,
        unlisted="send",
        format="csv",
        delimiter=",",
        encoding="utf-8",
        trim="none",
        null_values=(),
        id_placeholders=(),
        number_ids="send",
        on_delimiter="encode",
        max_rejects=Allowance(percent=100.0),
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
