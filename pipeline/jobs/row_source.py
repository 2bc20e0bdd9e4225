"""The rows of an open export, block by block: read, framed, mapped and encoded; from any checkpoint on."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from anyio import to_thread

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.errors import HeaderError, InputError
from pipeline.core.formats.blockframing import BlockFramer
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.file_kind import HEAD_BYTES, is_json_lines, other_encoding, text_refusal
from pipeline.core.formats.framing import BOM, Position
from pipeline.core.formats.json_lines import MAX_COLUMNS, JsonFramer, add_columns
from pipeline.core.formats.text_codec import as_read
from pipeline.core.formats.trailer import Trailer
from pipeline.core.printable import printable
from pipeline.core.rows.cells import CellRules
from pipeline.core.rows.header import plan_columns, suggest_parameter_name
from pipeline.core.rows.mapping import ColumnPlan, Mapped, RowMapper
from pipeline.core.rows.transform import PART_BYTES, Transform, count_rows, is_of_shortest_lines
from pipeline.edges import exports
from pipeline.edges.export_start import Layout, Start, read_start
from pipeline.edges.exports import Export, changed
from pipeline.edges.host import OpenExport, RunBlocking, run_if_large
from pipeline.edges.store.job_folder import JobFolder
from pipeline.jobs.job import Job, opens_export
from pipeline.settings.export_section import ExportSettings

#: Bytes that stand for the work on one name of a column.
_BYTES_OF_A_NAME = 32
#: Of these, no row can be made, however lines are ended and cells are separated; the last one ends files of DOS.
_NO_CONTENT = b"\r\n\t \x1a"


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
        if len(block) > PART_BYTES and is_of_shortest_lines(block):
            block, self._behind = block[:PART_BYTES], block[PART_BYTES:]
        if self._trailer is not None:
            block = self._trailer.feed(block)
        self.has_content = self.has_content or bool(block.strip(_NO_CONTENT))
        return block


class RowSource:
    """The rows of an export; made by `open_rows`.

    `plan`: the columns sent.
    `encoding`: as [export] has it.
    """

    def __init__(
        self, transform: Transform, plan: ColumnPlan, lines: _Lines, *, encoding: str, run_blocking: RunBlocking
    ) -> None:
        self.plan = plan
        self._run_blocking = run_blocking
        self._is_decoded = encoding != "auto"
        self._transform = transform
        self._lines = lines
        self._is_at_end = False

    @property
    def has_content(self) -> bool:
        """True if anything but line ends was read behind the header so far."""
        return self._lines.has_content

    async def read(self) -> Block | None:
        """The next records, possibly none; None at the end of the export."""
        if self._transform.has_more:
            return await self._run_blocking(self._mapped_more)
        if self._is_at_end:
            return None
        block = await self._lines.read()
        self._is_at_end = block is None
        if self._transform.is_slow(block):
            return await self._run_blocking(self._mapped, block)
        return self._mapped(block)

    def _mapped(self, block: bytes | None) -> Block:
        mapped = self._transform.feed_some(block)
        return self._block(mapped, self._transform.position)

    def _mapped_more(self) -> Block:
        mapped = self._transform.map_more()
        return self._block(mapped, self._transform.position)

    def split(self, block: Block, row: int) -> tuple[Block, Block]:
        """Split the last block, or what a split left of it, into two: the rows before index `row`, and the rest."""
        first, middle, rest = self._transform.split(int(block.mapped.rows.lines[row]))
        return self._block(first, middle), self._block(rest, block.end)

    def _block(self, mapped: Mapped, end: Position) -> Block:
        if self._is_decoded and mapped.rejects:
            # Bytes that could not be decoded are told as they stand in the export.
            mapped = replace(mapped, rejects=[replace(each, raw=as_read(each.raw)) for each in mapped.rejects])
        return Block(mapped, end)


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
                carried=() if progress.is_dry_run else job.in_flight.parameters(job.record.seq),
                max_batch_bytes=job.settings.batch.max_bytes,
                salt=job.state.ledger.salt,
                run_blocking=job.host.run_blocking,
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
    run_blocking: RunBlocking = to_thread.run_sync,
) -> RowSource:
    """Read the header, plan the columns, and go to the checkpoint.

    `carried`: parameters of batches in flight, from which held rows may carry cells.
    `run_blocking`: for what may take long, outside the event loop.

    Raises `InputError` (65) for an
    export that cannot be sent, or is not the one that the checkpoint was made of.
    """
    if checkpoint.digest_bytes:
        # The header is read through a second handle: `export` is read from its start again, for its digest.
        async with open_export(export.path, settings.encoding) as again:
            start = await _start_of(again, settings, open_export, run_blocking)
    else:
        start = await _start_of(export, settings, open_export, run_blocking)
    # The header of a job's batches never changes.
    size_bytes = _BYTES_OF_A_NAME * (len(start.names) + len(settings.columns)) + len(start.header)
    plan = await run_if_large(run_blocking, size_bytes, _plan_of, start, settings)
    plan = plan.carrying(checkpoint.parameters or carried)
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
    transform = Transform(mapper, start=begin, columns=start.names if start.is_json else None)
    lines = _Lines(export, behind, _trailer_of(settings, start))
    return RowSource(transform, plan, lines, encoding=settings.encoding, run_blocking=run_blocking)


async def _start_of(
    export: Export, settings: ExportSettings, open_export: OpenExport, run_blocking: RunBlocking
) -> Start:
    """The beginning of an export that nothing was read of yet. Raises `InputError` (65) for what is none."""
    first = await export.read_block()
    await run_if_large(run_blocking, len(first), _check_kind, export.path, first, settings)
    if not is_json_lines(first, settings.format):
        return await read_start(export, layout_of(settings), first, run_blocking)
    head = first.removeprefix(BOM)
    names = await _read_keys(export, head, settings, open_export, run_blocking)
    return Start(Dialect(b","), names, b"", 1, Position(len(first) - len(head)), head, is_json=True)


def _plan_of(start: Start, settings: ExportSettings) -> ColumnPlan:
    try:
        plan = plan_columns(
            start.names,
            id_column=settings.id_column,
            id_kind=settings.id_kind,
            columns=settings.columns | _made_names(start, settings),
            unlisted=settings.unlisted,
            has_header=settings.header or start.is_json,
            is_json=start.is_json,
        )
    except HeaderError as error:
        raise HeaderError(str(error), header=start.header, line=start.header_line) from None
    # JSON Lines have no header that could come again.
    return replace(plan, header=()) if start.is_json else plan


def _made_names(start: Start, settings: ExportSettings) -> dict[str, str]:
    """Parameter names for the paths of nested keys that are sent under their own names, which Target takes not."""
    if not start.is_json or settings.unlisted != "send":
        return {}
    return {path: suggest_parameter_name(path) for path in start.names if "." in path and path not in settings.columns}


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
        max_columns=settings.max_columns,
    )


def _trailer_of(settings: ExportSettings, start: Start) -> Trailer | None:
    return Trailer(settings.skip_last, start.dialect) if settings.skip_last and not start.is_json else None


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


async def read_columns(path: Path, settings: ExportSettings) -> list[str]:
    """The column names of an export. Raises `InputError` (65, 66)."""
    async with exports.open_export(path, settings.encoding) as export:
        return (await _start_of(export, settings, exports.open_export, to_thread.run_sync)).names


async def _read_keys(
    export: Export, head: bytes, settings: ExportSettings, open_export: OpenExport, run_blocking: RunBlocking
) -> list[str]:
    """The columns of JSON Lines, of which `head` is the first block.

    If all keys count, because each is sent or stops the load, the whole export is read for them: a key that comes late
    would else have no place in the batches before. A key of [export] columns may be in no line, unless all are in none.
    """
    columns: dict[str, None] = {}
    framer = JsonFramer(())
    if settings.unlisted == "ignore":
        is_blank = await run_if_large(run_blocking, len(head), _add_configured, columns, framer, head, settings)
    else:
        async with open_export(export.path, settings.encoding) as again:
            start = BOM
            while block := await again.read_block():
                block = block.removeprefix(start)
                await run_if_large(run_blocking, len(block), _add_all, columns, framer, block, settings, export.path)
                start = b""
        await run_if_large(run_blocking, framer.pending_bytes, _add_all, columns, framer, None, settings, export.path)
        is_blank = not columns
    if is_blank:
        raise InputError(f"{printable(str(export.path))} cannot be loaded: no line of it holds a JSON object.", line=1)
    if not settings.columns.keys().isdisjoint(columns):
        columns |= dict.fromkeys(settings.columns)
    return list(columns)


def _add_configured(columns: dict[str, None], framer: JsonFramer, head: bytes, settings: ExportSettings) -> bool:
    """Add those of the configured columns that are in the first block; True if it holds no object at all."""
    is_blank = True
    wanted = {settings.id_column, *settings.columns}
    for keys in chain(framer.objects(head), framer.objects(None)):
        is_blank = False
        columns |= dict.fromkeys(key for key in keys if key in wanted)
    return is_blank


def _add_all(
    columns: dict[str, None], framer: JsonFramer, block: bytes | None, settings: ExportSettings, path: Path
) -> None:
    """Add the keys of the objects that a block completes. Raises `InputError` (65) for too many."""
    most = min(MAX_COLUMNS, settings.max_columns)
    for keys in framer.objects(block):
        add_columns(columns, [keys])
        if len(columns) > most:
            raise InputError(
                f"{printable(str(path))} cannot be loaded: its objects have more than {most:,} different keys, so some "
                "are data and no names. List those that Target should get under [export] columns, and set "
                'unlisted = "ignore".'
            )


def _check_kind(path: Path, block: bytes, settings: ExportSettings) -> None:
    """Raise `InputError` (65) for a text that is no export, or in another encoding, by its first block."""
    if told := text_refusal(block, settings.format):
        raise InputError(f"{printable(str(path))} cannot be loaded: it {told}.")
    if found := other_encoding(block[:HEAD_BYTES], settings.encoding):
        bad, lines, advice = found
        if settings.max_rejects.is_exceeded(bad, lines, final=True):
            encoding = "UTF-8" if settings.encoding == "auto" else settings.encoding
            raise InputError(
                f"{printable(str(path))} cannot be loaded: it is not {encoding}, as {bad:,} of its first {lines:,} "
                f"lines tell, more than [export] max_rejects = {settings.max_rejects} allows; {advice}."
            )


def _count_more(framer: BlockFramer | JsonFramer, block: bytes | None, delimiter: bytes) -> int:
    """The number of rows that a block completes, or the end of the export if it is None."""
    return count_rows(framer.finish() if block is None else framer.feed(block), delimiter)


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


async def measure(
    path: Path, open_export: OpenExport, settings: ExportSettings, run_blocking: RunBlocking = to_thread.run_sync
) -> Measured:
    """Read an export once, and count the records that a load would read. Raises `InputError` (65, 66)."""
    async with open_export(path, settings.encoding) as export:
        start = await _start_of(export, settings, open_export, run_blocking)
        framer = (
            JsonFramer(start.names, start=start.end) if start.is_json else BlockFramer(start.dialect, start=start.end)
        )
        lines = _Lines(export, start.behind, _trailer_of(settings, start))
        rows = 0
        while (block := await lines.read()) is not None:
            rows += await run_if_large(run_blocking, len(block), _count_more, framer, block, start.dialect.delimiter)
        left = framer.pending_bytes
        rows += await run_if_large(run_blocking, left, _count_more, framer, None, start.dialect.delimiter)
        return Measured(export.bytes_read, export.sha256, tuple(start.names), start.header, start.header_line, rows)
