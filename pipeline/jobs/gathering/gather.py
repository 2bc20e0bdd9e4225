"""Gathers the rows of an export: it is read to its end, and its rows lie in runs then.

A run holds what fits into the buffer, `BUFFER_BYTES` of encoded rows, so memory does not grow with the export. While
one is put in order and written, the next is read. On the disk they take what the rows take, and 32 bytes more for each.
"""

import asyncio
from pathlib import Path

import anyio

from pipeline.core.batches.gathered import Gathered, Run
from pipeline.core.errors import InputError
from pipeline.core.model import Rows
from pipeline.edges.exports import Export
from pipeline.edges.process.heap import give_back
from pipeline.jobs.ending import abandoned, is_abandoned
from pipeline.jobs.gathering.gone import Gone, gather_gone
from pipeline.jobs.gathering.guard import judge
from pipeline.jobs.gathering.runs import write_run
from pipeline.jobs.job import Job, check_rejects
from pipeline.jobs.row_source import RowSource, keep_rejects, no_rows, note_block

#: Bytes of encoded rows that one run holds.
BUFFER_BYTES = 16_777_216


async def gather(job: Job, export: Export, source: RowSource, *, is_judged: bool) -> None:
    """Write all rows of the export to `State.gathered`, and note in the ledger that they are there.

    Behind them are rows of ids that a snapshot no longer has, if [export] gone says what is sent then.
    `is_judged`: the guard judges the export, and what it finds is noted with the rows, in one step: no process ever
    sees them without.

    Raises `InputError` for an export that a load gives up, for example with too many rejects.
    """
    progress, directory = job.progress, job.state.gathered(job.record.job_id)
    await job.host.run_blocking(job.state.begin_gathering, job.record.job_id)
    checkpoint, before = progress.checkpoint, progress.unplaced_rows
    runs = _Runs(job, directory)
    try:
        rows = await _gather_all(job, export, source, runs)
    finally:
        await runs.finish()
    gone = await gather_gone(job, directory, runs.written)
    if gone.too_many and not is_judged:
        checkpoint.warnings.ids_gone = 0
        raise _too_many_gone(job, gone)
    # These rows count as read, though no line of the export has them: each of them is in one class too.
    checkpoint.read += (more := sum(run.rows for run in gone.runs))
    rows += more
    progress.unplaced_rows = before + rows
    if is_judged:
        await judge(job, also=gone.too_many)
    checkpoint.rejects_bytes = await job.host.run_blocking(job.folder.sync_rejects)
    checkpoint.index_bytes = await job.host.run_blocking(job.folder.index.write_index)
    # What reading and sorting took must not stand beside what placing takes.
    await job.host.run_blocking(give_back)
    checkpoint.gathered = Gathered((*runs.written, *gone.runs), rows, is_whole=True)
    await job.state.in_turn(job.state.ledger.note_checkpoint, job.record, checkpoint)


async def _gather_all(job: Job, export: Export, source: RowSource, runs: "_Runs") -> int:
    """Gather the rows of the export itself; return their number."""
    progress, checkpoint, before = job.progress, job.progress.checkpoint, job.progress.unplaced_rows
    buffer, buffered, rows = list[Rows](), 0, 0
    while (block := await source.read()) is not None:
        progress.bytes_read, progress.sha256 = export.bytes_read, export.sha256
        if is_abandoned(job.ending):
            raise abandoned()
        note_block(job, source, block)
        # No `await` between these counts: each row is in one class whenever the job ends.
        rows += len(block.mapped.rows)
        progress.unplaced_rows = before + rows
        await keep_rejects(job, source, block.mapped.rejects)
        if len(block.mapped.rows):
            checkpoint.note_repeated(block.mapped.rows)
            buffer.append(block.mapped.rows)
            buffered += len(block.mapped.rows.body)
        check_rejects(job, is_final=False)
        if buffered >= BUFFER_BYTES:
            await runs.begin(buffer)
            buffer, buffered = [], 0
    if not checkpoint.read and source.has_content:
        raise no_rows(job.record.export)
    check_rejects(job, is_final=True)
    if buffer:
        await runs.begin(buffer)
    await runs.wait()
    return rows


class _Runs:
    """The runs of a job, written one after the other beside the reading."""

    def __init__(self, job: Job, directory: Path) -> None:
        self.written: list[Run] = []
        self._job = job
        self._directory = directory
        self._digested = job.digested
        self._writing: asyncio.Future[Run] | None = None

    async def begin(self, buffer: list[Rows]) -> None:
        """Begin to write rows, which are whoever writes them's from now on; the run before is whole then."""
        await self.wait()
        write = self._job.host.run_blocking(write_run, self._directory, len(self.written), buffer, self._digested)
        self._writing = asyncio.ensure_future(write)

    async def wait(self) -> None:
        """Wait until the latest run is whole. Raises its error."""
        if self._writing is not None:
            self.written.append(await asyncio.shield(self._writing))
            self._writing = None

    async def finish(self) -> None:
        """Let a run that has begun be written to its end, whatever comes of it."""
        if self._writing is not None:
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._writing])
            self._writing.exception()


def _too_many_gone(job: Job, gone: Gone) -> InputError:
    return InputError(
        f"{job.record.export.name}: {gone.too_many}, so nothing was sent. It may have been cut off. If they are gone, "
        "load it again with a higher max_gone."
    )
