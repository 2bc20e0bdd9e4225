"""The rows of one id in a job, from its index, its batches and the rows that it holds; read beside whoever works on it.

Nothing is locked. A job that went on while it was read is read again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from pipeline.core.batches.lifecycle import Fact, Life, Released, SplitUp
from pipeline.core.explain.fates import BatchFate, RowFate, fate_in_batch, fates_of
from pipeline.core.explain.story import JobStory, Known
from pipeline.edges.store.job_folder import JobFolder
from pipeline.edges.store.job_rows.row_index import ROW, UNCHANGED, IndexedRows, look_up
from pipeline.edges.store.job_rows.sent_ids import read_sent
from pipeline.edges.store.ledger_reader import LedgerReader
from pipeline.edges.store.records import BatchRecord, JobRecord
from pipeline.edges.store.state import life_of
from pipeline.jobs.status.explain.forms import Form

#: Times that a job is read which goes on meanwhile; then what was found counts.
_TRIES = 5


def story_of(ledger: LedgerReader, record: JobRecord, folder: JobFolder, form: Form) -> JobStory:
    """The rows of an id in a job. Blocks."""
    for _ in range(_TRIES):
        story = _story(ledger, record, folder, form)
        now = ledger.job(record.job_id) or record
        if _stage(now) == _stage(record):
            break
        record = now
    return story


def _stage(record: JobRecord) -> tuple[object, ...]:
    return record.state, record.checkpoint.position, record.checkpoint.index_bytes, record.checkpoint.gathered.done


def _story(ledger: LedgerReader, record: JobRecord, folder: JobFolder, form: Form) -> JobStory:
    is_over = _is_over(record, folder)
    batches = [] if is_over else [(each, life_of(ledger, each)) for each in ledger.batches(job=record)]
    sent, is_each_read = _sent(ledger, batches, folder, form)
    indexed = look_up(folder.index.path, form.hash, None if record.state else max(0, record.checkpoint.index_bytes))
    held = [line for profile_id, _, line in _held(ledger, record) if profile_id == form.encoded]
    known, note = _known(record, folder, indexed, is_each_read=is_each_read and not is_over)
    rows = fates_of(indexed.rows, sent, held, names=(ROW, UNCHANGED), has_ended=record.state is not None)
    table = folder.rejects_table
    checkpoint = record.checkpoint
    return JobStory(
        job=record.job_id,
        state=record.state or ("quarantined" if ledger.is_quarantined(record) else "unfinished"),
        export=record.export.name,
        id_kind=form.id_kind,
        started_at=record.started_at,
        finished_at=record.report.finished_at if record.report else None,
        known=known if not form.note else "partly",
        rows=_placed(rows, record),
        note="; ".join(filter(None, (note, form.note))),
        read_to_line=None if record.state or checkpoint.has_ended else checkpoint.position.line,
        retry_of=record.retry_of,
        nameless=indexed.nameless,
        is_hashed=form.is_hashed,
        rejects_table=str(table) if table.exists() else None,
    )


def _is_over(record: JobRecord, folder: JobFolder) -> bool:
    """True if nothing is kept any more of the rows of an ended job."""
    read = record.report.rows.read if record.report else record.checkpoint.read
    return record.state is not None and read > 0 and not folder.sent.exists() and not folder.index.path.exists()


def _sent(
    ledger: LedgerReader, batches: Sequence[tuple[BatchRecord, Life]], folder: JobFolder, form: Form
) -> tuple[dict[int, BatchFate], bool]:
    """By line what became of the rows of an id in batches; and True if it is known of each batch which ids it had."""
    found: dict[int, BatchFate] = {}
    is_each_read, split = True, set[int]()
    for record, life in batches:
        batch = record.batch
        if batch.parent is not None and batch.parent not in split:
            # Of its parent it is known that it does not have the id.
            continue
        line = _line_in(folder, batch.batch_id, form)
        if line is None:
            is_each_read = False
        elif line >= 0 and isinstance(life.last, SplitUp):
            split.add(batch.batch_id)
        elif line >= 0:
            fate, why, unnamed = fate_in_batch(life, form.encoded)
            is_overtaken = form.hash in ledger.overtaken(batch.batch_id)
            at = next((at for fact, at in _latest_first(record) if not isinstance(fact, Released)), "")
            found[line] = BatchFate(fate, batch.number, why, at, unnamed, is_overtaken=is_overtaken)
    return found, is_each_read


def _latest_first(record: BatchRecord) -> Iterator[tuple[Fact, str]]:
    return zip(reversed(record.facts), reversed(record.times), strict=True)


def _line_in(folder: JobFolder, batch_id: int, form: Form) -> int | None:
    """The line of the row of an id in a batch; -1 if it has none, None if that is not known."""
    if (sent := read_sent(folder.sent / str(batch_id))) is None:
        return None
    hashes, lines = sent
    place = int(np.searchsorted(hashes, np.uint64(form.hash)))
    return int(lines[place]) if place < len(hashes) and int(hashes[place]) == form.hash else -1


def _held(ledger: LedgerReader, record: JobRecord) -> list[tuple[bytes, bytes, int]]:
    return [] if record.state else list(ledger.held_rows(record))


def _known(record: JobRecord, folder: JobFolder, indexed: IndexedRows, *, is_each_read: bool) -> tuple[Known, str]:
    """The measure in which the rows of a job are known, and why not more."""
    checkpoint = record.checkpoint
    if record.state is None and not record.has_begun:
        return "unread", "nothing of its export is in a batch yet"
    if record.state == "skipped":
        return "whole", "a dry run: nothing was sent"
    size = folder.index.path.stat().st_size if folder.index.path.exists() else 0
    has_index = checkpoint.index_bytes >= 0 or size > 0
    # What an ended job has behind its last seal is written at its end.
    length = size if record.state else checkpoint.index_bytes
    if is_each_read and has_index and indexed.read_bytes >= max(length, checkpoint.index_bytes):
        return "whole", ""
    if size or folder.sent.exists():
        return "partly", "what is known of its rows is not whole: its rows may have had the id all the same"
    return "nothing", (
        "which ids it had is not known: an earlier version loaded it, or [drop] keep_rejects_days is over"
    )


def _placed(rows: Sequence[RowFate], record: JobRecord) -> tuple[RowFate, ...]:
    """The rows with the places of their lines for people."""
    places = record.checkpoint.places(record.export.name)
    told = []
    for each in rows:
        row, place = each, places.of(each.line)
        row = replace(row, file=place.file, file_line=place.line)
        if row.superseded_by is not None:
            by = places.of(row.superseded_by)
            row = replace(row, superseded_by=by.line, superseded_in=by.file)
        told.append(row)
    return tuple(told)
