"""Cuts the bytes of an export into records, each with the line number an editor shows.

RFC 4180: fields are separated by a one-byte delimiter; a field that *begins* with a quote runs to the next quote that
is not doubled, and may hold delimiters and line breaks; lines end with LF or CR LF; empty lines are skipped.
A quote inside an unquoted field is literal. Where RFC 4180 is silent or broken by the file:

* text after a closing quote, or a quote that does not close within `MAX_RECORD_BYTES` or the file, makes only the
  *first line* of that record broken, and reading goes on at the next line: one stray quote never swallows the file;
* a record that does not end within `MAX_RECORD_BYTES` is broken in the same way, so memory is bounded;
* a CR that no LF follows is data.

The result does not depend on how the file was cut into blocks.
"""

import re
from typing import NamedTuple

from pipeline.core.model import Reason

#: A record longer than this is broken (bytes, counted from its first byte). Ours: it bounds memory and keeps an
#: unclosed quote from being looked for further than any real value is long.
MAX_RECORD_BYTES = 1_048_576

#: Tried in this order where the delimiter is to be found out.
DELIMITERS = (b",", b";", b"\t", b"|")

BOM = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """A well-formed record. `raw` has no final line ending, `fields` no enclosing quotes."""

    line: int
    raw: bytes
    fields: list[bytes]
    has_bare_quote: bool


class BrokenLine(NamedTuple):
    """A line that starts no well-formed record. `raw` has no line ending and at most `MAX_RECORD_BYTES`."""

    line: int
    raw: bytes
    reason: Reason


def detect_delimiter(head: bytes) -> bytes:
    """The likeliest delimiter, judged by the first non-empty line outside quotes; a comma if there is none."""
    first_line = head.lstrip(b"\r\n").split(b"\n", 1)[0]
    unquoted = re.sub(rb'"[^"]*"', b"", first_line)
    return max(DELIMITERS, key=unquoted.count)


class _NeedMore(Exception):  # noqa: N818 - not an error: the record goes on in the next block
    pass


class _Broken(Exception):  # noqa: N818 - control flow inside this module
    def __init__(self, reason: Reason) -> None:
        self.reason = reason


class Framer:
    """Frames an export fed block by block; holds at most one record and one block in memory."""

    def __init__(self, delimiter: bytes, *, line: int = 1) -> None:
        self._delimiter = delimiter
        self._line = line
        self._buffer = b""
        self._at_end = False
        self._skipping_line = False

    @property
    def pending_bytes(self) -> int:
        """Bytes fed and not yet framed: the beginning of a record."""
        return len(self._buffer)

    def feed(self, block: bytes) -> list[Record | BrokenLine]:
        """The records that are whole after this block."""
        self._buffer += block
        return self._frame()

    def finish(self) -> list[Record | BrokenLine]:
        """The records that only the end of the file completes."""
        self._at_end = True
        return self._frame()

    def _frame(self) -> list[Record | BrokenLine]:
        framed: list[Record | BrokenLine] = []
        buffer, delimiter = self._buffer, self._delimiter
        start = self._skip_line(0) if self._skipping_line else 0
        while start < len(buffer):
            line_end = buffer.find(b"\n", start)
            if line_end < 0 or line_end - start > MAX_RECORD_BYTES or buffer.find(b'"', start, line_end) >= 0:
                try:
                    start = self._frame_slowly(start, line_end, framed)
                except _NeedMore:
                    break
                continue
            line = buffer[start : line_end - 1 if buffer[line_end - 1 : line_end] == b"\r" else line_end]
            if line_end > start and line:
                framed.append(Record(self._line, line, line.split(delimiter), False))  # noqa: FBT003
            self._line += 1
            start = line_end + 1
        self._buffer = buffer[start:]
        return framed

    def _frame_slowly(self, start: int, line_end: int, framed: list[Record | BrokenLine]) -> int:
        """Frame what starts at `start` by the letter; the start of what follows. Raises `_NeedMore`."""
        try:
            fields, end, has_bare_quote = self._parse(start)
        except _Broken as broken:
            return self._reject_line(start, line_end, broken.reason, framed)
        buffer = self._buffer
        following = buffer.find(b"\n", end) + 1 or len(buffer)
        raw = buffer[start:end]
        if raw:
            framed.append(Record(self._line, raw, fields, has_bare_quote))
        self._line += raw.count(b"\n") + 1
        return following

    def _parse(self, start: int) -> tuple[list[bytes], int, bool]:
        """Fields of the record at `start`, where it ends (before its line ending), and if it has a bare quote."""
        buffer, delimiter, limit = self._buffer, self._delimiter, start + MAX_RECORD_BYTES
        fields: list[bytes] = []
        has_bare_quote = False
        position = start
        while True:
            if buffer[position : position + 1] == b'"':
                close = self._closing_quote(position + 1, limit)
                fields.append(buffer[position + 1 : close].replace(b'""', b'"'))
                position = close + 1
                ends = self._is_record_end(position, after_quote=True)
            else:
                field, position = self._unquoted(position, limit)
                has_bare_quote = has_bare_quote or b'"' in field
                fields.append(field)
                ends = self._is_record_end(position, after_quote=False)
            if position > limit:
                raise _Broken(Reason.RECORD_TOO_LONG)
            if ends:
                return fields, position, has_bare_quote
            position += len(delimiter)

    def _closing_quote(self, position: int, limit: int) -> int:
        buffer = self._buffer
        while True:
            close = buffer.find(b'"', position, limit)
            if close < 0:
                if len(buffer) < limit and not self._at_end:
                    raise _NeedMore
                raise _Broken(Reason.QUOTE_UNCLOSED)
            if close + 1 == len(buffer) and not self._at_end:
                raise _NeedMore
            if buffer[close + 1 : close + 2] != b'"':
                return close
            position = close + 2

    def _unquoted(self, position: int, limit: int) -> tuple[bytes, int]:
        """An unquoted field and where it ends: at a delimiter, a line ending or the end of the file."""
        buffer = self._buffer
        line_end = buffer.find(b"\n", position, limit + 2)
        stop = line_end if line_end >= 0 else min(len(buffer), limit + 2)
        end = buffer.find(self._delimiter, position, stop)
        if end < 0:
            if line_end < 0 and len(buffer) < limit + 2 and not self._at_end:
                raise _NeedMore
            end = stop
            if end > position and buffer[end - 1 : end] == b"\r" and (line_end >= 0 or end == len(buffer)):
                end -= 1
        return buffer[position:end], end

    def _is_record_end(self, position: int, *, after_quote: bool) -> bool:
        """Whether the record ends here; False where a delimiter stands. Raises for text after a quote."""
        following = self._buffer[position : position + 2]
        if following[:1] == self._delimiter:
            return False
        if len(following) < 2 and following != b"\n" and not self._at_end:
            raise _NeedMore
        if following in (b"", b"\r", b"\r\n") or following[:1] == b"\n":
            return True
        raise _Broken(Reason.TEXT_AFTER_QUOTE if after_quote else Reason.RECORD_TOO_LONG)

    def _reject_line(self, start: int, line_end: int, reason: Reason, framed: list[Record | BrokenLine]) -> int:
        buffer = self._buffer
        end = line_end if line_end >= 0 else len(buffer)
        raw = buffer[start : min(end, start + MAX_RECORD_BYTES)]
        framed.append(BrokenLine(self._line, raw.removesuffix(b"\r"), reason))
        return self._skip_line(start)

    def _skip_line(self, start: int) -> int:
        """The start of the next line; what is left of a line that goes on in the next block is skipped too."""
        line_end = self._buffer.find(b"\n", start)
        self._skipping_line = line_end < 0
        if line_end < 0:
            return len(self._buffer)
        self._line += 1
        return line_end + 1
