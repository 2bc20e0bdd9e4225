"""Cuts the bytes of an export into records, each with the line number that an editor shows.

The rules are those of RFC 4180: a one-byte delimiter separates fields. A field that *begins* with a quote runs to the
next quote that is not doubled, and may hold delimiters and line breaks. Lines end with LF or CR LF. Empty lines are
skipped. A quote inside an unquoted field is literal. A `Dialect` may have another quote or none, an escape, and CR as
one more line end. Where RFC 4180 is silent, or the file breaks it:

* text after a closing quote, or a quote that does not close within `MAX_RECORD_BYTES` or the file, breaks only the
  *first line* of that record, and reading goes on at the next line: one stray quote never swallows the file;
* a record that does not end within `MAX_RECORD_BYTES` is broken in the same way, so memory is bounded;
* a CR without LF is data, unless the dialect says otherwise.

The result does not depend on how the file was cut into blocks.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.core.formats.dialect import Dialect
from pipeline.core.model import Reason

#: Bytes of the longest record, its line ending included; a longer one is broken. Ours: it bounds memory, and it limits
#: the search for the end of an unclosed quote to more than any real value is long.
MAX_RECORD_BYTES = 1_048_576

BOM = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """A well-formed record. `raw` has no final line ending, `fields` no enclosing quotes.

    `joined`: the fields that are several values of a JSON array, made one.
    """

    line: int
    raw: bytes
    fields: list[bytes]
    has_bare_quote: bool
    joined: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """A place at which reading can go on: byte `offset` of the export, on line `line`.

    `is_skipping`: the rest of that line belongs to a broken line, and is skipped.
    """

    offset: int = 0
    line: int = 1
    is_skipping: bool = False


#: The beginning of an export without a byte order mark.
START = Position()


class BrokenLine(NamedTuple):
    """A line that begins no well-formed record. `raw` has no line ending and at most `MAX_RECORD_BYTES` bytes."""

    line: int
    raw: bytes
    reason: Reason


class _NeedMore(Exception):  # noqa: N818 - not an error: the record goes on in the next block
    pass


class _Broken(Exception):  # noqa: N818 - control flow inside this module
    def __init__(self, reason: Reason) -> None:
        self.reason = reason


def position_of_line(buffer: bytes, start: Position, line: int) -> Position:
    """The position of a line in a buffer that begins at the line `start`.

    Every line feed ends a line, even in quotes or in a broken line; `buffer` has them for all line ends.
    """
    offset = 0
    for _ in range(line - start.line):
        offset = buffer.index(b"\n", offset) + 1
    return Position(start.offset + offset, line)


class Framer:
    """Frames an export fed block by block; holds at most one record and one block in memory."""

    def __init__(self, dialect: Dialect, *, start: Position = START, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._dialect = dialect
        self._delimiter, self._quote = dialect.delimiter, dialect.quote
        self._escapes = _Escapes(dialect) if dialect.escape else None
        # Those of cells without quotes too.
        self._escapes_everywhere = self._escapes if dialect.escape_in == "all" else None
        # A line that holds none of these is cut at its delimiters.
        self._quoting = _any_of(dialect.quoting) if dialect.quoting else None
        self._max_record_bytes = max_record_bytes
        self._offset = start.offset
        self._line = start.line
        self._skipping_line = start.is_skipping
        # What was fed, and the same with an LF for each line end: fields are searched in this, and taken from that.
        self._source = self._buffer = b""
        self._at_end = False
        self._last_start = start
        self._last_buffer = b""

    @property
    def position(self) -> Position:
        """The position of the first byte that is not framed yet."""
        return Position(self._offset, self._line, self._skipping_line)

    @property
    def pending_bytes(self) -> int:
        """Bytes fed and not yet framed: the beginning of a record."""
        return len(self._source)

    def position_of(self, line: int) -> Position:
        """The position of a record that the last `feed` or `finish` framed, found by its line number."""
        return position_of_line(self._last_buffer, self._last_start, line)

    def feed(self, block: bytes) -> list[Record | BrokenLine]:
        """Add a block; return the records that are now complete."""
        self._source += block
        return self._frame()

    def finish(self) -> list[Record | BrokenLine]:
        """End the file; return the records that only its end completes."""
        self._at_end = True
        return self._frame()

    def frame_one(self, buffer: bytes, start: int, line: int) -> tuple[Record | BrokenLine, int] | None:
        """Frame the record at `start` of a buffer that was not fed; return it, and the offset of the next record.

        `buffer`: at most as long as a record may be.
        `start`: the offset of a record that is not empty.
        `line`: the line number of that record.

        Returns None if the buffer ends before the record does. A framer used in this way frames nothing else.
        """
        if buffer is not self._source:
            self._source, self._buffer = buffer, self._dialect.with_line_feeds(buffer)
        self._line = line
        framed: list[Record | BrokenLine] = []
        try:
            end = self._frame_slowly(start, self._buffer.find(b"\n", start), framed)
        except _NeedMore:
            return None
        return framed[0], end

    def _frame(self) -> list[Record | BrokenLine]:
        framed: list[Record | BrokenLine] = []
        buffer = self._buffer = self._dialect.with_line_feeds(self._source, at_end=self._at_end)
        self._last_start, self._last_buffer = self.position, buffer
        delimiter, quoting, max_bytes = self._delimiter, self._quoting, self._max_record_bytes
        start = self._skip_line(0) if self._skipping_line else 0
        while start < len(buffer) and not self._skipping_line:
            line_end = buffer.find(b"\n", start)
            if line_end < 0 or line_end - start >= max_bytes or (quoting and quoting.search(buffer, start, line_end)):
                if line_end < 0 and self._is_unfinished(start):
                    break
                try:
                    start = self._frame_slowly(start, line_end, framed)
                except _NeedMore:
                    break
                continue
            line = buffer[start : line_end - 1 if buffer[line_end - 1 : line_end] == b"\r" else line_end]
            if line:
                framed.append(Record(self._line, line, line.split(delimiter), False))  # noqa: FBT003
            self._line += 1
            start = line_end + 1
        self._source = self._source[start:]
        self._offset += start
        return framed

    def _is_unfinished(self, start: int) -> bool:
        """True if a line without quotes begins here and goes on in the next block."""
        is_short = len(self._buffer) - start <= self._max_record_bytes
        return is_short and not self._at_end and not (self._quoting and self._quoting.search(self._buffer, start))

    def _frame_slowly(self, start: int, line_end: int, framed: list[Record | BrokenLine]) -> int:
        """Frame the record at `start` by the full rules; return the offset of what follows. Raises `_NeedMore`."""
        try:
            fields, end, has_bare_quote = self._parse(start)
        except _Broken as broken:
            self._reject_line(start, line_end, broken.reason, framed)
            return self._skip_line(start)
        raw = self._source[start:end]
        if raw:
            framed.append(Record(self._line, raw, fields, has_bare_quote))
        self._line += self._buffer.count(b"\n", start, end) + 1
        return self._buffer.find(b"\n", end) + 1 or len(self._buffer)

    def _parse(self, start: int) -> tuple[list[bytes], int, bool]:
        """Parse the record at `start`: its fields, its end before the line ending, and True if it has a bare quote.

        Raises `_NeedMore`, or `_Broken` with the reason.
        """
        buffer, quote, limit = self._buffer, self._quote, start + self._max_record_bytes
        fields: list[bytes] = []
        has_bare_quote = False
        position = start
        line_end = buffer.find(b"\n", start, limit)
        while True:
            if position >= limit:
                self._need(limit)
                if len(buffer) > limit:
                    raise _Broken(Reason.RECORD_TOO_LONG)
            if 0 <= line_end < position:
                line_end = buffer.find(b"\n", position, limit)
            if quote and buffer[position : position + 1] == quote:
                close = self._closing_quote(position + 1, limit)
                fields.append(self._unquoted_content(self._source[position + 1 : close]))
                position = close + 1
            else:
                end = self._end_of_unquoted(position, line_end, limit)
                field = self._source[position:end]
                if self._escapes_everywhere is not None:
                    has_bare_quote = has_bare_quote or self._escapes_everywhere.has_bare_quote(field)
                    field = self._escapes_everywhere.resolve(field)
                else:
                    has_bare_quote = has_bare_quote or (bool(quote) and quote in field)
                fields.append(field)
                position = end
            if self._is_record_end(position, limit):
                return fields, position, has_bare_quote
            position += 1

    def _unquoted_content(self, content: bytes) -> bytes:
        """The value of a field whose quotes enclose `content`."""
        if self._escapes is not None:
            return self._escapes.resolve_quoted(content)
        return content.replace(self._quote * 2, self._quote)

    def _closing_quote(self, position: int, limit: int) -> int:
        """The offset of the quote that closes the field whose content begins at `position`."""
        buffer, escapes = self._buffer, self._escapes
        while True:
            if escapes is not None:
                position = self._behind_escapes(position, limit, escapes.or_quote)
            close = buffer.find(self._quote, position, limit)
            if close < 0:
                self._need(limit)
                raise _Broken(Reason.QUOTE_UNCLOSED)
            self._need(close + 1)
            if buffer[close + 1 : close + 2] != self._quote:
                return close
            position = close + 2

    def _behind_escapes(self, position: int, limit: int, stops: "re.Pattern[bytes]") -> int:
        """The offset behind the last escape before the first other stop; `stops` finds both."""
        escapes = self._escapes
        while (
            escapes is not None
            and (found := stops.search(self._buffer, position, limit))
            and found[0] == escapes.escape
        ):
            self._need(found.end())
            position = found.end() + (self._buffer[found.end() : found.end() + 1] in escapes.escaped)
            if escapes.takes_cr_lf and self._buffer[found.end() : position] == b"\r":
                self._need(position)
                position += self._buffer[position : position + 1] == b"\n"
        return position

    def _end_of_unquoted(self, position: int, line_end: int, limit: int) -> int:
        """The end of an unquoted field: before a delimiter, a line ending or the end of the file.

        `line_end`: the offset of the next line feed from `position` on, or -1 if there is none before `limit`.
        """
        buffer = self._buffer
        if self._escapes_everywhere is not None:
            position = self._behind_escapes(position, limit, self._escapes_everywhere.or_end)
            line_end = buffer.find(b"\n", position, limit)
        end = buffer.find(self._delimiter, position, limit if line_end < 0 else line_end)
        if end < 0:
            if line_end < 0:
                self._need(limit)
                if len(buffer) > limit:
                    raise _Broken(Reason.RECORD_TOO_LONG)
            end = len(buffer) if line_end < 0 else line_end
            if end > position and buffer[end - 1 : end] == b"\r":
                end -= 1
        return end

    def _is_record_end(self, position: int, limit: int) -> bool:
        """True if the record ends here, False if a delimiter follows. Raises `_Broken` for text after a quote."""
        buffer = self._buffer
        self._need(position)
        if position >= limit and position < len(buffer):
            raise _Broken(Reason.RECORD_TOO_LONG)
        following = buffer[position : position + 1]
        if following == self._delimiter:
            return False
        if following == b"\r":
            self._need(position + 1)
            following = buffer[position + 1 : position + 2]
            if following == b"\n" and position + 1 >= limit:
                raise _Broken(Reason.RECORD_TOO_LONG)
        if following in (b"", b"\n"):
            return True
        raise _Broken(Reason.TEXT_AFTER_QUOTE)

    def _need(self, position: int) -> None:
        """Raise `_NeedMore` unless the byte at `position` is in the buffer, or the file ends before it."""
        if position >= len(self._buffer) and not self._at_end:
            raise _NeedMore

    def _reject_line(self, start: int, line_end: int, reason: Reason, framed: list[Record | BrokenLine]) -> None:
        if line_end < 0:
            self._need(start + self._max_record_bytes)
            line_end = len(self._buffer)
        raw = self._source[start:line_end].removesuffix(b"\r")[: self._max_record_bytes]
        framed.append(BrokenLine(self._line, raw, reason))

    def _skip_line(self, start: int) -> int:
        """The offset of the next line. If the line goes on in the next block, its rest there is skipped too."""
        line_end = self._buffer.find(b"\n", start)
        self._skipping_line = line_end < 0
        if line_end < 0:
            # Only the next block tells if a CR at the end of this one ends the line.
            is_half = self._dialect.cr_ends_lines and not self._at_end and self._buffer.endswith(b"\r")
            return len(self._buffer) - is_half
        self._line += 1
        return line_end + 1


class _Escapes:
    """The escapes of a dialect.

    `escaped`: the bytes that the escape takes literally.
    `takes_cr_lf`: it takes a CR LF as one.
    `or_quote`, `or_end`: find the escape, or a quote; the escape, or what ends an unquoted field.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.escape = dialect.escape
        self.escaped = {bytes([byte]) for byte in dialect.escapable}
        self.takes_cr_lf = dialect.escapes_cr_lf
        self.or_quote = _any_of(dialect.quoting)
        self.or_end = _any_of(dialect.delimiter + b"\n" + dialect.escape)
        self._quote = dialect.quote
        pair = re.escape(dialect.escape) + b"([" + re.escape(b"".join(sorted(self.escaped))) + b"])"
        self._pair = re.compile(pair)
        self._pair_or_doubled = re.compile(pair + b"|" + re.escape(dialect.quote * 2)) if dialect.quote else self._pair

    def resolve(self, field: bytes) -> bytes:
        """The value of an unquoted field."""
        return self._pair.sub(rb"\1", field) if self.escape in field else field

    def resolve_quoted(self, content: bytes) -> bytes:
        """The value of a field whose quotes enclose `content`."""
        if self.escape not in content:
            return content.replace(self._quote * 2, self._quote)
        return self._pair_or_doubled.sub(lambda found: found[1] or self._quote, content)

    def has_bare_quote(self, field: bytes) -> bool:
        """True if an unquoted field holds a quote that is not escaped."""
        return bool(self._quote) and self._quote in field and self._quote in self._pair.sub(b"", field)


def _any_of(characters: bytes) -> "re.Pattern[bytes]":
    return re.compile(b"[" + re.escape(characters) + b"]")
