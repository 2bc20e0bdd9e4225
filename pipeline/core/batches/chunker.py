"""The open batch: rolls rows into batches strictly under both caps, and merges rows of the same id.

`take` fills the open batch as far as the caps allow; the caller seals it when the next row does not fit. So every batch
but a job's last is filled to within one row of a cap, unless merging made its rows much shorter. An id is in a batch at
most once: a later row of it merges into the earlier one, which is superseded. The caller must hold:

* rows whose id is in flight in another batch (the caller says which);
* a row that has the same hash as another id in the open batch (a collision);
* a row whose merge would break `max_bytes`. The batch is full then, and later rows of ids already in it are left too.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.core.batches.body import Body
from pipeline.core.batches.idtable import IdTable
from pipeline.core.model import BatchContent, Flags, Hashes, Offsets, Rows
from pipeline.core.rows.encoding import merge

_FIRST_CAPACITY = 4_096
#: A batch takes no more rows when this many times `max_bytes` was appended to it: a merged row may be shorter than the
#: text that was appended for it, which stays in memory.
_APPENDED_PER_BATCH = 2


@dataclass(frozen=True, slots=True)
class Placed:
    """The rows that the open batch took from a list: all before row `stop`, except those in `to_hold`.

    `superseded`: the number of rows, of these or earlier ones, that merged into a later one.
    `to_hold`: the indexes of the rows that the caller must hold.
    `is_full`: seal the batch before placing any more rows.
    """

    stop: int
    superseded: int
    to_hold: list[int]
    is_full: bool


class Chunker:
    """The open batch of a job. `body_start`: `batch=` and the header row."""

    def __init__(self, body_start: bytes, *, max_bytes: int, max_rows: int) -> None:
        self._body_start = body_start
        self._max_bytes = max_bytes
        self._max_rows = max_rows
        self._table = IdTable()
        self._capacity = _FIRST_CAPACITY
        self._start_anew()

    def _start_anew(self) -> None:
        self.rows = 0
        self.size_bytes = len(self._body_start)
        self._body = Body()
        self._body.append(self._body_start)
        # Row i of the batch was appended as the bytes of `_body` from `_ends[i]` to `_ends[i + 1]`.
        self._ends: Offsets = np.empty(self._capacity + 1, dtype=np.int64)
        self._ends[0] = self.size_bytes
        self._lines: Offsets = np.empty(self._capacity, dtype=np.int64)
        self._replaced: dict[int, bytes] = {}

    @property
    def filled(self) -> float:
        """The larger of the shares of the two caps that the open batch has used, from 0.0 to 1.0."""
        return max(self.size_bytes / self._max_bytes, self.rows / self._max_rows)

    def has(self, hashes: Hashes) -> Flags:
        """Set for each hash of which the open batch has a row; shape (n,)."""
        return self._table.find(hashes) >= 0 if self.rows else np.zeros(len(hashes), dtype=np.bool_)

    def take(self, rows: Rows, first: int, is_in_flight: Flags) -> Placed:
        """Take rows from row `first` on until one does not fit; `stop == first` means that not even one did.

        `is_in_flight`: set for each row from `first` on that must be held; shape (len(rows) - first,).
        """
        hashes = rows.hashes[first:]
        slots = self._table.probe(hashes)
        is_new = ~(self._table.is_taken(slots) | is_in_flight) & _is_first(hashes)
        count = self._fitting(rows, first, is_new)
        is_new, is_in_flight = is_new[:count], is_in_flight[:count]
        new = np.flatnonzero(is_new)
        if len(new):
            self._append(rows, first + new, slots[new])
        to_hold: list[int] = (first + np.flatnonzero(is_in_flight)).tolist()
        again = first + np.flatnonzero(~(is_new | is_in_flight))
        superseded, left, is_full = self._merge(rows, again) if len(again) else (0, [], False)
        return Placed(first + count, superseded, to_hold + left, is_full)

    def seal(self) -> BatchContent:
        """Close the open batch and begin a new one; return the rows of the closed one."""
        # The table is emptied first: the arrays made here need as much memory, and the table is not needed any more.
        unsorted = self._table.take_all()
        order = np.argsort(unsorted).astype(np.uint32)
        replaced = dict(sorted(self._replaced.items()))
        sizes = np.subtract(self._ends[1 : self.rows + 1], self._ends[: self.rows], dtype=np.uint32, casting="unsafe")
        sizes[list(replaced)] = [len(row) for row in replaced.values()]
        content = BatchContent(
            pieces=self._pieces(replaced),
            rows=self.rows,
            size_bytes=self.size_bytes,
            hashes=unsorted[order],
            order=order,
            sizes=sizes,
            lines=self._lines[: self.rows],
        )
        self._start_anew()
        return content

    def _fitting(self, rows: Rows, first: int, is_new: Flags) -> int:
        """The number of rows from row `first` on for which there is room. Rows that are not new need none."""
        room_rows = self._max_rows - self.rows
        room_bytes = min(
            self._max_bytes - self.size_bytes, _APPENDED_PER_BATCH * self._max_bytes - self._body.size_bytes
        )
        if len(rows.body) <= room_bytes and len(is_new) <= room_rows:
            return len(is_new)
        sizes = (rows.ends - rows.starts)[first:] * is_new
        if sizes.sum() <= room_bytes and np.count_nonzero(is_new) <= room_rows:
            return len(is_new)
        return int(((np.cumsum(sizes) > room_bytes) | (np.cumsum(is_new) > room_rows)).argmax())

    def _append(self, rows: Rows, taken: Offsets, slots: Offsets) -> None:
        """Append some rows, at least one, by their indexes; their hashes go to these slots of the table."""
        starts, ends = rows.starts[taken], rows.ends[taken]
        last = self.rows + len(taken)
        self._reserve(last)
        appended = self._ends[self.rows : last + 1]
        np.cumsum(ends - starts, out=appended[1:])
        appended[1:] += appended[0]
        # Neighbouring rows are copied together.
        gaps = np.flatnonzero(taken[1:] - taken[:-1] != 1)
        runs = zip([int(starts[0]), *starts[gaps + 1].tolist()], [*ends[gaps].tolist(), int(ends[-1])], strict=True)
        self._body.append(b"".join([rows.body[start:end] for start, end in runs]))
        self._lines[self.rows : last] = rows.lines[taken]
        self._table.insert(rows.hashes[taken], slots)
        self.rows = last
        self.size_bytes += int(appended[-1] - appended[0])

    def _merge(self, rows: Rows, again: Offsets) -> tuple[int, list[int], bool]:
        """Merge rows into those of the batch with the same hash, in this order.

        Returns the number of merged rows, the indexes of the rows left to hold, and True if the batch is full. A row is
        left if another id has the same hash. If the batch would grow too large, it is full, and the rest is left.
        """
        numbers = self._table.find(rows.hashes[again])
        spans = zip(self._ends[numbers].tolist(), self._ends[numbers + 1].tolist(), strict=True)
        starts, ends = rows.starts[again], rows.ends[again]
        theirs = zip(starts.tolist(), ends.tolist(), (starts + rows.id_lengths[again] + 1).tolist(), strict=True)
        text, replaced = rows.body, self._replaced
        left: list[int] = []
        is_full = False
        is_merged = np.zeros(len(again), dtype=np.bool_)
        for place, (number, (first, last), (start, end, behind_id)) in enumerate(
            zip(numbers.tolist(), spans, theirs, strict=True)
        ):
            earlier = replaced.get(number) or self._body.text(first, last)
            if not is_full and earlier.startswith(text[start:behind_id]):
                merged = merge(earlier, text[start:end])
                if (size_bytes := self.size_bytes + len(merged) - len(earlier)) <= self._max_bytes:
                    self.size_bytes = size_bytes
                    replaced[number] = merged
                    is_merged[place] = True
                    continue
                is_full = True
            left.append(int(again[place]))
        # Several rows may have merged into one: the last of them is written last.
        self._lines[numbers[is_merged]] = rows.lines[again[is_merged]]
        return int(np.count_nonzero(is_merged)), left, is_full

    def _pieces(self, replaced: dict[int, bytes]) -> list[bytes | memoryview]:
        """The body in pieces: the merged rows, and between them the text as it was appended."""
        pieces: list[bytes | memoryview] = []
        written = 0
        numbers = np.array(list(replaced), dtype=np.int64)
        spans = zip(self._ends[numbers].tolist(), self._ends[numbers + 1].tolist(), strict=True)
        for row, (start, end) in zip(replaced.values(), spans, strict=True):
            pieces += self._body.pieces(written, start)
            pieces.append(row)
            written = end
        return pieces + self._body.pieces(written, self._body.size_bytes)

    def _reserve(self, rows: int) -> None:
        """Make room for this many rows in the arrays."""
        while self._capacity < rows:
            self._capacity = min(2 * self._capacity, max(self._max_rows, 2 * _FIRST_CAPACITY))
            self._ends.resize(self._capacity + 1, refcheck=False)
            self._lines.resize(self._capacity, refcheck=False)


def _is_first(hashes: Hashes) -> Flags:
    """Set for each hash that occurs for the first time in the array."""
    is_first = np.ones(len(hashes), dtype=np.bool_)
    ordered = np.sort(hashes)
    if (ordered[1:] == ordered[:-1]).any():
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        is_first[order[1:][ordered[1:] == ordered[:-1]]] = False
    return is_first
