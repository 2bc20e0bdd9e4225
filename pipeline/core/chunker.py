"""The open batch: rolls rows into batches strictly under both caps, and merges rows of the same id.

`take` fills the open batch as far as the caps allow; the caller seals it when the next row does not fit. Every
batch but a job's last is therefore filled to within one row of a cap. An id stands in a batch at most once: a later
row of it merges into the earlier one, which is superseded. Rows are left to the caller to hold:

* those whose id is in flight in another batch (the caller says which);
* one whose id is another than the one with the same hash in the open batch (a collision), and
* one whose merge would break `max_bytes`; then the batch is full, and so are later rows of ids already in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.core.encoding import merge
from pipeline.core.idtable import IdTable
from pipeline.core.model import BatchContent, Flags, Hashes, Offsets, Rows

_FIRST_CAPACITY = 4_096


@dataclass(frozen=True, slots=True)
class Taken:
    """What the open batch took of a list of rows: all up to row `stop` but those in `to_hold`.

    `superseded` rows of it, or of rows taken before, merged into a later one. `is_full`: seal before going on.
    """

    stop: int
    superseded: int
    to_hold: list[int]
    is_full: bool


class Chunker:
    """The open batch of a job; `body_start` is `batch=` and the header row."""

    def __init__(self, body_start: bytes, *, max_bytes: int, max_rows: int) -> None:
        self._body_start = body_start
        self._max_bytes = max_bytes
        self._max_rows = max_rows
        self._table = IdTable()
        self._capacity = _FIRST_CAPACITY
        self._ends: Offsets = np.zeros(_FIRST_CAPACITY, dtype=np.int64)
        self._lines: Offsets = np.zeros(_FIRST_CAPACITY, dtype=np.int64)
        self._hashes: Hashes = np.zeros(_FIRST_CAPACITY, dtype=np.uint64)
        self._start_anew()

    def _start_anew(self) -> None:
        self.rows = 0
        self.size_bytes = len(self._body_start)
        self._body = bytearray(self._body_start)
        self._replaced: dict[int, bytes] = {}
        self._table.clear()

    def take(self, rows: Rows, first: int, is_in_flight: Flags) -> Taken:
        """Take rows from row `first` on until one does not fit; with `stop == first` not even one did.

        `is_in_flight` says of each row from `first` on, shape (len(rows) - first,), whether it must be held.
        """
        hashes = rows.hashes[first:]
        found = self._table.find(hashes)
        is_new = (found < 0) & ~is_in_flight & _is_first(hashes)
        sizes = np.where(is_new, rows.ends[first:] - rows.starts[first:], 0)
        fits = (np.cumsum(sizes) <= self._max_bytes - self.size_bytes) & (
            np.cumsum(is_new) <= self._max_rows - self.rows
        )
        count = len(fits) if fits.all() else int(fits.argmin())
        stop = first + count
        self._append(rows, first, is_new[:count])
        superseded = 0
        to_hold: list[int] = (first + np.flatnonzero(is_in_flight[:count])).tolist()
        is_full = False
        again = first + np.flatnonzero(~is_new[:count] & ~is_in_flight[:count])
        numbers = self._table.find(rows.hashes[again])
        for index, number in zip(again.tolist(), numbers.tolist(), strict=True):
            if is_full or self._is_collision(rows, index, number):
                to_hold.append(index)
            elif self._merge(rows, index, number):
                superseded += 1
            else:
                is_full = True
                to_hold.append(index)
        return Taken(stop, superseded, to_hold, is_full)

    def seal(self) -> BatchContent:
        """The rows of the open batch; a new one is begun."""
        content = BatchContent(
            pieces=list(self._pieces()),
            rows=self.rows,
            size_bytes=self.size_bytes,
            hashes=np.sort(self._hashes[: self.rows]),
            lines=self._lines[: self.rows].copy(),
        )
        self._start_anew()
        return content

    def _append(self, rows: Rows, first: int, is_new: Flags) -> None:
        """Append the new ones of `len(is_new)` rows from row `first` on."""
        taken = first + np.flatnonzero(is_new)
        if not len(taken):
            return
        starts, ends = rows.starts[taken], rows.ends[taken]
        gaps = np.flatnonzero(np.diff(taken) != 1)
        runs = zip(starts[[0, *(gaps + 1)]].tolist(), ends[[*gaps, -1]].tolist(), strict=True)
        body = memoryview(rows.body)
        for start, end in runs:
            self._body += body[start:end]
        sizes = ends - starts
        last = self.rows + len(taken)
        self._reserve(last)
        end_so_far = int(self._ends[self.rows - 1]) if self.rows else len(self._body_start)
        self._ends[self.rows : last] = end_so_far + np.cumsum(sizes)
        self._lines[self.rows : last] = rows.lines[taken]
        self._hashes[self.rows : last] = rows.hashes[taken]
        self._table.insert(rows.hashes[taken], np.arange(self.rows, last, dtype=np.int32))
        self.rows = last
        self.size_bytes += int(sizes.sum())

    def _is_collision(self, rows: Rows, index: int, number: int) -> bool:
        """Whether the row of the open batch with the same hash has another id."""
        return self._text(number).partition(b",")[0] != rows.text(index).partition(b",")[0]

    def _merge(self, rows: Rows, index: int, number: int) -> bool:
        """Merge a row into the one of its id; False, and nothing done, if the batch would grow too large."""
        earlier = self._text(number)
        merged = merge(earlier, rows.text(index))
        growth = len(merged) - len(earlier)
        if self.size_bytes + growth > self._max_bytes:
            return False
        self.size_bytes += growth
        self._replaced[number] = merged
        self._lines[number] = rows.lines[index]
        return True

    def _text(self, number: int) -> bytes:
        replaced = self._replaced.get(number)
        return bytes(self._body[self._span(number)]) if replaced is None else replaced

    def _span(self, number: int) -> slice:
        start = int(self._ends[number - 1]) if number else len(self._body_start)
        return slice(start, int(self._ends[number]))

    def _pieces(self) -> Iterator[bytes | memoryview]:
        """The body: what lies between merged rows as it was appended, and the merged rows."""
        body = memoryview(self._body)
        written = 0
        for number in sorted(self._replaced):
            span = self._span(number)
            yield body[written : span.start]
            yield self._replaced[number]
            written = span.stop
        yield body[written:]

    def _reserve(self, rows: int) -> None:
        """Make room for so many rows in the arrays."""
        while self._capacity < rows:
            self._capacity = min(2 * self._capacity, max(self._max_rows, 2 * _FIRST_CAPACITY))
            self._ends.resize(self._capacity, refcheck=False)
            self._lines.resize(self._capacity, refcheck=False)
            self._hashes.resize(self._capacity, refcheck=False)


def _is_first(hashes: Hashes) -> Flags:
    """Whether each hash occurs for the first time in the array."""
    ordered = np.sort(hashes)
    if (ordered[1:] != ordered[:-1]).all():
        return np.ones(len(hashes), dtype=np.bool_)
    is_first = np.zeros(len(hashes), dtype=np.bool_)
    is_first[np.unique(hashes, return_index=True)[1]] = True
    return is_first
