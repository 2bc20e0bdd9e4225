"""Serialises updates to the same profile id, so that an older value never lands over a newer one.

Target applies accepted batches at any time and in any order. So while a batch that holds an id is in flight (sealed
and not released), every row of that id is held; held rows of one id merge. When the batch is released they are
freed and go into the next batch, and they carry the attributes of the row that was in it: should Target read a later
batch as replacing what an earlier one set, nothing is missing.

Ids in flight are kept as hashes, see `hashset`. A collision may hold a row needlessly, never free one. Of hashes that
only begin alike more is kept elsewhere, and that decides what is carried.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from pipeline.core.encoding import merge
from pipeline.core.hashset import HashSets, contains
from pipeline.core.mapping import pack_rows
from pipeline.core.model import Flags, Hashes, Rows

#: Memory of a held row besides its text, in bytes: two objects, and their place in a dictionary and in the changes that
#: are not written down yet. Measured on CPython 3.11: 135, and a bit for what the allocator rounds up.
HELD_ROW_OVERHEAD_BYTES = 150
#: In front of the cells of a held row: its line, and the hash of its id.
_LINE_AND_HASH = struct.Struct("<qQ")
_HASH = slice(8, 16)
#: Held rows looked through at a time, so that their hashes take little memory.
_LOOKED_THROUGH = 20_000


@dataclass(frozen=True, slots=True)
class HeldRow:
    """The rows of one id that wait, merged into one; `line` is that of the latest."""

    text: bytes
    line: int
    hash: int


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
        # Of each encoded id the first row that waits, packed: there may be a million of them.
        self._held: dict[bytes, bytes] = {}
        # Those behind it, which could not merge because the result would fit in no batch.
        self._behind: dict[bytes, list[HeldRow]] = {}
        self._changed: set[bytes] = set()
        # Held ids that may wait for nothing any more.
        self._perhaps_free: set[bytes] = set()
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

    def has_in_flight(self, batch_id: int) -> bool:
        """Whether a batch is in flight."""
        return batch_id in self._in_flight

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

        For a batch that is known: these, and no others any more.
        """
        if batch_id in self._in_flight:
            # What is in it no more may wait for nothing else.
            self._perhaps_free |= self._held_for(batch_id)
            self._in_flight.remove(batch_id)
        self._in_flight.put(batch_id, hashes)

    def split(self, batch_id: int, children: dict[int, Hashes]) -> None:
        """A batch was replaced by others that hold the same ids between them."""
        # A row may have waited for it that is in none of the others: its hash only began like one of them.
        self._perhaps_free |= self._held_for(batch_id)
        self._in_flight.remove(batch_id)
        for child_id, hashes in children.items():
            self.seal(child_id, hashes)

    def hold(self, rows: Rows, indexes: list[int]) -> int:
        """Let these rows wait, in this order; how many rows held before were superseded by them."""
        before = self.held_rows
        for profile_id, row in _picked(rows, indexes):
            self._changed.add(profile_id)
            last = self._last(profile_id)
            if last and len(merged := merge(last.text, row.text)) <= self._max_row_bytes:
                self._replace_last(profile_id, last, HeldRow(merged, row.line, row.hash))
            else:
                self._append(profile_id, row)
        return len(indexes) - (self.held_rows - before)

    def put_back(self, rows: Rows, indexes: list[int]) -> None:
        """Let rows that were freed wait once more, in front of what is held of their ids."""
        for profile_id, row in _picked(rows, indexes):
            if profile_id in self._held:
                self._behind.setdefault(profile_id, []).insert(0, self._first(profile_id))
            self._set_first(profile_id, row)
            self._loose[profile_id] = row.hash
            self._perhaps_free.add(profile_id)
            self._changed.add(profile_id)
            self._count(row, 1)

    def restore(self, rows: Rows) -> None:
        """Rows that were held before a restart, in the order in which they were."""
        for profile_id, row in _picked(rows, list(range(len(rows)))):
            self._append(profile_id, row)
            self._perhaps_free.add(profile_id)

    def take_changes(self) -> dict[bytes, list[HeldRow]]:
        """What waits now for each id of which that changed since the last call; an empty list: nothing any more."""
        changed, self._changed = self._changed, set()
        return {
            profile_id: [self._first(profile_id), *self._behind.get(profile_id, ())] if profile_id in self._held else []
            for profile_id in changed
        }

    def waiting_for(self, batch_id: int, hashes_of: Callable[[int], Hashes] | None = None) -> set[bytes]:
        """Encoded ids of the held rows that (by their hash) wait for this batch and for nothing else.

        `hashes_of` gives the sorted hashes of a batch with all their bits, which decide; without it those decide that
        are in memory, and a row may seem to wait for something else that does not.
        """
        ids = list(self._held_for(batch_id))
        hashes = self._hashes(ids)
        is_elsewhere = self._in_flight.contain(hashes, but=batch_id)
        if hashes_of is not None and is_elsewhere.any():
            is_elsewhere[is_elsewhere] = self._are_elsewhere(hashes[is_elsewhere], batch_id, hashes_of)
        return {profile_id for profile_id, is_too in zip(ids, is_elsewhere, strict=True) if not is_too}

    def _are_elsewhere(self, hashes: Hashes, batch_id: int, hashes_of: Callable[[int], Hashes]) -> Flags:
        """Which of these hashes are in another batch with all their bits; shape (n,)."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        for number in set(self._in_flight) - {batch_id}:
            perhaps = np.flatnonzero(~found)
            perhaps = perhaps[self._in_flight.are_in(number, hashes[perhaps])]
            if len(perhaps):
                found[perhaps] = contains(hashes_of(number), hashes[perhaps])
        return found

    def _held_for(self, batch_id: int) -> set[bytes]:
        """Encoded ids of the held rows that (by their hash) wait for this batch, for others too perhaps."""
        return {
            profile_id
            for some in _parts(self._held)
            for profile_id, waits in zip(some, self._in_flight.are_in(batch_id, self._hashes(some)), strict=True)
            if waits
        }

    def held_ids(self) -> Hashes:
        """Sorted hashes of the ids of which rows are held; shape (n,)."""
        return np.unique(self._hashes(self._held))

    def carry(self, earlier: dict[bytes, bytes]) -> None:
        """Give held rows the cells of the earlier encoded rows of their ids where they have none themselves.

        A row that would then fit in no batch is left as it is: its own values come first.
        """
        for profile_id, text in earlier.items():
            held = self._first(profile_id)
            carrying = merge(text, held.text)
            if len(carrying) <= self._max_row_bytes:
                self.held_bytes += len(carrying) - len(held.text)
                self._set_first(profile_id, HeldRow(carrying, held.line, held.hash))
                self._changed.add(profile_id)

    def release(self, batch_id: int) -> None:
        """A batch is released: its ids are free."""
        self._perhaps_free |= self._held_for(batch_id)
        self._in_flight.remove(batch_id)

    def forget(self, batch_id: int) -> None:
        """What is known of a batch, if anything is."""
        if batch_id in self._in_flight:
            self._perhaps_free |= self._held_for(batch_id)
            self._in_flight.remove(batch_id)

    def free(self) -> Rows:
        """The held rows that wait for nothing any more, in the order of their lines; they are not held from now on."""
        ids, self._perhaps_free = list(self._perhaps_free), set()
        is_in_flight = self.is_in_flight(self._hashes(ids))
        freed = [
            (self._pop(profile_id), profile_id)
            for profile_id, waits in zip(ids, is_in_flight, strict=True)
            if not waits
        ]
        freed.sort(key=lambda row_and_id: row_and_id[0].line)
        return pack_rows(
            [row.text for row, _ in freed],
            [len(profile_id) for _, profile_id in freed],
            [row.line for row, _ in freed],
            self._salt,
        )

    def _last(self, profile_id: bytes) -> HeldRow | None:
        if profile_id not in self._held:
            return None
        return self._behind[profile_id][-1] if profile_id in self._behind else self._first(profile_id)

    def _append(self, profile_id: bytes, row: HeldRow) -> None:
        """Let a row wait behind what is held of its id."""
        if profile_id in self._held:
            self._behind.setdefault(profile_id, []).append(row)
        else:
            self._set_first(profile_id, row)
        self._count(row, 1)

    def _replace_last(self, profile_id: bytes, last: HeldRow, row: HeldRow) -> None:
        self.held_bytes += len(row.text) - len(last.text)
        if profile_id in self._behind:
            self._behind[profile_id][-1] = row
        else:
            self._set_first(profile_id, row)

    def _pop(self, profile_id: bytes) -> HeldRow:
        """Take out the first row of an id."""
        row = self._first(profile_id)
        del self._held[profile_id]
        self._loose.pop(profile_id, None)
        if behind := self._behind.pop(profile_id, None):
            self._set_first(profile_id, behind[0])
            self._loose[profile_id] = row.hash
            self._perhaps_free.add(profile_id)
            if behind[1:]:
                self._behind[profile_id] = behind[1:]
        self._changed.add(profile_id)
        self._count(row, -1)
        return row

    def _count(self, row: HeldRow, rows: int) -> None:
        self.held_rows += rows
        self.held_bytes += rows * (len(row.text) + HELD_ROW_OVERHEAD_BYTES)

    def _first(self, profile_id: bytes) -> HeldRow:
        packed = self._held[profile_id]
        line, hash_ = _LINE_AND_HASH.unpack_from(packed)
        return HeldRow(profile_id + packed[_LINE_AND_HASH.size :], line, hash_)

    def _set_first(self, profile_id: bytes, row: HeldRow) -> None:
        self._held[profile_id] = _LINE_AND_HASH.pack(row.line, row.hash) + row.text[len(profile_id) :]

    def _hashes(self, ids: Iterable[bytes]) -> Hashes:
        """The hashes of held ids."""
        return np.frombuffer(b"".join([self._held[profile_id][_HASH] for profile_id in ids]), dtype="<u8")


def _parts(ids: Iterable[bytes]) -> Iterator[list[bytes]]:
    """All of them, some at a time."""
    each = iter(ids)
    while some := list(islice(each, _LOOKED_THROUGH)):
        yield some


def _picked(rows: Rows, indexes: list[int]) -> list[tuple[bytes, HeldRow]]:
    """Some of the rows, each with its encoded id."""
    starts, ends = rows.starts[indexes].tolist(), rows.ends[indexes].tolist()
    texts = [rows.body[start:end] for start, end in zip(starts, ends, strict=True)]
    lengths, lines, hashes = (each[indexes].tolist() for each in (rows.id_lengths, rows.lines, rows.hashes))
    return [
        (text[:length], HeldRow(text, line, hash_))
        for text, length, line, hash_ in zip(texts, lengths, lines, hashes, strict=True)
    ]
