"""Gathers the rows of an export: it is read to its end, and its rows lie in sorted runs then.

A run holds what fits into the buffer, `BUFFER_BYTES` of encoded rows, so memory does not grow with the export. On the
disk they take what the rows take, and about 14 bytes more for each.
"""

from pathlib import Path

import numpy as np

from pipeline.core.batches.gathered import Gathered, Run
from pipeline.core.memory.keyed_rows import KeyedRows
from pipeline.core.model import Rows
from pipeline.edges.exports import Export
from pipeline.edges.store.memory.sorted_file import Column, Texts, write_sorted
from pipeline.jobs.ending import abandoned, is_abandoned
from pipeline.jobs.job import Job, too_many_rejects
from pipeline.jobs.row_source import RowSource, keep_rejects, no_rows

#: Bytes of encoded rows that one run holds.
BUFFER_BYTES = 25_165_824


async def gather(job: Job, export: Export, source: RowSource) -> None:
    """Write all rows of the export to `State.gathered`, and note in the ledger that they are there.

    Raises `InputError` for an export that a load gives up, for example with too many rejects.
    """
    progress, directory = job.progress, job.state.gathered(job.record.job_id)
    await job.host.run_blocking(job.state.begin_gathering, job.record.job_id)
    checkpoint, before = progress.checkpoint, progress.unplaced_rows
    runs, buffer, buffered, rows = list[Run](), list[Rows](), 0, 0
    while (block := await source.read()) is not None:
        progress.bytes_read, progress.sha256 = export.bytes_read, export.sha256
        if is_abandoned(job.ending):
            raise abandoned()
        block.note(checkpoint)
        # No `await` between these counts: each row is in one class whenever the job ends.
        rows += len(block.mapped.rows)
        progress.unplaced_rows = before + rows
        await keep_rejects(job, source, block.mapped.rejects)
        if len(block.mapped.rows):
            checkpoint.note_repeated(block.mapped.rows)
            buffer.append(block.mapped.rows)
            buffered += len(block.mapped.rows.body)
        _judge_rejects(job, is_final=False)
        if buffered >= BUFFER_BYTES:
            runs.append(await job.host.run_blocking(write_run, directory, len(runs), buffer))
            buffered = 0
    if not checkpoint.read and source.has_content:
        raise no_rows(job.record.export)
    _judge_rejects(job, is_final=True)
    if buffer:
        runs.append(await job.host.run_blocking(write_run, directory, len(runs), buffer))
    checkpoint.rejects_bytes = await job.host.run_blocking(job.folder.sync_rejects)
    checkpoint.gathered = Gathered(tuple(runs), rows, is_whole=True)
    await job.state.in_turn(job.state.ledger.note_checkpoint, job.record, checkpoint)


def run_file(directory: Path, number: int) -> Path:
    """The file of a run."""
    return directory / f"{number:06d}.rows"


def write_run(directory: Path, number: int, buffer: list[Rows]) -> Run:
    """Write the rows of the buffer as a run, and empty it. Blocks."""
    rows = KeyedRows.of_lists(buffer)
    buffer.clear()
    columns: dict[str, Column] = {
        "lines": rows.lines.astype(np.uint64),
        "id_lengths": rows.id_lengths.astype(np.uint16),
    }
    texts = Texts(rows.body, rows.starts, rows.ends)
    facts = write_sorted(run_file(directory, number), rows.hashes, columns, texts)
    return Run(facts.rows, facts.size_bytes, facts.checksum)


def _judge_rejects(job: Job, *, is_final: bool) -> None:
    checkpoint = job.progress.checkpoint
    if job.export.max_rejects.is_exceeded(checkpoint.faulty, checkpoint.read, final=is_final):
        raise too_many_rejects(job, checkpoint.faulty, checkpoint.read)
