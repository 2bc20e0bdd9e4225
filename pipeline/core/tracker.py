"""Serialises updates to the same profile id, so that an older value never lands over a newer one.

Target applies accepted batches at any time and in any order. So while a batch that holds an id is in flight (sealed
and not released), every row of that id is held; held rows of one id merge. When the batch is released they are
freed and go into the next batch, and they carry the attributes of the row that was in it: should Target read a later
batch as replacing what an earlier one set, nothing is missing.

Ids in flight are kept as sorted 64-bit hashes, 8 bytes each, which may lie in mapped files. A collision may hold a
row needlessly, never free one.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.core.encoding import merge
from pipeline.core.hashset import HashSets, contains
from pipeline.core.mapping import pack_rows
from pipeline.core.model import Flags, Hashes, Rows

#: Memory of a held row besides its text, in bytes: objects and dictionary entry, measured on CPython 3.11.
HELD_ROW_OVERHEAD_BYTES = 250


@dataclass(slots=True)
class HeldRow:
    """The rows of one id that wait, merged into one; `line` is that of the latest.

    `following` waits behind it: a later row that could not merge because the result would fit in no batch.
    """

    text: bytes
    line: int
    hash: int
    following: "HeldRow | None" = None

    def chain(self) -> list["HeldRow"]:
        """This row and those that wait behind it."""
        rows = [self]
        while rows[-1].following:
            rows.append(rows[-1].following)
        return rows


class Tracker:
    """What is in flight and what waits for it; batches are named by their `batch_id`.

    `max_held_rows` and `max_held_bytes` are where `is_full` begins: then seal the open batch, and read no further
    until a batch is released. `max_row_bytes` is what fits in a batch of its own.
    """

    def __init__(self, *, max_held_rows: int, max_held_bytes: int, max_row_bytes: int, salt: int) -> None:
        self._max_held_rows = max_held_rows
        self._max_held_bytes = max_held_bytes
        self._max_row_bytes = max_row_bytes
        self._salt = salt
        self._in_flight = HashSets()
        self._held: dict[bytes, HeldRow] = {}
        self._changed: set[bytes] = set()
        # Held ids that may be in no batch in flight, and their hashes: what comes later waits behind them all the same.
        self._loose: dict[bytes, int] = {}
        self.held_rows = 0
        self.held_bytes = 0

    @property
    def batches_in_flight(self) -> int:
        """Batches sealed and not released."""
        return len(self._in_flight)

    @property
    def is_full(self) -> bool:
        """Whether no more rows may be held."""
        return self.is_full_beside(0, 0)

    def is_full_beside(self, rows: int, size_bytes: int) -> bool:
        """The same where others hold so many rows of so many bytes under the same caps."""
        return self.held_rows + rows >= self._max_held_rows or self.held_bytes + size_bytes >= self._max_held_bytes

    def must_wait(self, hashes: Hashes) -> Flags:
        """Which rows of these ids have to be held: theirs is in flight, or an earlier row of it waits; shape (n,)."""
        found = self.is_in_flight(hashes)
        if self._loose:
            found |= np.isin(hashes, np.fromiter(self._loose.values(), dtype=np.uint64, count=len(self._loose)))
        return found

    def is_in_flight(self, hashes: Hashes) -> Flags:
        """Which of these ids are in a batch in flight; shape (n,)."""
        return self._in_flight.contain(hashes)

    def seal(self, batch_id: int, hashes: Hashes) -> None:
        """A batch is sealed: its ids, sorted hashes of shape (n,), are in flight from now on.

        For a batch that is known: the same in another array, or fewer.
        """
        self._in_flight.put(batch_id, hashes)

    def split(self, batch_id: int, children: dict[int, Hashes]) -> None:
        """A batch was replaced by others that hold the same ids between them."""
        self._in_flight.remove(batch_id)
        for child_id, hashes in children.items():
            self._in_flight.put(child_id, hashes)

    def hold(self, rows: Rows, indexes: list[int]) -> int:
        """Let these rows wait, in this order; how many rows held before were superseded by them."""
        before = self.held_rows
        for profile_id, row in _picked(rows, indexes):
            text = row.text
            first = self._held.get(profile_id)
            last = first.chain()[-1] if first and first.following else first
            self._changed.add(profile_id)
            if last and len(merged := merge(last.text, text)) <= self._max_row_bytes:
                self._replace(last, merged)
                last.line = row.line
                continue
            self._append(profile_id, last, row)
        return len(indexes) - (self.held_rows - before)

    def put_back(self, rows: Rows, indexes: list[int]) -> None:
        """Let rows that were freed wait once more, in front of what is held of their ids."""
        for profile_id, row in _picked(rows, indexes):
            row.following = self._held.get(profile_id)
            self._held[profile_id] = row
            self._loose[profile_id] = row.hash
            self._changed.add(profile_id)
            self.held_rows += 1
            self.held_bytes += len(row.text) + HELD_ROW_OVERHEAD_BYTES

    def restore(self, rows: Rows) -> None:
        """Rows that were held before a restart, in the order in which they were."""
        for profile_id, row in _picked(rows, list(range(len(rows)))):
            first = self._held.get(profile_id)
            self._append(profile_id, first.chain()[-1] if first else None, row)

    def take_changes(self) -> dict[bytes, list[HeldRow]]:
        """What waits now for each id of which that changed since the last call; an empty list: nothing any more."""
        changed, self._changed = self._changed, set()
        return {profile_id: first.chain() if (first := self._held.get(profile_id)) else [] for profile_id in changed}

    def waiting_for(self, batch_id: int) -> set[bytes]:
        """Encoded ids of the held rows that (by their hash) wait for this batch and for nothing else."""
        hashes = self._held_hashes()
        places = np.flatnonzero(contains(self._in_flight[batch_id], hashes))
        places = places[~self._in_flight.contain(hashes[places], but=batch_id)]
        ids = list(self._held)
        return {ids[index] for index in places}

    def held_ids(self) -> Hashes:
        """Sorted hashes of the ids of which rows are held; shape (n,)."""
        return np.unique(self._held_hashes())

    def carry(self, earlier: dict[bytes, bytes]) -> None:
        """Give held rows the cells of the earlier encoded rows of their ids where they have none themselves.

        A row that would then fit in no batch is left as it is: its own values come first.
        """
        for profile_id, text in earlier.items():
            held = self._held[profile_id]
            carrying = merge(text, held.text)
            if len(carrying) <= self._max_row_bytes:
                self._replace(held, carrying)
                self._changed.add(profile_id)

    def release(self, batch_id: int) -> None:
        """A batch is released: its ids are free."""
        self._in_flight.remove(batch_id)

    def forget(self, batch_id: int) -> None:
        """What is known of a batch, if anything is."""
        if batch_id in self._in_flight:
            self._in_flight.remove(batch_id)

    def free(self) -> Rows:
        """The held rows that wait for nothing any more, in the order of their lines; they are not held from now on."""
        ids = list(self._held)
        is_free = ~self.is_in_flight(self._held_hashes())
        freed = sorted((self._held[ids[index]].line, ids[index]) for index in np.flatnonzero(is_free))
        rows = [self._pop(profile_id) for _, profile_id in freed]
        return pack_rows(
            [row.text for row in rows],
            [len(profile_id) for _, profile_id in freed],
            [row.line for row in rows],
            self._salt,
        )

    def _append(self, profile_id: bytes, last: HeldRow | None, row: HeldRow) -> None:
        if last:
            last.following = row
        else:
            self._held[profile_id] = row
        self.held_rows += 1
        self.held_bytes += len(row.text) + HELD_ROW_OVERHEAD_BYTES

    def _pop(self, profile_id: bytes) -> HeldRow:
        row = self._held.pop(profile_id)
        self._loose.pop(profile_id, None)
        if row.following:
            self._held[profile_id] = row.following
            self._loose[profile_id] = row.hash
        self._changed.add(profile_id)
        self.held_rows -= 1
        self.held_bytes -= len(row.text) + HELD_ROW_OVERHEAD_BYTES
        return row

    def _replace(self, held: HeldRow, text: bytes) -> None:
        self.held_bytes += len(text) - len(held.text)
        held.text = text

    def _held_hashes(self) -> Hashes:
        return np.fromiter((row.hash for row in self._held.values()), dtype=np.uint64, count=len(self._held))


def _picked(rows: Rows, indexes: list[int]) -> list[tuple[bytes, HeldRow]]:
    """Some of the rows, each with its encoded id."""
    starts, ends = rows.starts[indexes].tolist(), rows.ends[indexes].tolist()
    texts = [rows.body[start:end] for start, end in zip(starts, ends, strict=True)]
    lengths, lines, hashes = (each[indexes].tolist() for each in (rows.id_lengths, rows.lines, rows.hashes))
    return [
        (text[:length], HeldRow(text, line, hash_))
        for text, length, line, hash_ in zip(texts, lengths, lines, hashes, strict=True)
    ]
