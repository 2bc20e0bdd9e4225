"""The rows of an open export, block by block: read, framed, mapped and encoded; from any checkpoint on."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.checkpoint import Checkpoint
from pipeline.core.errors import InputError
from pipeline.core.framing import BOM, BrokenLine, Framer, Position, Record, detect_delimiter
from pipeline.core.mapping import ColumnPlan, Mapped, RowMapper, is_utf8, plan_columns
from pipeline.edges.exports import Export, open_export
from pipeline.settings_sections import ExportSettings


@dataclass(frozen=True, slots=True)
class Block:
    """Records that were read together, what became of them, and where reading goes on behind them."""

    records: list[Record | BrokenLine]
    mapped: Mapped
    end: Position


class RowSource:
    """Made by `open_rows`; `plan` says what is sent."""

    def __init__(
        self, export: Export, framer: Framer, plan: ColumnPlan, mapper: RowMapper, first: list[Record | BrokenLine]
    ) -> None:
        self.plan = plan
        self._export = export
        self._framer = framer
        self._mapper = mapper
        self._framed = first
        self._is_at_end = False

    async def read(self) -> Block | None:
        """The next records, possibly none; None at the end of the export."""
        framed, self._framed = self._framed, []
        if not framed:
            if self._is_at_end:
                return None
            block = await self._export.read_block()
            self._is_at_end = not block
            framed = self._framer.feed(block) if block else self._framer.finish()
        return Block(framed, self._mapper.map(framed), self._framer.position)

    def split(self, block: Block, row: int) -> tuple[Block, Block]:
        """The block just read in two: up to its row to send of that index, and from it on."""
        line = int(block.mapped.rows.lines[row])
        index = bisect_left(block.records, line, key=lambda record: record.line)
        first, rest = block.records[:index], block.records[index:]
        return (
            Block(first, self._mapper.map(first), self._framer.position_of(line)),
            Block(rest, self._mapper.map(rest), block.end),
        )


async def open_rows(
    export: Export,
    settings: ExportSettings,
    checkpoint: Checkpoint,
    *,
    carried: Iterable[str],
    max_batch_bytes: int,
    salt: int,
) -> RowSource:
    """Read the header, plan the columns, and go to the checkpoint.

    `carried` are the parameters of batches in flight that rows held for them may bring along. Raises `InputError`
    (65) for an export that cannot be sent, or is not the one that the checkpoint was made of.
    """
    if checkpoint.digest_bytes:
        # The header is read from a file of its own: this one is read from its start once more, for its digest.
        async with open_export(export.path) as again:
            start = await _read_start(again, settings.delimiter)
    else:
        start = await _read_start(export, settings.delimiter)
    plan = plan_columns(
        read_header(start.framed[0]),
        id_column=settings.id_column,
        id_kind=settings.id_kind,
        columns=settings.columns,
        unlisted=settings.unlisted,
        # What the header row of a job's batches says does not change while the job lasts.
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
        return RowSource(export, start.framer, plan, mapper, start.framed[1:])
    behind = await export.skip_to(
        checkpoint.position.offset, digest_bytes=checkpoint.digest_bytes, digest=checkpoint.digest
    )
    framer = Framer(start.delimiter, start=checkpoint.position)
    return RowSource(export, framer, plan, mapper, framer.feed(behind))


async def read_columns(path: Path, *, delimiter: str = "auto") -> list[str]:
    """The column names of an export. Raises `InputError` (65, 66)."""
    async with open_export(path) as export:
        start = await _read_start(export, delimiter)
        return read_header(start.framed[0])


@dataclass(frozen=True, slots=True)
class _Start:
    """The beginning of an export, framed as far as it takes to have its header."""

    framer: Framer
    delimiter: bytes
    framed: list[Record | BrokenLine]


async def _read_start(export: Export, delimiter: str) -> _Start:
    block = await export.read_block()
    head = block.removeprefix(BOM)
    found = detect_delimiter(head) if delimiter == "auto" else delimiter.encode()
    framer = Framer(found, start=Position(offset=len(block) - len(head)))
    framed = framer.feed(head)
    while not framed and (block := await export.read_block()):
        framed = framer.feed(block)
    framed = framed or framer.finish()
    if not framed:
        raise InputError(f"{export.path} is empty: it has not even a header line.", line=1)
    return _Start(framer, found, framed)


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
