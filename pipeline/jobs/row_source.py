"""The rows of an open export, block by block: read, framed, mapped and encoded; from any checkpoint on."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.errors import HeaderError, InputError
from pipeline.core.rows.blockframing import BlockFramer
from pipeline.core.rows.cells import CellRules
from pipeline.core.rows.framing import Position
from pipeline.core.rows.header import plan_columns
from pipeline.core.rows.mapping import ColumnPlan, Mapped, RowMapper
from pipeline.core.rows.trailer import Trailer
from pipeline.core.rows.transform import Transform, count_rows
from pipeline.edges import exports
from pipeline.edges.export_start import Layout, Start, read_start
from pipeline.edges.exports import Export, changed
from pipeline.edges.host import OpenExport, RunBlocking
from pipeline.edges.store.job_folder import JobFolder
from pipeline.jobs.job import Job
from pipeline.settings.sections import ExportSettings


@dataclass(frozen=True, slots=True)
class Block:
    """Records that were read together, mapped, and the position behind them."""

    mapped: Mapped
    end: Position


class _Lines:
    """The bytes of an export from a place on, without the lines at its end that are no rows."""

    def __init__(self, export: Export, behind: bytes, trailer: Trailer | None) -> None:
        self.has_content = False
        self._export = export
        self._behind = behind
        self._trailer = trailer

    async def read(self) -> bytes | None:
        """The next bytes, possibly none; None at the end."""
        block, self._behind = self._behind or await self._export.read_block(), b""
        if not block:
            return None
        if self._trailer is not None:
            block = self._trailer.feed(block)
        self.has_content = self.has_content or bool(block.strip(b"\r\n"))
        return block


class RowSource:
    """The rows of an export; made by `open_rows`. `plan`: the columns sent."""

    def __init__(self, transform: Transform, plan: ColumnPlan, lines: _Lines) -> None:
        self.plan = plan
        self._transform = transform
        self._lines = lines
        self._is_at_end = False

    @property
    def has_content(self) -> bool:
        """True if anything but line ends was read behind the header so far."""
        return self._lines.has_content

    async def read(self) -> Block | None:
        """The next records, possibly none; None at the end of the export."""
        if self._is_at_end:
            return None
        block = await self._lines.read()
        self._is_at_end = block is None
        mapped = self._transform.finish() if block is None else self._transform.feed(block)
        return Block(mapped, self._transform.position)

    def split(self, block: Block, row: int) -> tuple[Block, Block]:
        """Split the last block, or what a split left of it, into two: the rows before index `row`, and the rest."""
        first, middle, rest = self._transform.split(int(block.mapped.rows.lines[row]))
        return Block(first, middle), Block(rest, block.end)


@asynccontextmanager
async def open_source(job: Job) -> AsyncIterator[tuple[Export, RowSource]]:
    """The export of a job, and its rows from where the job stands; a dry run carries nothing.

    Raises `InputError` (65, 66) for an export that cannot be read or sent, or that changed since its job was entered.
    """
    progress = job.progress
    async with job.host.open_export(job.record.export) as export:
        if not export.identity.agrees_with(job.record.identity):
            raise changed(job.record.export)
        progress.export_bytes = export.identity.size_bytes
        async with header_kept(job):
            source = await open_rows(
                export,
                job.export,
                progress.checkpoint,
                open_export=job.host.open_export,
                carried=() if progress.is_dry_run else job.in_flight.parameters(job.record.seq),
                max_batch_bytes=job.settings.batch.max_bytes,
                salt=job.state.ledger.salt,
            )
        progress.checkpoint.warnings.unnamed_columns = source.plan.unnamed
        progress.checkpoint.columns_sent = source.plan.parameters
        yield export, source


async def open_rows(
    export: Export,
    settings: ExportSettings,
    checkpoint: Checkpoint,
    *,
    open_export: OpenExport,
    carried: Iterable[str],
    max_batch_bytes: int,
    salt: int,
) -> RowSource:
    """Read the header, plan the columns, and go to the checkpoint.

    `carried`: parameters of batches in flight, from which held rows may carry cells. Raises `InputError` (65) for an
    export that cannot be sent, or is not the one that the checkpoint was made of.
    """
    layout = layout_of(settings)
    if checkpoint.digest_bytes:
        # The header is read through a second handle: `export` is read from its start again, for its digest.
        async with open_export(export.path) as again:
            start = await read_start(again, layout)
    else:
        start = await read_start(export, layout)
    # The header of a job's batches never changes.
    plan = _plan_of(start, settings).carrying(checkpoint.parameters or carried)
    mapper = RowMapper(
        plan,
        dialect=start.dialect,
        on_delimiter=settings.on_delimiter,
        replacement=settings.replacement,
        max_row_bytes=max_batch_bytes - len(plan.body_start),
        salt=salt,
        rules=cell_rules(settings),
    )
    begin, behind = start.end, start.behind
    if checkpoint.digest_bytes:
        begin = checkpoint.position
        behind = await export.skip_to(begin.offset, digest_bytes=checkpoint.digest_bytes, digest=checkpoint.digest)
    return RowSource(Transform(mapper, start=begin), plan, _Lines(export, behind, _trailer_of(settings, start)))


def _plan_of(start: Start, settings: ExportSettings) -> ColumnPlan:
    try:
        return plan_columns(
            start.names,
            id_column=settings.id_column,
            id_kind=settings.id_kind,
            columns=settings.columns,
            unlisted=settings.unlisted,
            has_header=settings.header,
        )
    except HeaderError as error:
        raise HeaderError(str(error), header=start.header, line=start.header_line) from None


def layout_of(settings: ExportSettings) -> Layout:
    """The way an export is written, as far as the [export] section says."""
    used = [settings.id_column, *settings.columns]
    return Layout(
        delimiter=b"" if settings.delimiter == "auto" else settings.delimiter.encode(),
        quote=settings.quote.encode(),
        escape=settings.escape.encode(),
        id_column=settings.id_column,
        has_header=settings.header,
        last_position=0 if settings.header else max(map(int, used)),
        skip_first=settings.skip_first,
    )


def _trailer_of(settings: ExportSettings, start: Start) -> Trailer | None:
    return Trailer(settings.skip_last, start.dialect) if settings.skip_last else None


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


def cell_rules(settings: ExportSettings) -> CellRules:
    """The rules about cells that the [export] section asks for."""
    return CellRules(settings.trim, settings.null_values, settings.id_placeholders, settings.number_ids)


async def read_columns(path: Path, *, id_column: str | None = None) -> list[str]:
    """The column names of an export, by which `id_column` helps to find the delimiter. Raises `InputError`."""
    async with exports.open_export(path) as export:
        return (await read_start(export, Layout(id_column=id_column))).names


@dataclass(frozen=True, slots=True)
class Measured:
    """The measures of a whole export.

    `header`: as it was read, empty if it has none; on line `header_line`.
    `rows`: what a load counts: the records behind the header, broken ones too, blank ones not.
    """

    size_bytes: int
    sha256: str
    columns: tuple[str, ...]
    header: bytes
    header_line: int
    rows: int


async def measure(path: Path, open_export: OpenExport, settings: ExportSettings) -> Measured:
    """Read an export once, and count the records that a load would read. Raises `InputError` (65, 66)."""
    async with open_export(path) as export:
        start = await read_start(export, layout_of(settings))
        framer = BlockFramer(start.dialect, start=start.end)
        lines = _Lines(export, start.behind, _trailer_of(settings, start))
        rows = 0
        while (block := await lines.read()) is not None:
            rows += count_rows(framer.feed(block), start.dialect.delimiter)
        rows += count_rows(framer.finish(), start.dialect.delimiter)
        return Measured(export.bytes_read, export.sha256, tuple(start.names), start.header, start.header_line, rows)
