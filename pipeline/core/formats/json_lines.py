"""Reads JSON Lines, one object a line, as records: a key is a column, and its value a field.

* A nested key is named by its path, `address.city`. An object within an array is no path: it stays JSON.
* true and false are these words; null, and a key that is not there, mean no value; numbers are as they were written.
* An array is the texts of its values with `|` between them, and `Record.joined` counts them; or it is its JSON; or its
  line is broken: see `ArrayRule`.
* A line that holds no such object, or two values under one path, is broken. If a key stands in an object twice, the
  later counts, as everywhere in JSON. Lines of white space are no records.

Lines end with LF or CR LF, and values hold no raw line break, so the number of a line is that of an editor.

Lines that can be sent become cells, a block at once. The others become records by the letter, by `JsonFramer._record`,
which is what all of this means.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, compress
from operator import itemgetter
from typing import Any, Literal, TypeAlias

import numpy as np

from pipeline.core.formats.blockframing import Framed
from pipeline.core.formats.framing import BOM, MAX_RECORD_BYTES, START, BrokenLine, Position, Record, position_of_line
from pipeline.core.formats.json_values import (
    Values,
    exact_values_of_all,
    is_changed,
    json_of,
    text_of,
    texts_of,
    values_of,
    values_of_all,
)
from pipeline.core.formats.text_codec import is_utf8
from pipeline.core.model import Reason

_BLANK = b" \t\r\x1a"
_MARKS = re.compile(rb"\A(?:[ \t\r\x1a]|\xef\xbb\xbf)*")
#: Columns of an export, at most. Ours: more of them are no names but data, such as amounts by product.
MAX_COLUMNS = 1_000

#: The field of an array: the texts of its values, joined; its JSON; or none, since its line is broken.
ArrayRule = Literal["join", "json", "reject"]

_Row: TypeAlias = tuple[Any, ...]


class JsonFramer:
    """Frames JSON Lines fed block by block, as `BlockFramer` does for CSV.

    `columns`: the paths that the fields of a record stand for, in their order.
    `id_column`: the one of the id, which is no array of several values, and none at all where arrays are not joined;
    None if that does not matter.
    `arrays`: the rule for arrays.
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        start: Position = START,
        max_record_bytes: int = MAX_RECORD_BYTES,
        id_column: str | None = None,
        arrays: ArrayRule = "join",
    ) -> None:
        self._columns = columns
        self._pick: Callable[[Any], _Row] | None = itemgetter(*columns) if len(columns) > 1 else None
        self._id_column = id_column
        self._arrays = arrays
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
        return self._framed(self._lines(at_end=False))

    def finish(self) -> Framed:
        """End the file; return the record that only its end completes."""
        return self._framed(self._lines(at_end=True))

    def objects(self, block: bytes | None) -> Iterator[Values]:
        """The objects of the lines that a block completes, or the end of the file if it is None; broken lines apart.

        Their numbers may not be as written.
        """
        self._buffer += block or b""
        raws = [raw for _, raw in self._lines(at_end=block is None) if len(raw) <= self._max_record_bytes]
        return (values for values in values_of_all(raws) if values is not None)

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
        if len(buffer) > limit or BOM in buffer:
            cut = [(line, _stripped(raw) if len(raw) <= limit else raw[: limit + 1]) for line, raw in found]
        else:
            cut = [(line, raw.strip(_BLANK)) for line, raw in found]
        return [each for each in cut if each[1]]

    def _framed(self, lines: list[tuple[int, bytes]]) -> Framed:
        """The records of these lines: those that are plain as cells, the others by the letter."""
        raws = [raw for _, raw in lines]
        if len(self._last_buffer) > self._max_record_bytes:
            raws = [raw if len(raw) <= self._max_record_bytes else b"" for raw in raws]
        rows, with_arrays = self._plain(self._rows(raws))
        data = self._cells_of([row for row in rows if row is not None])
        if data is None:
            rows = [None if row is None or self._cells_of([row]) is None else row for row in rows]
            data = self._cells_of([row for row in rows if row is not None]) or b""
        others: list[Record | BrokenLine] = []
        numbers = [line for line, _ in lines]
        joined = {numbers[place]: sum(map(_is_joined, row)) for place in with_arrays if (row := rows[place])}
        if None in rows:
            others = [self._record(*line) for line, row in zip(lines, rows, strict=True) if row is None]
            numbers = [*compress(numbers, rows)]
        count = max(1, len(self._columns))
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == 0)[count - 1 :: count] + 1
        source = _Lines(self._record, dict(lines), joined if self._arrays == "join" else {})
        return Framed(data, ends, np.array(numbers, dtype=np.int64), others, source=source)

    def _rows(self, raws: list[bytes]) -> list[_Row | None]:
        """The values of the columns of each of these lines, numbers as written; None for a line that is broken."""
        rows = self._picked(values_of_all(raws))
        kinds = set(map(type, chain.from_iterable(filter(None, rows))))
        if kinds.isdisjoint((float, int, list)):
            return rows
        changed = [place for place, row in enumerate(rows) if row is not None and is_changed(row, raws[place])]
        if changed:
            exact = self._picked(exact_values_of_all([raws[place] for place in changed]))
            for place, row in zip(changed, exact, strict=True):
                rows[place] = row
        return rows

    def _picked(self, objects: list[Values | None]) -> list[_Row | None]:
        if self._pick is not None and None not in objects:
            try:
                return [*map(self._pick, objects)]
            except KeyError:
                pass
        columns = self._columns
        return [None if values is None else tuple(map(values.get, columns)) for values in objects]

    def _plain(self, rows: list[_Row | None]) -> tuple[list[_Row | None], list[int]]:
        """The rows, with None for those whose arrays matter and for empty ones; the indexes of those with arrays."""
        with_arrays = []
        if list in set(map(type, chain.from_iterable(filter(None, rows)))):
            with_arrays = [place for place, row in enumerate(rows) if row is not None and list in map(type, row)]
            for place in with_arrays:
                if not self._may_be_cells(rows[place] or ()):
                    rows[place] = None
        if not all(map(any, filter(None, rows))):
            rows = [row if row and any(row) else None for row in rows]
        return rows, with_arrays

    def _may_be_cells(self, row: _Row) -> bool:
        """True if a row with arrays is no row to reject for them, and has a value besides them."""
        if self._arrays == "reject" or not any(value for value in row if not isinstance(value, list)):
            return False
        ids = (value for column, value in zip(self._columns, row, strict=True) if column == self._id_column)
        return not any(map(self._is_array, ids))

    def _cells_of(self, rows: Sequence[_Row]) -> bytes | None:
        """The texts of rows, with a NUL behind each; None if a text holds one, or cannot be encoded."""
        columns = [texts_of(column, self._field) for column in zip(*rows, strict=True)]
        try:
            data = "\0".join(chain(chain.from_iterable(zip(*columns, strict=True)), [""])).encode()
        except (UnicodeEncodeError, RecursionError):
            return None
        return data if data.count(0) == len(rows) * len(columns) else None

    def _record(self, line: int, raw: bytes) -> Record | BrokenLine:
        if len(raw) > self._max_record_bytes:
            return BrokenLine(line, raw[: self._max_record_bytes], Reason.RECORD_TOO_LONG)
        values = values_of(raw)
        if values is None:
            return BrokenLine(line, raw, Reason.JSON_INVALID if is_utf8(raw) else Reason.INVALID_UTF8)
        try:
            fields = [self._field(values.get(column)).encode() for column in self._columns]
        except (UnicodeEncodeError, RecursionError):
            # Half of a surrogate pair, which is a character nowhere; or arrays within arrays without end.
            return BrokenLine(line, raw, Reason.JSON_INVALID)
        if b"\\u0000" in raw and any(b"\0" in field for field in fields):
            return BrokenLine(line, raw, Reason.NUL_BYTE)
        if not b"".join(fields).strip() and any(value not in (None, "") for value in values.values()):
            # It says nothing of what is asked for, but it is a row: only that nobody knows whose.
            return BrokenLine(line, raw, Reason.EMPTY_ID)
        if b"[" not in raw:
            return Record(line, raw, fields, False)  # noqa: FBT003
        if self._arrays == "reject" and any(isinstance(values.get(column), list) for column in self._columns):
            return BrokenLine(line, raw, Reason.ARRAY)
        if self._id_column is not None and self._is_array(values.get(self._id_column)):
            return BrokenLine(line, raw, Reason.JSON_INVALID)
        joined = sum(_is_joined(values.get(column)) for column in self._columns) if self._arrays == "join" else 0
        return Record(line, raw, fields, False, joined)  # noqa: FBT003

    def _field(self, value: Any) -> str:
        return json_of(value) if self._arrays == "json" and isinstance(value, list) else text_of(value)

    def _is_array(self, profile_id: Any) -> bool:
        return _is_joined(profile_id) or (self._arrays == "json" and isinstance(profile_id, list))


class _Lines:
    """The lines that cells were made of, by their numbers.

    `joined`: for lines with arrays, the number of those that are joined values.
    """

    def __init__(
        self, record: Callable[[int, bytes], Record | BrokenLine], raws: dict[int, bytes], joined: dict[int, int]
    ) -> None:
        self._record = record
        self._raws = raws
        self.joined = joined

    def raw(self, line: int, _cells: bytes) -> bytes:
        """The line."""
        return self._raws[line]

    def record(self, line: int, _cells: bytes) -> Record | BrokenLine:
        """The line, framed by the letter."""
        return self._record(line, self._raws[line])


def _stripped(raw: bytes) -> bytes:
    """A line without white space around it, and byte order marks before it: shards that were put together have them."""
    raw = raw.strip(_BLANK)
    return raw if not raw.startswith(BOM) else _MARKS.sub(b"", raw, count=1)


def _is_joined(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1


def add_columns(columns: dict[str, None], objects: Iterable[Values]) -> None:
    """Add the paths of these objects that are not among the columns yet."""
    for values in objects:
        if not values.keys() <= columns.keys():
            columns |= dict.fromkeys(values)
