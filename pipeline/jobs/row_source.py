"""The rows of an open export, block by block: read, framed, mapped and encoded; from any checkpoint on."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.errors import InputError
from pipeline.core.rows.blockframing import BlockFramer, Framed
from pipeline.core.rows.framing import BOM, BrokenLine, Framer, Position, Record, detect_delimiter
from pipeline.core.rows.mapping import ColumnPlan, Mapped, RowMapper, is_utf8, plan_columns
from pipeline.core.rows.transform import Transform
from pipeline.edges import exports
from pipeline.edges.exports import Export, changed
from pipeline.edges.host import OpenExport
from pipeline.jobs.job import Job
from pipeline.settings.sections import ExportSettings

#: The bytes in which the header line is looked for first.
_SHORT_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Block:
    """Records that were read together, mapped, and the position behind them."""

    mapped: Mapped
    end: Position


class RowSource:
    """The rows of an export; made by `open_rows`. `plan`: the columns sent. `behind`: bytes that are read already."""

    def __init__(self, export: Export, transform: Transform, plan: ColumnPlan, behind: bytes) -> None:
        self.plan = plan
        self._export = export
        self._transform = transform
        self._behind = behind
        self._is_at_end = False

    async def read(self) -> Block | None:
        """The next records, possibly none; None at the end of the export."""
        if self._is_at_end:
            return None
        block, self._behind = self._behind or await self._export.read_block(), b""
        self._is_at_end = not block
        mapped = self._transform.feed(block) if block else self._transform.finish()
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
        source = await open_rows(
            export,
            job.export,
            progress.checkpoint,
            open_export=job.host.open_export,
            carried=() if progress.is_dry_run else job.in_flight.parameters(job.record.seq),
            max_batch_bytes=job.settings.batch.max_bytes,
            salt=job.state.ledger.salt,
        )
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
    if checkpoint.digest_bytes:
        # The header is read through a second handle: `export` is read from its start again, for its digest.
        async with open_export(export.path) as again:
            start = await _read_start(again, settings.delimiter)
    else:
        start = await _read_start(export, settings.delimiter)
    plan = plan_columns(
        read_header(start.header),
        id_column=settings.id_column,
        id_kind=settings.id_kind,
        columns=settings.columns,
        unlisted=settings.unlisted,
        # The header of a job's batches never changes.
    ).carrying(checkpoint.parameters or carried)
    mapper = RowMapper(
        plan,
        delimiter=start.delimiter,
        on_delimiter=settings.on_delimiter,
        replacement=settings.replacement,
        max_row_bytes=max_batch_bytes - len(plan.body_start),
        salt=salt,
    )
    if not checkpoint.digest_bytes:
        return RowSource(export, Transform(mapper, start=start.end), plan, start.behind)
    behind = await export.skip_to(
        checkpoint.position.offset, digest_bytes=checkpoint.digest_bytes, digest=checkpoint.digest
    )
    return RowSource(export, Transform(mapper, start=checkpoint.position), plan, behind)


async def read_columns(path: Path, *, delimiter: str = "auto") -> list[str]:
    """The column names of an export. Raises `InputError` (65, 66)."""
    async with exports.open_export(path) as export:
        start = await _read_start(export, delimiter)
        return read_header(start.header)


@dataclass(frozen=True, slots=True)
class _Start:
    """The beginning of an export: its header, the position behind it, and the bytes already read behind that."""

    header: Record | BrokenLine
    delimiter: bytes
    end: Position
    behind: bytes


async def _read_start(export: Export, delimiter: str) -> _Start:
    block = await export.read_block()
    head = block.removeprefix(BOM)
    found = detect_delimiter(head) if delimiter == "auto" else delimiter.encode()
    start = Position(offset=len(block) - len(head))
    framer = Framer(found, start=start)
    # Most headers are short, and the records behind are not needed here.
    framed = framer.feed(head[:_SHORT_BYTES]) or framer.feed(head[_SHORT_BYTES:])
    while not framed and (block := await export.read_block()):
        head += block
        framed = framer.feed(block)
    framed = framed or framer.finish()
    if not framed:
        raise InputError(f"{export.path} is empty: it has not even a header line.", line=1)
    end = framer.position_of(framed[1].line) if len(framed) > 1 else framer.position
    return _Start(framed[0], found, end, head[end.offset - start.offset :])


@dataclass(frozen=True, slots=True)
class Measured:
    """The measures of a whole export; `rows` counts the records behind the header, broken ones too."""

    size_bytes: int
    sha256: str
    columns: tuple[str, ...]
    rows: int


async def measure(path: Path, open_export: OpenExport, *, delimiter: str) -> Measured:
    """Read an export once, and count the records that a load would read. Raises `InputError` (65, 66)."""
    async with open_export(path) as export:
        start = await _read_start(export, delimiter)
        columns = tuple(read_header(start.header))
        framer = BlockFramer(start.delimiter, start=start.end)
        rows = _records(framer.feed(start.behind))
        while block := await export.read_block():
            rows += _records(framer.feed(block))
        rows += _records(framer.finish())
        return Measured(export.bytes_read, export.sha256, columns, rows)


def _records(framed: Framed) -> int:
    return len(framed.ends) + len(framed.others)


def read_header(first: Record | BrokenLine) -> list[str]:
    """The column names. Raises `InputError` (65) where the first record cannot be a header."""
    if isinstance(first, BrokenLine):
        raise InputError(f"the header line is broken ({first.reason}): mend its quotes.", line=first.line)
    if b"\0" in first.raw or not is_utf8(first.raw):
        raise InputError(
            "the header line is not UTF-8 text (an export in UTF-16 or Latin-1?): save the export as UTF-8.",
            line=first.line,
        )
    return [column.decode() for column in first.fields]
