"""Serialises updates to the same profile id, so that an older value never lands over a newer one.

Target applies accepted batches at any time and in any order. So while a batch that holds an id is in flight (sealed
and not released), every row of that id is held; held rows of one id merge. When the batch is released they are
freed and go into the next batch, and they carry the attributes of the row that was in it: should Target read a later
batch as replacing what an earlier one set, nothing is missing.

Ids in flight are kept as sorted 64-bit hashes, 8 bytes each. A collision may hold a row needlessly, never free one.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.core.encoding import merge
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


class Tracker:
    """What is in flight and what waits for it, within one job.

    `max_held_rows` and `max_held_bytes` are where `is_full` begins: then seal the open batch, and read no further
    until a batch is released. `max_row_bytes` is what fits in a batch of its own.
    """

    def __init__(self, *, max_held_rows: int, max_held_bytes: int, max_row_bytes: int, salt: int) -> None:
        self._max_held_rows = max_held_rows
        self._max_held_bytes = max_held_bytes
        self._max_row_bytes = max_row_bytes
        self._salt = salt
        self._in_flight: dict[int, Hashes] = {}
        self._all_in_flight: Hashes = np.empty(0, dtype=np.uint64)
        self._held: dict[bytes, HeldRow] = {}
        self.held_rows = 0
        self.held_bytes = 0

    @property
    def batches_in_flight(self) -> int:
        """Batches sealed and not released."""
        return len(self._in_flight)

    @property
    def is_full(self) -> bool:
        """Whether no more rows may be held."""
        return self.held_rows >= self._max_held_rows or self.held_bytes >= self._max_held_bytes

    def is_in_flight(self, hashes: Hashes) -> Flags:
        """Which of these ids are in a batch in flight; shape (n,)."""
        return _contains(self._all_in_flight, hashes)

    def seal(self, number: int, hashes: Hashes) -> None:
        """A batch is sealed: its ids, sorted hashes of shape (n,), are in flight from now on."""
        self._in_flight[number] = hashes
        self._gather()

    def hold(self, rows: Rows, indexes: list[int]) -> int:
        """Let these rows wait, in this order; how many rows held before were superseded by them."""
        before = self.held_rows
        for index in indexes:
            text = rows.text(index)
            row = HeldRow(text, int(rows.lines[index]), int(rows.hashes[index]))
            profile_id = text[: int(rows.id_lengths[index])]
            last = self._held.get(profile_id)
            while last and last.following:
                last = last.following
            if last and len(merged := merge(last.text, text)) <= self._max_row_bytes:
                self._replace(last, merged)
                last.line = row.line
                continue
            if last:
                last.following = row
            else:
                self._held[profile_id] = row
            self.held_rows += 1
            self.held_bytes += len(text) + HELD_ROW_OVERHEAD_BYTES
        return len(indexes) - (self.held_rows - before)

    def waiting_for(self, number: int) -> set[bytes]:
        """Encoded ids of the held rows that (by their hash) wait for this batch."""
        is_waiting = _contains(self._in_flight[number], self._held_hashes())
        ids = list(self._held)
        return {ids[index] for index in np.flatnonzero(is_waiting)}

    def carry(self, earlier: dict[bytes, bytes]) -> None:
        """Give held rows the cells of the earlier encoded rows of their ids where they have none themselves.

        A row that would then fit in no batch is left as it is: its own values come first.
        """
        for profile_id, text in earlier.items():
            held = self._held[profile_id]
            carrying = merge(text, held.text)
            if len(carrying) <= self._max_row_bytes:
                self._replace(held, carrying)

    def release(self, number: int) -> Rows:
        """A batch is released: the held rows that wait for nothing any more, in the order of their lines."""
        del self._in_flight[number]
        self._gather()
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

    def _pop(self, profile_id: bytes) -> HeldRow:
        row = self._held.pop(profile_id)
        if row.following:
            self._held[profile_id] = row.following
        self.held_rows -= 1
        self.held_bytes -= len(row.text) + HELD_ROW_OVERHEAD_BYTES
        return row

    def _replace(self, held: HeldRow, text: bytes) -> None:
        self.held_bytes += len(text) - len(held.text)
        held.text = text

    def _held_hashes(self) -> Hashes:
        return np.fromiter((row.hash for row in self._held.values()), dtype=np.uint64, count=len(self._held))

    def _gather(self) -> None:
        """All hashes in flight in one sorted array: one search instead of one per batch."""
        if self._in_flight:
            # A stable sort merges runs that are sorted already.
            self._all_in_flight = np.sort(np.concatenate(list(self._in_flight.values())), kind="stable")
        else:
            self._all_in_flight = np.empty(0, dtype=np.uint64)


def _contains(known: Hashes, hashes: Hashes) -> Flags:
    """Which of the hashes are in `known`, which is sorted."""
    if not len(known):
        return np.zeros(len(hashes), dtype=np.bool_)
    places = np.searchsorted(known, hashes)
    places[places == len(known)] = 0
    found: Flags = known[places] == hashes
    return found
