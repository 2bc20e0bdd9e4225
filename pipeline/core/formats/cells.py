"""Frames the text that is made of a columnar file: its cells one after the other, with a NUL behind each.

Such a file has no lines: the line of a record is the number of its row, the first is 1. Nothing separates records: all
have the same number of cells. What a cell cannot hold as it is stands in it as bytes that UTF-8 does not have:

* a NUL of a value as `NUL_IN_CELL`;
* an array as `ARRAY` and its text in JSON, so that the rule for arrays is that of JSON Lines.

A reject's `raw` is the record as CSV would have it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.core.formats.blockframing import Framed, steps
from pipeline.core.formats.framing import MAX_RECORD_BYTES, START, BrokenLine, Position, Record
from pipeline.core.formats.json_lines import ArrayRule
from pipeline.core.formats.json_values import text_of, values_of
from pipeline.core.model import Offsets, Reason

#: The overlong forms of NUL and `[`, which no UTF-8 text holds.
NUL_IN_CELL, ARRAY = b"\xc0\x80", b"\xc1\x9b"
_IN_QUOTES = frozenset(b',"\r\n')


class CellFramer:
    """Frames the cells of a columnar file fed block by block, as `BlockFramer` does for CSV.

    `columns`: the number of cells in each record, at least one.
    `sent`: the indexes of those that are sent, the id first, which is no array of several values; without any, no array
    matters.
    `arrays`: the rule for arrays.
    """

    def __init__(
        self,
        columns: int,
        *,
        start: Position = START,
        max_record_bytes: int = MAX_RECORD_BYTES,
        sent: Sequence[int] = (),
        arrays: ArrayRule = "join",
    ) -> None:
        self._columns = columns
        #: Bytes of the cells of the longest record, with a NUL behind each.
        self._most_bytes = max_record_bytes + columns
        self._source = _Cells(sent, arrays, self._most_bytes, max_record_bytes)
        self._max_record_bytes = max_record_bytes
        #: The beginning of a record: what was fed and not framed yet, and how many cells end in it. Of one that is too
        #: long, no more is kept than tells that it is.
        self._pieces: list[bytes] = []
        self._kept_bytes = 0
        self._pending_cells = 0
        #: Bytes fed and not yet framed.
        self.pending_bytes = 0
        #: The position of the first byte that is not framed yet.
        self.position = start
        self._last_start = start
        self._last_ends: Offsets = np.zeros(0, dtype=np.int64)

    def position_of(self, line: int) -> Position:
        """The position of a record that the last `feed` framed, found by the number of its row."""
        before = line - self._last_start.line
        return Position(self._last_start.offset + (int(self._last_ends[before - 1]) if before else 0), line)

    def feed(self, block: bytes) -> Framed:
        """Add a block; return the records that are now complete."""
        nuls = _nuls(block)
        missing = self._columns - self._pending_cells
        if len(nuls) < missing:
            self._keep(block, len(nuls))
            return Framed.of([])
        first_end = self.pending_bytes + int(nuls[missing - 1]) + 1
        if first_end > self._most_bytes:
            # Not put together: it may be larger than what memory has.
            self._keep(block[: first_end - self.pending_bytes], missing)
            return self._frame(block[int(nuls[missing - 1]) + 1 :], first_end)
        return self._frame(b"".join([*self._pieces, block]))

    def _frame(self, buffer: bytes, first_bytes: int = 0) -> Framed:
        """Frame a buffer that begins with a record; with `first_bytes`, behind one of that size, which is too long."""
        first = [self._source.record(self.position.line, b"".join(self._pieces))] if first_bytes else []
        nuls = _nuls(buffer)
        ends = nuls[self._columns - 1 :: self._columns] + 1
        end = int(ends[-1]) if len(ends) else 0
        start, line = self.position, self.position.line + len(first)
        self._last_start = start
        self._last_ends = np.append([first_bytes], ends + first_bytes) if first else ends
        self.position = Position(start.offset + first_bytes + end, line + len(ends))
        self._pieces, self._kept_bytes, self.pending_bytes, self._pending_cells = [], 0, 0, 0
        self._keep(buffer[end:], len(nuls) - len(ends) * self._columns)
        lines = np.arange(line, line + len(ends), dtype=np.int64)
        framed = Framed(buffer[:end], ends, lines, [*first], source=self._source)
        is_odd = steps(ends) > self._most_bytes
        if ARRAY in buffer:
            marks = _places(buffer[:end], ARRAY)
            is_odd[np.searchsorted(ends, marks, side="right")] = True
        if not is_odd.any():
            return framed
        odd = framed.set_aside(is_odd, b",")
        return Framed(odd.data, odd.ends, odd.lines, [*map(self._bounded, odd.others)], source=self._source)

    def _keep(self, piece: bytes, cells: int) -> None:
        """Keep a piece of a record, as far as a reject shows it."""
        self.pending_bytes += len(piece)
        self._pending_cells += cells
        if (room := self._most_bytes + 1 - self._kept_bytes) > 0 and piece:
            self._pieces.append(piece[:room])
            self._kept_bytes += len(self._pieces[-1])

    def finish(self) -> Framed:
        """End the file; nothing is left but the beginning of a record of a file that was cut, which has failed."""
        return Framed.of([])

    def _bounded(self, record: Record | BrokenLine) -> Record | BrokenLine:
        if len(record.raw) <= self._max_record_bytes:
            return record
        return BrokenLine(record.line, record.raw[: self._max_record_bytes], Reason.RECORD_TOO_LONG)


class _Cells:
    """Makes records of cells."""

    def __init__(self, sent: Sequence[int], arrays: ArrayRule, most_bytes: int, max_record_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._max_record_bytes = max_record_bytes
        self._sent = frozenset(sent)
        self._id_index = sent[0] if sent else None
        self._arrays = arrays
        #: Records with arrays are never left as cells.
        self.joined: dict[int, int] = {}

    def raw(self, line: int, cells: bytes) -> bytes:
        """The record as CSV."""
        return self.record(line, cells).raw

    def record(self, line: int, cells: bytes) -> Record | BrokenLine:
        """The record; of one that is too long, `cells` may be the beginning."""
        if len(cells) > self._most_bytes:
            fields = cells[: self._max_record_bytes].split(b"\0")
            raw = b",".join(_as_csv(field.removeprefix(ARRAY).replace(NUL_IN_CELL, b"\0")) for field in fields)
            return BrokenLine(line, raw[: self._max_record_bytes], Reason.RECORD_TOO_LONG)
        fields = [field.replace(NUL_IN_CELL, b"\0") for field in cells[:-1].split(b"\0")]
        arrays = {place: found for place, field in enumerate(fields) if (found := _array_of(field)) is not None}
        for place in arrays:
            fields[place] = fields[place].removeprefix(ARRAY)
        raw = b",".join(map(_as_csv, fields))
        if not arrays:
            return Record(line, raw, fields, False)  # noqa: FBT003
        among = {place: array for place, array in arrays.items() if place in self._sent}
        if among and (self._arrays == "reject" or any(map(self._is_array, among.items()))):
            return BrokenLine(line, raw, Reason.ARRAY)
        if self._arrays != "join":
            return Record(line, raw, fields, False)  # noqa: FBT003
        fields = [text_of(arrays[place]).encode() if place in arrays else each for place, each in enumerate(fields)]
        return Record(line, raw, fields, False, sum(len(each) > 1 for each in among.values()))  # noqa: FBT003

    def _is_array(self, placed: tuple[int, list[Any]]) -> bool:
        """True if an array stands where the id should, and is more than one value in brackets."""
        place, values = placed
        return place == self._id_index and len(values) > (0 if self._arrays == "json" else 1)


def _array_of(field: bytes) -> list[Any] | None:
    """The array that a field is, or None."""
    found = values_of(b'{"":%b}' % field.removeprefix(ARRAY)) if field.startswith(ARRAY) else None
    return found[""] if found and isinstance(found[""], list) else None


def _as_csv(field: bytes) -> bytes:
    return field if _IN_QUOTES.isdisjoint(field) else b'"%b"' % field.replace(b'"', b'""')


def _nuls(text: bytes) -> Offsets:
    """The offsets of all NULs."""
    return np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == 0)


def _places(text: bytes, mark: bytes) -> Offsets:
    """The offsets of a mark of two bytes."""
    octets = np.frombuffer(text, dtype=np.uint8)
    return np.flatnonzero((octets[:-1] == mark[0]) & (octets[1:] == mark[1]))
