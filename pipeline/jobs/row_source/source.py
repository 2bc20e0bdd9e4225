"""The rows of a job's export, from where the job stands; and the errors of exports that give none."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from anyio import to_thread

from pipeline.core.errors import HeaderError, InputError
from pipeline.core.model import Reject
from pipeline.edges.exports import Export, changed, open_export
from pipeline.edges.host import RunBlocking
from pipeline.edges.store.job_folder import JobFolder
from pipeline.edges.store.job_rows.row_index import ROW
from pipeline.edges.store.memory.memory import Memory
from pipeline.edges.store.rejects_table import note_written
from pipeline.jobs.job import Job, is_mapped, opens_export, steps_of
from pipeline.jobs.row_source.rows import Block, RowSource, open_rows
from pipeline.jobs.row_source.starts import Reading, first_start
from pipeline.settings.sections.export import ExportSettings


@asynccontextmanager
async def open_source(job: Job) -> AsyncIterator[tuple[Export, RowSource]]:
    """The export of a job, and its rows from where the job stands; a dry run carries nothing.

    Raises `InputError` (65, 66) for an export that cannot be read or sent, or that changed since its job was entered.
    """
    progress = job.progress
    open_export = opens_export(job.record, job.host)
    async with open_export(job.record.export, job.export.encoding) as export:
        if not export.identity.agrees_with(job.record.identity):
            raise changed(job.record.export)
        progress.export_bytes = export.identity.size_bytes
        async with header_kept(job):
            source = await open_rows(
                export,
                job.export,
                progress.checkpoint,
                open_export=open_export,
                carried=() if progress.is_dry_run else await parameters_to_carry(job),
                max_batch_bytes=job.settings.batch.max_bytes,
                salt=job.state.ledger.salt,
                run_blocking=job.host.run_blocking,
                steps=await steps_of(job),
            )
        progress.checkpoint.warnings.unnamed_columns = source.plan.unnamed
        progress.checkpoint.columns_sent = source.plan.parameters
        if is_mapped(job.record) and not progress.is_dry_run:
            # What is sent does not tell the columns of the export, should Target refuse a row.
            await job.host.run_blocking(note_written, job.folder, source.written)
        yield export, source


async def parameters_to_carry(job: Job) -> tuple[str, ...]:
    """The parameters of which rows may get values: those of [export] gone, of batches in flight, and those remembered.

    What is in flight is asked first, and in the event loop, where it changes: a batch is remembered before it leaves.
    """
    in_flight, memory = job.in_flight.parameters(job.record.seq), job.state.memory
    remembered = () if memory is None else await job.host.run_blocking(_remembered_parameters, memory)
    return tuple(dict.fromkeys((*job.export.gone, *in_flight, *remembered)))


def _remembered_parameters(memory: Memory) -> tuple[str, ...]:
    return memory.parameters


def note_block(job: Job, source: RowSource, block: Block) -> None:
    """Count the records of a block, move the position of the job behind it, and note its rows for the index."""
    block.note(job.progress.checkpoint)
    mapped, index = block.mapped, job.folder.index
    index.add(ROW, mapped.rows.hashes, mapped.rows.lines)
    for each in mapped.not_sent:
        index.add(each.why, each.hashes, each.lines)
    by_reason: dict[str, list[Reject]] = {}
    for reject in mapped.rejects:
        by_reason.setdefault(reject.reason.value, []).append(reject)
    for reason, rejects in by_reason.items():
        hashes = source.mapper.forms.hashes([reject.profile_id or b"" for reject in rejects])
        index.add(reason, hashes, np.array([reject.line for reject in rejects], dtype=np.int64))


async def keep_rejects(job: Job, source: RowSource, rejects: Sequence[Reject]) -> None:
    """Append rejected rows to the rejects file of their job, and note how its export is written.

    What is noted for the index of rows is written down, if it is much.
    """
    if job.folder.index.is_large:
        await job.host.run_blocking(job.folder.index.write_index)
    if rejects:
        places = job.progress.checkpoint.places(job.record.export.name)
        await job.host.run_blocking(note_written, job.folder, source.written)
        await job.host.run_blocking(job.folder.add_rejects, places, rejects)


@asynccontextmanager
async def header_kept(job: Job) -> AsyncIterator[None]:
    """Keep a header that the body cannot use in the job's folder: no message says what it holds."""
    try:
        yield
    except HeaderError as error:
        raise await with_header_kept(error, job.folder, job.host.run_blocking) from error


async def with_header_kept(error: HeaderError, folder: JobFolder, run_blocking: RunBlocking) -> InputError:
    """The same error, which names the file with the header, once that is written."""
    if not error.header:
        return InputError(str(error), line=error.line)
    await run_blocking(folder.make)
    await run_blocking(folder.write_header, error.header)
    return InputError(f"{error} The header as it was read is in {folder.header}.", line=error.line)


def no_rows(export: Path) -> InputError:
    """The error for an export that holds more than its header, and yet no row."""
    return InputError(
        f"no row was read from {export.name}, which holds more than its header: nothing was sent. Are its lines ended, "
        "and its cells separated, as [export] says?"
    )


async def read_columns(path: Path, settings: ExportSettings) -> list[str]:
    """The column names of an export, a file or a directory of parts. Raises `InputError` (65, 66)."""
    async with open_export(path, settings.encoding) as export:
        start, _ = await first_start(export, Reading(settings, open_export, to_thread.run_sync))
        return start.names
