"""The rows of an open export: read, framed, mapped and encoded, block by block, part by part, from a checkpoint on."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from anyio import to_thread

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.parts import Part
from pipeline.core.drop.signals import shown
from pipeline.core.errors import InputError
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import Position
from pipeline.core.formats.text_codec import as_read
from pipeline.core.formats.trailer import Trailer
from pipeline.core.model import Warnings
from pipeline.core.printable import printable
from pipeline.core.rows.mapping import ColumnPlan, Mapped, RowMapper, pack_rows
from pipeline.core.rows.reject_table import Written
from pipeline.core.rows.transform import PART_BYTES, Transform, is_of_shortest_lines
from pipeline.core.values.row_steps import NOTHING_DONE, RowSteps
from pipeline.edges.export_start import Start
from pipeline.edges.exports import Export
from pipeline.edges.host import OpenExport, RunBlocking, run_if_large
from pipeline.jobs.row_source.starts import (
    NO_CONTENT,
    Blank,
    Form,
    Reading,
    cell_rules,
    check_parts,
    first_start,
    form_of,
    looking_for,
    plan_of,
    start_of_part,
    trailer_of,
)
from pipeline.settings.sections.export import ExportSettings

#: Bytes that stand for the work on one name of a column.
_BYTES_OF_A_NAME = 32


@dataclass(frozen=True, slots=True)
class Block:
    """Records that were read together, mapped, and the position behind them.

    `bytes_read`, `sha256`: the bytes of all files that were read for them and for what is before them, and the digest
    of those. They go with the position: the part of a position holds the last of these bytes.
    `begins`: the parts that begin before these records, which are of the last of them; most blocks have none.
    """

    mapped: Mapped
    end: Position
    bytes_read: int
    sha256: str
    begins: tuple[Part, ...] = ()

    def note(self, checkpoint: Checkpoint) -> None:
        """Count these records, and move the position behind them, into the part that they are of."""
        if self.begins:
            checkpoint.begin(self.begins)
        checkpoint.note(self.mapped)
        # Only together: a seal of freed rows may come when the next part has been looked into, and not begun.
        checkpoint.position = self.end
        checkpoint.digest_bytes, checkpoint.digest = self.bytes_read, self.sha256


class Lines:
    """The bytes of a part from a place on, without the lines at its end that are no rows."""

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
        self.has_content = self.has_content or bool(block.strip(NO_CONTENT))
        return block

    def check_trailer(self, rows: int) -> None:
        """At the end, raise `InputError` if the trailer is not there, or tells another number of rows than these."""
        if self._trailer is None:
            return
        try:
            self._trailer.check(rows)
        except InputError as error:
            raise InputError(f"{printable(str(self._export.place))} is not whole: {error}") from None


@dataclass(frozen=True, slots=True)
class _Mapping:
    """Makes what maps the rows of a part.

    `columns`: of the export.
    `is_json`: it is JSON Lines, no CSV.
    `is_columnar`: the parts are columnar files.
    """

    plan: ColumnPlan
    settings: ExportSettings
    columns: list[str]
    is_json: bool
    is_columnar: bool
    max_row_bytes: int
    salt: int

    def mapper(self, dialect: Dialect) -> RowMapper:
        """The mapper of the rows of parts in this dialect."""
        return RowMapper(
            self.plan,
            dialect=dialect,
            on_delimiter=self.settings.on_delimiter,
            replacement=self.settings.replacement,
            max_row_bytes=self.max_row_bytes,
            salt=self.salt,
            rules=cell_rules(self.settings),
        )

    def written(self, dialect: Dialect) -> Written:
        """The way that parts in this dialect are written."""
        return Written(
            tuple(self.columns),
            dialect.delimiter.decode(),
            dialect.quote.decode(),
            dialect.escape.decode(),
            dialect.cr_ends_lines,
            self.is_json,
            dialect.escape_in,
            dialect.cr_lf_ends_lines,
        )

    def transform(self, mapper: RowMapper, begin: Position) -> Transform:
        """The transform of the rows of a part from this position on, its line counted through all parts."""
        names, arrays = self.columns if self.is_json else None, self.settings.arrays
        return Transform(mapper, start=begin, columns=names, is_columnar=self.is_columnar, arrays=arrays)


class RowSource:
    """The rows of an export; made by `open_rows`.

    `plan`: the columns sent.
    """

    def __init__(self, export: Export, reading: Reading, form: Form, mapping: _Mapping, stands: "_Stands") -> None:
        self.plan = mapping.plan
        self._export = export
        self._reading = reading
        self._form = form
        self._mapping = mapping
        self._run_blocking = reading.run_blocking
        self._is_decoded = reading.settings.encoding != "auto"
        self._begins, self._blank = stands.begins, stands.blank
        self._part, self._lines_before = export.part, stands.lines_before
        self._had_content = False
        self._mapper = mapping.mapper(stands.start.dialect)
        self._enter(stands.start, stands.begin, stands.behind, stands.rows_before)

    def _enter(self, start: Start, begin: Position, behind: bytes, rows_before: int = 0) -> None:
        """Go on at a place of the part that is open, behind so many of its rows."""
        self._rows = rows_before
        if start.dialect != self._mapper.dialect:
            self._mapper = self._mapping.mapper(start.dialect)
        self._transform = self._mapping.transform(self._mapper, begin)
        self._lines = Lines(self._export, behind, trailer_of(self._reading.settings, start))
        self._is_at_end = False

    @property
    def written(self) -> Written:
        """The way the part that is read is written."""
        return self._mapping.written(self._mapper.dialect)

    @property
    def mapper(self) -> RowMapper:
        """The exact mapper of the rows of the part that is read; not to be used while a block is mapped."""
        return self._mapper

    @property
    def has_content(self) -> bool:
        """True if anything but line ends was read behind the headers so far."""
        return self._had_content or self._lines.has_content

    async def read(self) -> Block | None:
        """The next records, possibly none; None at the end of the export."""
        if self._begins:
            begins, self._begins = self._begins, ()
            return self._beginning(begins, self._transform.position, blank=self._blank)
        if self._transform.has_more:
            return await self._run_blocking(self._mapped_more)
        if self._is_at_end:
            self._lines.check_trailer(self._rows)
            return await self._next_part()
        block = await self._lines.read()
        self._is_at_end = block is None
        if self._transform.is_slow(block):
            return await self._run_blocking(self._mapped, block)
        return self._mapped(block)

    async def _next_part(self) -> Block | None:
        """Begin the next part that holds anything; None if there is no part any more."""
        end = self._transform.position
        # A line that was too long, and had no end, is counted by nobody else.
        before, begins = end.line - 1 + end.is_skipping, list[Part]()
        while await self._export.next_part():
            begins.append(Part(self._export.part, self._export.size_bytes, lines_before=before))
            start = await start_of_part(self._export, self._reading, self._form)
            end = Position(0, 1 + before)
            if isinstance(start, Blank):
                before += start.lines
                continue
            self._had_content = self.has_content
            self._part, self._lines_before = self._export.part, before
            self._enter(start, _behind_lines(start.end, before), start.behind)
            return self._beginning(tuple(begins), self._transform.position, blank=len(begins) - 1)
        return self._beginning(tuple(begins), end, blank=len(begins)) if begins else None

    def _beginning(self, begins: tuple[Part, ...], end: Position, *, blank: int) -> Block:
        """A block without records, before which these parts begin, so many of them blank."""
        # No line of a part that is empty is worth a look.
        mapped = Mapped(pack_rows([], [], [], 0), [], 0, Warnings(empty_parts=blank))
        return Block(mapped, end, self._export.bytes_read, self._export.sha256, begins)

    def _mapped(self, block: bytes | None) -> Block:
        with self._about_part():
            mapped = self._transform.feed_some(block)
        self._rows += mapped.read
        return self._block(mapped, self._transform.position)

    def _mapped_more(self) -> Block:
        with self._about_part():
            mapped = self._transform.map_more()
        self._rows += mapped.read
        return self._block(mapped, self._transform.position)

    @contextmanager
    def _about_part(self) -> Iterator[None]:
        """Name the part, and the line in it, in an `InputError` of the body."""
        try:
            yield
        except InputError as error:
            if not self._part or error.line is None:
                raise
            line = error.line - self._lines_before
            text = str(error).replace(f"line {error.line:,}", f"line {line:,} of {shown(self._part)}", 1)
            raise InputError(text, line=line, exit_code=error.exit_code) from None

    def split(self, block: Block, row: int) -> tuple[Block, Block]:
        """Split the last block, or what a split left of it, into two: the rows before index `row`, and the rest."""
        first, middle, rest = self._transform.split(int(block.mapped.rows.lines[row]))
        return self._block(first, middle), self._block(rest, block.end)

    def _block(self, mapped: Mapped, end: Position) -> Block:
        if self._is_decoded and mapped.rejects:
            # Bytes that could not be decoded are told as they stand in the export.
            mapped = replace(mapped, rejects=[replace(each, raw=as_read(each.raw)) for each in mapped.rejects])
        return Block(mapped, end, self._export.bytes_read, self._export.sha256)


def _behind_lines(position: Position, lines_before: int) -> Position:
    """A position within a part, with its line counted through all parts."""
    return replace(position, line=position.line + lines_before)


@dataclass(frozen=True, slots=True)
class _Stands:
    """The place from which an export is read.

    `start`: the beginning of the part.
    `begin`: the position in it, its line counted through all parts.
    `behind`: the bytes already read from there on.
    `begins`: the parts up to this one, as far as no checkpoint has them, so many of them `blank`.
    `lines_before`: the lines of the parts before.
    `rows_before`: the rows of this part that were read before.
    """

    start: Start
    begin: Position
    behind: bytes
    begins: tuple[Part, ...] = ()
    blank: int = 0
    lines_before: int = 0
    rows_before: int = 0


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
    steps: RowSteps = NOTHING_DONE,
) -> RowSource:
    """Read the header, plan the columns, and go to the checkpoint.

    `open_export`: opens the export again.
    `carried`: parameters of batches in flight, from which held rows may carry cells.
    `run_blocking`: for what may take long, outside the event loop.
    `steps`: what is done to rows.

    Raises `InputError` (65) for an export that cannot be sent, or is not the one that the checkpoint was made of.
    """
    reading = Reading(looking_for(settings, steps), open_export, run_blocking)
    first, form, stands = await (_begin if not checkpoint.digest_bytes else _go_on)(export, reading, checkpoint)
    # The header of a job's batches never changes.
    size_bytes = _BYTES_OF_A_NAME * (len(first.names) + len(settings.columns)) + len(first.header)
    plan = await run_if_large(run_blocking, size_bytes, plan_of, first, settings, steps)
    plan = plan.carrying(checkpoint.parameters or carried)
    row_bytes = max_batch_bytes - len(plan.body_start)
    mapping = _Mapping(plan, settings, first.names, first.is_json, first.is_columnar, row_bytes, salt)
    return RowSource(export, reading, form, mapping, stands)


async def _begin(export: Export, reading: Reading, _: Checkpoint) -> tuple[Start, Form, _Stands]:
    """The beginning and the form of an export that is read from its start, and the place behind its header."""
    start, begins = await first_start(export, reading)
    form = form_of(start, export)
    await check_parts(export, reading, form)
    before = begins[-1].lines_before if begins else 0
    stands = _Stands(start, _behind_lines(start.end, before), start.behind, begins, len(begins[1:]), before)
    return start, form, stands


async def _go_on(export: Export, reading: Reading, checkpoint: Checkpoint) -> tuple[Start, Form, _Stands]:
    """The same for an export of which an earlier process has read a part, and the place where that was.

    Headers are read through a second handle: `export` is read from its start again, for its digest.
    """
    async with reading.open_export(export.path, reading.settings.encoding) as again:
        first, begins = await first_start(again, reading)
        form, start, number = form_of(first, again), first, len(begins[1:])
        if checkpoint.part > number:
            while number < checkpoint.part and await again.next_part():
                number += 1
            found = await start_of_part(again, reading, form)
            start = start if isinstance(found, Blank) else found
    begin = checkpoint.position
    behind = await export.skip_to(
        checkpoint.part, begin.offset, digest_bytes=checkpoint.digest_bytes, digest=checkpoint.digest
    )
    before = checkpoint.parts[-1].lines_before if checkpoint.parts else 0
    rows = checkpoint.parts[-1].rows if checkpoint.parts else checkpoint.read
    return first, form, _Stands(start, begin, behind, lines_before=before, rows_before=rows)
