"""Reads JSON Lines, one object a line, as records: a key is a column, and its value a field.

* A nested key is named by its path, `address.city`. An object within an array is no path: it stays JSON.
* true and false are these words; null, and a key that is not there, mean no value; numbers are as they were written.
* An array is the texts of its values with `|` between them; `Record.joined` counts them.
* A line that holds no such object, or two values under one path, is broken. If a key stands in an object twice, the
  later counts, as everywhere in JSON. Lines of white space are no records.

Lines end with LF or CR LF, and values hold no raw line break, so the number of a line is that of an editor.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from pipeline.core.formats.blockframing import Framed
from pipeline.core.formats.framing import BOM, MAX_RECORD_BYTES, START, BrokenLine, Position, Record, position_of_line
from pipeline.core.formats.text_codec import is_utf8
from pipeline.core.model import Reason

_BLANK = b" \t\r\x1a"
_MARKS = re.compile(rb"\A(?:[ \t\r\x1a]|\xef\xbb\xbf)*")
#: Between the values of an array.
JOINT = "|"
#: Columns of an export, at most. Ours: more of them are no names but data, such as amounts by product.
MAX_COLUMNS = 1_000
#: What precedes a number that is not the same after it was read: one with a fraction, an exponent, a minus before a
#: zero, or 18 digits. It may stand in a text too: that costs time only.
_KEPT_NUMBER = re.compile(rb"[:,\[]\s*(?:-0|-?[0-9]+[.eE]|-?[0-9]{18})")


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_EXACT = json.JSONDecoder(parse_float=_Number, parse_int=_Number, parse_constant=_refuse)


class JsonFramer:
    """Frames JSON Lines fed block by block, as `BlockFramer` does for CSV.

    `columns`: the paths that the fields of a record stand for, in their order.
    `id_column`: the one of the id, which is no array of several values; None if that does not matter.
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        start: Position = START,
        max_record_bytes: int = MAX_RECORD_BYTES,
        id_column: str | None = None,
    ) -> None:
        self._columns = columns
        self._id_column = id_column
        self._max_record_bytes = max_record_bytes
        self._buffer = b""
        #: The position of the first byte that is not framed yet.
        self.position = start
        self._last_start, self._last_buffer = start, b""

    @property
    def pending_bytes(self) -> int:
        """Bytes fed and not yet framed: the beginning of a line."""
        return len(self._buffer)

    def position_of(self, line: int) -> Position:
        """The position of a record that the last `feed` or `finish` framed, found by its line number."""
        return position_of_line(self._last_buffer, self._last_start, line)

    def feed(self, block: bytes) -> Framed:
        """Add a block; return the records that are now complete."""
        self._buffer += block
        return Framed.of([self._record(line, raw) for line, raw in self._lines(at_end=False)])

    def finish(self) -> Framed:
        """End the file; return the record that only its end completes."""
        return Framed.of([self._record(line, raw) for line, raw in self._lines(at_end=True)])

    def objects(self, block: bytes | None) -> Iterator[dict[str, Any]]:
        """The objects of the lines that a block completes, or the end of the file if it is None; broken lines apart."""
        self._buffer += block or b""
        for _, raw in self._lines(at_end=block is None):
            values = _values_of(raw) if len(raw) <= self._max_record_bytes else None
            if values is not None:
                yield values

    def _lines(self, *, at_end: bool) -> list[tuple[int, bytes]]:
        """The lines that are complete, with their numbers; of one that is too long, the beginning, a byte too much."""
        buffer, start, limit = self._buffer, self.position, self._max_record_bytes
        self._last_start, self._last_buffer = start, buffer
        lines = buffer.split(b"\n")
        rest = lines.pop()
        found = list(enumerate(lines, start.line))
        if start.is_skipping:
            del found[:1]
        next_line, is_skipping = start.line + len(lines), start.is_skipping and not lines
        if not is_skipping and rest and (at_end or len(rest) > limit):
            found.append((next_line, rest))
            next_line, is_skipping = next_line + at_end, not at_end
            rest = b""
        self._buffer = b"" if is_skipping else rest
        self.position = Position(start.offset + len(buffer) - len(self._buffer), next_line, is_skipping)
        cut = ((line, _stripped(raw) if len(raw) <= limit else raw[: limit + 1]) for line, raw in found)
        return [(line, raw) for line, raw in cut if raw]

    def _record(self, line: int, raw: bytes) -> Record | BrokenLine:
        if len(raw) > self._max_record_bytes:
            return BrokenLine(line, raw[: self._max_record_bytes], Reason.RECORD_TOO_LONG)
        values = _values_of(raw)
        if values is None:
            return BrokenLine(line, raw, Reason.JSON_INVALID if is_utf8(raw) else Reason.INVALID_UTF8)
        try:
            fields = [_text(values.get(column)).encode() for column in self._columns]
        except (UnicodeEncodeError, RecursionError):
            # Half of a surrogate pair, which is a character nowhere; or arrays within arrays without end.
            return BrokenLine(line, raw, Reason.JSON_INVALID)
        if b"\\u0000" in raw and any(b"\0" in field for field in fields):
            return BrokenLine(line, raw, Reason.NUL_BYTE)
        if not b"".join(fields).strip() and any(value not in (None, "") for value in values.values()):
            # It says nothing of what is asked for, but it is a row: only that nobody knows whose.
            return BrokenLine(line, raw, Reason.EMPTY_ID)
        if self._id_column is not None and _is_joined(values.get(self._id_column)):
            return BrokenLine(line, raw, Reason.JSON_INVALID)
        joined = sum(_is_joined(values.get(column)) for column in self._columns) if b"[" in raw else 0
        return Record(line, raw, fields, False, joined)  # noqa: FBT003


def _stripped(raw: bytes) -> bytes:
    """A line without white space around it, and byte order marks before it: shards that were put together have them."""
    raw = raw.strip(_BLANK)
    return raw if not raw.startswith(BOM) else _MARKS.sub(b"", raw, count=1)


def _is_joined(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1


def add_columns(columns: dict[str, None], objects: Iterable[dict[str, Any]]) -> None:
    """Add the paths of these objects that are not among the columns yet."""
    for values in objects:
        if not values.keys() <= columns.keys():
            columns |= dict.fromkeys(values)


def _values_of(raw: bytes) -> dict[str, Any] | None:
    """The values of the object on a line by their paths, or None if it holds no object."""
    try:
        value = _EXACT.decode(raw.decode()) if _KEPT_NUMBER.search(raw) else orjson.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return _flat(value) if dict in map(type, value.values()) else value


def _flat(value: dict[str, Any]) -> dict[str, Any] | None:
    """The values of nested objects by their paths; None where two values have the same."""
    found: dict[str, Any] = {}
    levels = [("", value)]
    for prefix, nested in levels:
        for key, each in nested.items():
            path = prefix + key
            if isinstance(each, dict):
                levels.append((f"{path}.", each))
            elif path in found:
                return None
            else:
                found[path] = each
    return found


def _text(value: Any) -> str:
    """A value as a field has it."""
    kind = type(value)
    if kind is str or kind is _Number:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return str(value)
    if value is None:
        return ""
    if kind is list:
        return JOINT.join(_json(each) if isinstance(each, dict | list) else _text(each) for each in value)
    return _json(value)


def _json(value: Any) -> str:
    """A value as JSON, in which numbers are as they were written."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json(key)}:{_json(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return value if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)
