"""Reads the beginning of an export: how it is written, the names of its columns, and where its first record begins.

All of it depends on the bytes of the export alone, so a process that goes on after a crash finds the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeGuard, TypeVar, TypeVarTuple, Unpack

from anyio import to_thread

from pipeline.core.errors import HeaderError, InputError
from pipeline.core.formats.candidate_encodings import encoding_advice, header_line
from pipeline.core.formats.detection import (
    DELIMITERS,
    MAX_COLUMNS,
    SNIFFED_BYTES,
    check_number,
    delimiter_of_sep_line,
    detect_delimiter,
    ends_lines_with_cr,
    ends_lines_with_cr_lf,
    holds_nothing,
    is_sep_line,
    too_many,
)
from pipeline.core.formats.dialect import Dialect, EscapeIn
from pipeline.core.formats.framing import BOM, MAX_RECORD_BYTES, BrokenLine, Framer, Position, Record
from pipeline.core.formats.text_codec import as_read, is_utf8
from pipeline.core.model import Reason
from pipeline.core.printable import printable
from pipeline.core.rows.cells import is_blank
from pipeline.core.rows.header import check_line_breaks, positions
from pipeline.edges.exports import Export
from pipeline.edges.host import RunBlocking, run_if_large

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

#: The bytes in which the header line is looked for first; what they hold is framed at once.
SHORT_BYTES = 4_096
#: Lines such as `,,` before the header that are no header, at most. Ours: more of them stand before none.
_MOST_EMPTY_LINES = 100


@dataclass(frozen=True, slots=True)
class Layout:
    """The way an export is written, as far as its configuration says.

    `delimiter`: one byte, or none to find it out: from a line `sep=;`, or else from the header line.
    `id_column`: the name by which the header is known, if any.
    `has_header`: false if the first line is a row; columns have positions then, `last_position` is the highest used.
    `skip_first`: lines before the header, or the first row, that are not read.
    `max_columns`: an export of more is refused.
    """

    delimiter: bytes = b""
    quote: bytes = b'"'
    escape: bytes = b""
    escape_in: EscapeIn = "all"
    id_column: str | None = None
    has_header: bool = True
    last_position: int = 0
    skip_first: int = 0
    max_columns: int = MAX_COLUMNS


@dataclass(frozen=True, slots=True)
class Start:
    """The beginning of an export.

    `names`: of its columns; their positions if it has no header.
    `header`: the header as it was read, empty if it has none.
    `header_line`: the line of the header.
    `end`: the position of the first record.
    `behind`: the bytes already read from there on.
    `is_json`: its rows are JSON Lines, and `names` the paths of their keys.
    `is_columnar`: its text is the cells of a columnar file, see `CellFramer`.
    """

    dialect: Dialect
    names: list[str]
    header: bytes
    header_line: int
    end: Position
    behind: bytes
    is_json: bool = False
    is_columnar: bool = False


async def read_start(
    export: Export, layout: Layout, first: bytes, run_blocking: RunBlocking = to_thread.run_sync
) -> Start:
    """Read the beginning of an export of which nothing was read yet but its first block.

    A long line is cut and judged by `run_blocking`, outside the event loop.

    Raises `InputError` for an export without a header, `HeaderError` for a header that cannot be read.
    """
    head = await _Head.of(export, layout, first, run_blocking)
    begin = await _behind_skipped_lines(head, layout)
    first_row = await _behind_empty_lines(head, begin)
    if layout.has_header:
        begin = first_row
    head.leave(begin.offset)
    line = await head.line_at(begin.offset)
    if not layout.delimiter and not head.sep_line:
        if not any(each in line for each in DELIMITERS):
            line = await head.line_at(first_row.offset)
        name = layout.id_column if layout.has_header else None
        found = await head.pure(len(line), partial(detect_delimiter, id_column=name), line, head.dialect)
        head.dialect = replace(head.dialect, delimiter=found)
    await head.pure(len(line), check_number, line, head.dialect, layout.max_columns)
    return await (_with_header if layout.has_header else _without_header)(head, begin, layout)


class _Head:
    """The beginning of an export: the bytes from `offset` on that were read so far."""

    def __init__(self, export: Export, data: bytes, dialect: Dialect, run_blocking: RunBlocking) -> None:
        self.export = export
        self.offset = 0
        self.data = data
        self.dialect = dialect
        self.sep_line = b""
        self.is_at_end = False
        self._run_blocking = run_blocking

    @classmethod
    async def of(cls, export: Export, layout: Layout, first: bytes, run_blocking: RunBlocking) -> "_Head":
        """Read as much as it takes to find out what ends the lines."""
        dialect = Dialect(layout.delimiter, layout.quote, layout.escape, escape_in=layout.escape_in)
        head = cls(export, first, dialect, run_blocking)
        block = first
        while block and len(head.data) < SNIFFED_BYTES and b"\n" not in head.data:
            block = await head.read_more()
        head.is_at_end = not block
        head.dialect = replace(
            head.dialect,
            cr_ends_lines=ends_lines_with_cr(head.data),
            cr_lf_ends_lines=bool(layout.escape) and ends_lines_with_cr_lf(head.data, layout.escape),
        )
        return head

    async def pure(self, size_bytes: int, function: Callable[[Unpack[Arguments]], T], *args: *Arguments) -> T:
        """Run a pure function, outside the event loop if what it looks at has so many bytes."""
        return await run_if_large(self._run_blocking, size_bytes, function, *args)

    async def read_more(self) -> bytes:
        """The next bytes of the export, which are added to `data`; none at its end."""
        block = b"" if self.is_at_end else await self.export.read_block()
        self.is_at_end = not block
        self.data += block
        return block

    def leave(self, offset: int) -> None:
        """Forget what stands before this offset."""
        self.data, self.offset = self.data[offset - self.offset :], offset

    def since(self, start: int) -> bytes:
        """The bytes read so far from this offset on."""
        return self.data[start - self.offset :]

    async def line_end(self, start: int) -> int | None:
        """The offset behind the line at `start`; None if that line is longer than a record may be."""
        while True:
            if (found := self._line_feed(start - self.offset)) >= 0:
                return self.offset + found + 1
            if self.offset + len(self.data) - start > MAX_RECORD_BYTES:
                return None
            if not await self.read_more():
                return self.offset + len(self.data)

    def _line_feed(self, place: int) -> int:
        if not self.dialect.cr_ends_lines:
            return self.data.find(b"\n", place)
        # With the byte behind: an LF there belongs to the CR before it.
        line = self.data[place : place + MAX_RECORD_BYTES + 2]
        found = self.dialect.with_line_feeds(line, at_end=self.is_at_end).find(b"\n")
        return place + found if found >= 0 else found

    async def behind_line_ends(self, start: int, line: int) -> tuple[int, int]:
        """The offset behind the line ends at `start`, which is on `line`; and the number of the line there."""
        end = start
        while self.data[end - self.offset : end - self.offset + 1] in (b"\r", b"\n"):
            rest = self.since(end).lstrip(b"\r\n")
            end = self.offset + len(self.data) - len(rest)
            _check_emptiness(end - start)
            if not rest:
                await self.read_more()
        line_ends = self.data[start - self.offset : end - self.offset]
        return end, line + self.dialect.with_line_feeds(line_ends, at_end=True).count(b"\n")

    async def line_at(self, start: int) -> bytes:
        """The line at this offset, without its line end; of one that is too long, what was read."""
        end = await self.line_end(start)
        return self.data[start - self.offset : None if end is None else end - self.offset].rstrip(b"\r\n")


def _check_emptiness(size_bytes: int) -> None:
    if size_bytes > MAX_RECORD_BYTES:
        raise InputError(
            f"it begins with more than {MAX_RECORD_BYTES:,} bytes of lines in which nothing stands: no header was "
            "looked for behind them. Export it anew, without them."
        )


async def _behind_empty_lines(head: _Head, begin: Position) -> Position:
    """The position from there on of the first line that holds anything, behind its byte order mark; or `begin`."""
    offset, number = begin.offset, begin.line
    for _ in range(_MOST_EMPTY_LINES):
        offset, number = await head.behind_line_ends(offset, number)
        line, end = await head.line_at(offset), await head.line_end(offset)
        if not await head.pure(len(line), holds_nothing, line):
            return Position(offset + _size_of_marks(line), number)
        if end is None or end == offset:
            break
        offset, number = end, number + 1
        _check_emptiness(offset - begin.offset)
    return begin


def _size_of_marks(line: bytes) -> int:
    size = 0
    while line.startswith(BOM, size):
        size += len(BOM)
    return size


async def _behind_skipped_lines(head: _Head, layout: Layout) -> Position:
    """The position behind the lines that are not read: a line `sep=;`, and as many as the layout says."""
    offset, empty, skipped = _size_of_marks(head.data), 0, layout.skip_first
    begin = Position(offset) if skipped else await _behind_empty_lines(head, Position(offset))
    first = await head.line_at(begin.offset)
    if is_sep_line(first):
        offset, empty = begin.offset, begin.line - 1
        # A delimiter that is configured is the word of whoever knows the export.
        head.sep_line = first
        head.dialect = replace(head.dialect, delimiter=layout.delimiter or delimiter_of_sep_line(first))
        skipped = max(skipped, 1)
    for number in range(1, skipped + 1):
        end = await head.line_end(offset)
        if end is None:
            raise InputError(
                f"line {number}, which [export] skip_first leaves out, has more than {MAX_RECORD_BYTES:,} bytes.",
                line=number,
            )
        offset = end
        head.leave(offset)
    if skipped and head.data.startswith(BOM):
        offset += len(BOM)
    return Position(offset, 1 + empty + skipped)


async def _with_header(head: _Head, begin: Position, layout: Layout) -> Start:
    framer = Framer(head.dialect, start=begin)
    framed = await _first_records(head, begin, framer)
    data = head.data
    if not framed:
        is_are = "line that is" if begin.line == 2 else "lines that are"
        skipped = f" behind the {begin.line - 1:,} {is_are} skipped" if begin.line > 1 else ""
        path = printable(str(head.export.place))
        raise InputError(f"{path} is empty{skipped}: it has not even a header line.", line=begin.line)
    end = framer.position_of(framed[1].line) if len(framed) > 1 else framer.position
    first = framed[0]
    names = await head.pure(len(first.raw), partial(_names, sample=data), first, layout)
    return Start(head.dialect, names, first.raw, first.line, end, head.since(end.offset))


async def _without_header(head: _Head, begin: Position, layout: Layout) -> Start:
    framer = Framer(head.dialect, start=begin)
    framed = await _first_records(head, begin, framer)
    while not _has_record(framed) and len(head.data) <= MAX_RECORD_BYTES and (block := await head.read_more()):
        framed += await head.pure(len(block), framer.feed, block)
    if not _has_record(framed):
        framed += await head.pure(len(head.data), framer.finish)
    # An export without any row has no columns either: none is missing.
    widths = [len(record.fields) for record in framed if _is_row(record)]
    if widths and widths[0] > layout.max_columns:
        raise too_many(widths[0], layout.max_columns)
    names = positions(widths[0] if widths else layout.last_position)
    return Start(head.dialect, names, b"", begin.line, begin, head.since(begin.offset))


async def _first_records(head: _Head, begin: Position, framer: Framer) -> list[Record | BrokenLine]:
    """The first records, at least one if there is any; most headers are short, and those behind are not needed here."""
    data = head.since(begin.offset)
    framed = framer.feed(data[:SHORT_BYTES])
    if not framed:
        framed = await head.pure(len(data), framer.feed, data[SHORT_BYTES:])
    while not framed and (block := await head.read_more()):
        framed = await head.pure(len(head.data), framer.feed, block)
    return framed or await head.pure(len(head.data), framer.finish)


def _has_record(framed: list[Record | BrokenLine]) -> bool:
    return any(map(_is_row, framed))


def _is_row(record: Record | BrokenLine) -> TypeGuard[Record]:
    return isinstance(record, Record) and not (is_utf8(record.raw) and is_blank(record.fields))


def _names(first: Record | BrokenLine, layout: Layout, *, sample: bytes) -> list[str]:
    """The column names. Raises `HeaderError` where the first record cannot be a header.

    `sample`: bytes of the export.
    """
    if isinstance(first, BrokenLine):
        raise HeaderError(_broken(first), header=first.raw, line=first.line)
    if b"\0" in first.raw or not is_utf8(first.raw):
        raise HeaderError(_no_text(first.raw, layout.id_column, sample), header=first.raw, line=first.line)
    max_columns = layout.max_columns
    names = [column.decode() for column in first.fields]
    try:
        if len(names) > max_columns:
            raise too_many(len(names), max_columns)
        check_line_breaks(names)
    except HeaderError as error:
        raise HeaderError(str(error), header=first.raw, line=first.line) from None
    return names


def _no_text(header: bytes, id_column: str | None, sample: bytes) -> str:
    """The message for a first record that is not UTF-8 or holds a NUL."""
    if b"\0" in header or as_read(header) != header:
        what = "holds a NUL byte" if b"\0" in header else "is not in the encoding that is set"
        return (
            f"the header line {what}: set [export] encoding to the one it was written in, such as "
            '"windows-1252" or "utf-16-le", or write the export anew, as UTF-8.'
        )
    shown = header_line(header, id_column) if id_column is not None else b""
    return f"the header line is not UTF-8; {encoding_advice(sample, shown)}, or write the export anew, as UTF-8."


def _broken(first: BrokenLine) -> str:
    """The message for a first line that is no record."""
    told = f"the header line is broken ({first.reason}): "
    if b"\r" in first.raw:
        return (
            f"{told}it holds a CR, as the end of a line perhaps, in a file that has LF too: export it with LF or CR LF "
            "at the end of each line, or mend its quotes."
        )
    if first.reason is Reason.RECORD_TOO_LONG:
        return f"{told}it has more than {MAX_RECORD_BYTES:,} bytes. Are its lines ended with LF or CR LF?"
    return f"{told}mend its quotes, or set [export] quote to what encloses the names."
