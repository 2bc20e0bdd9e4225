"""Serialises updates to the same profile id, so that an older value never lands over a newer one.

Target applies accepted batches at any time and in any order. So while a batch that holds an id is in flight (sealed and
not released), every row of that id is held, and held rows of one id merge. When the batch is released, they are freed
and go into the next batch. They carry the attributes of the row that was in the released batch: even if Target lets a
later batch replace what an earlier one set, nothing is missing.

Ids in flight are kept as hashes, see `hashset`. A collision may hold a row needlessly, but never free one. Of the ids
in a large batch only the first 49 bits of each hash are kept. Before a row carries values, the full hashes in the spool
are compared.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.core.batches.hashset import HashSets, contains
from pipeline.core.batches.heldrows import HeldRows, Numbers
from pipeline.core.model import Flags, Hashes, Offsets, Rows
from pipeline.core.rows.encoding import merge
from pipeline.core.rows.hashing import hash_ids
from pipeline.core.rows.mapping import pack_rows

#: Bytes of memory that a held row takes besides its text: its entry, its place in the table of chains, and spare room.
#: Measured with rows of 76 bytes: 47 to 60.
HELD_ROW_OVERHEAD_BYTES = 64
#: Rows in one list of changes.
_TAKEN_AT_ONCE = 8_192
#: All held rows are written anew when more bytes of changes were written since the last time than the first number
#: times the bytes held, plus the second number.
_WRITTEN_PER_HELD = 4
_WRITTEN_AT_LEAST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class HeldRow:
    """The waiting rows of one id, merged into one; `line` is that of the latest."""

    text: bytes
    line: int
    hash: int


@dataclass(frozen=True, slots=True, eq=False)
class HeldChanges:
    """The changes among held rows.

    `rows`: all rows that now wait of each changed id; the rows of one id are in their order.
    `gone`: encoded ids that have no waiting rows any more, except those in `rows`.
    `is_all`: no rows wait any more, of any id, except those in `rows`.
    """

    rows: tuple[Rows, ...] = ()
    gone: tuple[bytes, ...] = ()
    is_all: bool = False


NO_CHANGES = HeldChanges()


@dataclass(frozen=True, slots=True, eq=False)
class _LookedFor:
    """The held rows that wait for a batch.

    `at`: the batch, and the numbers of changes among held rows and among ids in flight at that time.
    `numbers`: the numbers of these rows, shape (n,).
    `is_elsewhere`: set if the row seems to wait for another batch too, shape (n,).
    """

    at: tuple[int, int, int]
    numbers: Numbers
    is_elsewhere: Flags


class Tracker:
    """The ids in flight and the rows that wait for them; batches are named by their `batch_id`.

    `max_held_rows`, `max_held_bytes`: the caps from which `is_full` is True. Then seal the open batch, and read no
    further until a batch is released.
    `max_row_bytes`: the most that a row may take in a batch of its own.
    `salt`: of the ids' hashes.
    """

    def __init__(self, *, max_held_rows: int, max_held_bytes: int, max_row_bytes: int, salt: int) -> None:
        self._max_held_rows = max_held_rows
        self._max_held_bytes = max_held_bytes
        self._max_row_bytes = max_row_bytes
        self._salt = salt
        self._in_flight = HashSets()
        # The first waiting row of each id. A row is loose if it may no longer wait for any batch; a later row of its id
        # has to wait behind it even so.
        self._held = HeldRows()
        self._has_loose = False
        # Encoded id -> the rows behind its first, which could not merge because the result would fit in no batch.
        self._behind: dict[bytes, list[HeldRow]] = {}
        # Ids that had a row freed since the last `take_changes`, and the bytes written since all rows were written.
        self._gone: set[bytes] = set()
        self._written_bytes = 0.0
        self._looked_for: _LookedFor | None = None

    @property
    def held_rows(self) -> int:
        """The number of rows that wait."""
        return len(self._held) + sum(map(len, self._behind.values()))

    @property
    def held_bytes(self) -> int:
        """The bytes of memory that held rows take."""
        return self._held_text_bytes + self.held_rows * HELD_ROW_OVERHEAD_BYTES

    @property
    def batches_in_flight(self) -> int:
        """The number of batches that are sealed and not released."""
        return len(self._in_flight)

    @property
    def is_full(self) -> bool:
        """True if no more rows may be held."""
        return self.is_full_beside(0, 0)

    def is_full_beside(self, rows: int, size_bytes: int) -> bool:
        """True if no more rows may be held while others hold `rows` rows of `size_bytes` under the same caps."""
        return self.held_rows + rows >= self._max_held_rows or self.held_bytes + size_bytes >= self._max_held_bytes

    @property
    def has_loose(self) -> bool:
        """True if `free` may find rows that no longer wait for any batch."""
        return self._has_loose

    def has_in_flight(self, batch_id: int) -> bool:
        """True if the batch is in flight."""
        return batch_id in self._in_flight

    def must_wait(self, hashes: Hashes) -> Flags:
        """Set for each row that must be held: its id is in flight, or an earlier row of its id waits; shape (n,)."""
        found = self.is_in_flight(hashes)
        if self._has_loose:
            found |= np.isin(hashes, self._held.hashes(np.flatnonzero(self._held.is_loose)))
        return found

    def is_in_flight(self, hashes: Hashes) -> Flags:
        """Set for each id that is in a batch in flight; shape (n,)."""
        return self._in_flight.contain(hashes)

    def seal(self, batch_id: int, hashes: Hashes) -> None:
        """Put a sealed batch in flight with its ids, sorted hashes of shape (n,).

        The ids of a batch that is in flight already are replaced.
        """
        self.forget(batch_id)
        self._in_flight.put(batch_id, hashes)

    def split(self, batch_id: int, children: dict[int, Hashes]) -> None:
        """Replace a batch by others that hold the same ids between them. `children`: batch_id -> sorted hashes."""
        # A row whose hash only began like one in the batch waited for it too, and may be in none of the children.
        self.release(batch_id)
        for child_id, hashes in children.items():
            self.seal(child_id, hashes)

    def hold(self, rows: Rows, indexes: list[int]) -> int:
        """Hold these rows, in this order; return the number of rows that they superseded."""
        before = self.held_rows
        for index, profile_id, row, number in self._add_new(rows, indexes, is_loose=False, is_changed=True):
            if number < 0:
                self._held.add(rows, np.array([index]), is_loose=False, is_changed=True)
                continue
            self._held.is_changed[number] = True
            behind = self._behind.get(profile_id)
            merged = merge(behind[-1].text if behind else self._held.text(number), row.text)
            if len(merged) > self._max_row_bytes:
                self._behind.setdefault(profile_id, []).append(row)
            elif behind:
                behind[-1] = HeldRow(merged, row.line, row.hash)
            else:
                self._held.replace(number, merged, row.line)
        self._held.tidy()
        return len(indexes) - (self.held_rows - before)

    def put_back(self, rows: Rows, indexes: list[int]) -> None:
        """Hold rows again that were freed, in front of the held rows of their ids."""
        for index, profile_id, row, number in self._add_new(rows, indexes, is_loose=True, is_changed=True):
            if number < 0:
                self._held.add(rows, np.array([index]), is_loose=True, is_changed=True)
                continue
            held = HeldRow(self._held.text(number), self._held.line(number), row.hash)
            self._behind.setdefault(profile_id, []).insert(0, held)
            self._held.replace(number, row.text, row.line)
            self._held.is_loose[number] = self._held.is_changed[number] = True
        self._has_loose |= len(indexes) > 0

    def restore(self, rows: Rows) -> None:
        """Hold the rows that were held before a restart, in the same order."""
        for index, profile_id, row, number in self._add_new(rows, range(len(rows)), is_loose=True, is_changed=False):
            if number < 0:
                self._held.add(rows, np.array([index]), is_loose=True, is_changed=False)
            else:
                self._behind.setdefault(profile_id, []).append(row)
        self._has_loose = True
        self._written_bytes = float("inf")

    def take_changes(self) -> HeldChanges:
        """The changes among held rows since the last call; from time to time all held rows."""
        numbers, gone = np.flatnonzero(self._held.is_changed), tuple(self._gone)
        if not len(numbers) and not gone:
            return NO_CHANGES
        self._written_bytes += self._held.text_bytes_of(numbers) + sum(map(len, gone))
        is_all = self._written_bytes > _WRITTEN_PER_HELD * self._held_text_bytes + _WRITTEN_AT_LEAST_BYTES
        if is_all:
            numbers, gone = self._held.numbers(), ()
            self._written_bytes = self._held_text_bytes
        self._held.is_changed[numbers] = False
        self._gone = set()
        pieces = [numbers[first : first + _TAKEN_AT_ONCE] for first in range(0, len(numbers), _TAKEN_AT_ONCE)]
        rows = [self._held.rows(piece) for piece in pieces]
        if self._behind:
            ids = self._held.ids(numbers)
            rows.append(_packed([(each, row) for each in ids for row in self._behind.get(each, ())]))
        return HeldChanges(tuple(rows), gone, is_all)

    def waiting_for(self, batch_id: int, hashes_of: Callable[[int], Hashes] | None = None) -> set[bytes]:
        """The encoded ids of the held rows that (by their hash) wait for this batch and for no other.

        `hashes_of`: gives the sorted, full hashes of a batch, which decide. Without it, the bits of hashes in memory
        decide, and a row may wrongly seem to wait for another batch too.
        """
        looked_for = self._look_for(batch_id)
        numbers, is_elsewhere = looked_for.numbers, looked_for.is_elsewhere.copy()
        hashes = self._held.hashes(numbers)
        if hashes_of is not None and is_elsewhere.any():
            is_elsewhere[is_elsewhere] = self._are_elsewhere(hashes[is_elsewhere], batch_id, hashes_of)
        return set(self._held.ids(numbers[~is_elsewhere]))

    def _are_elsewhere(self, hashes: Hashes, batch_id: int, hashes_of: Callable[[int], Hashes]) -> Flags:
        """Set for each hash that is in another batch with all its bits; shape (n,)."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        for number in set(self._in_flight) - {batch_id}:
            perhaps = np.flatnonzero(~found)
            perhaps = perhaps[self._in_flight.are_in(number, hashes[perhaps])]
            if len(perhaps):
                found[perhaps] = contains(hashes_of(number), hashes[perhaps])
        return found

    def _held_for(self, batch_id: int) -> Numbers:
        """The numbers of the held rows that (by their hash) wait for this batch, and perhaps for others too."""
        numbers = self._held.numbers()
        return numbers[self._in_flight.are_in(batch_id, self._held.hashes(numbers))]

    def _look_for(self, batch_id: int) -> _LookedFor:
        """The held rows that wait for a batch. The result is kept until held rows or batches in flight change."""
        looked_for, at = self._looked_for, (batch_id, self._held.changes, self._in_flight.changes)
        if looked_for is None or looked_for.at != at:
            numbers = self._held_for(batch_id)
            is_elsewhere = self._in_flight.contain(self._held.hashes(numbers), but=batch_id)
            looked_for = self._looked_for = _LookedFor(at, numbers, is_elsewhere)
        return looked_for

    def held_ids(self) -> Hashes:
        """The sorted hashes of the ids that have held rows; shape (n,)."""
        hashes = np.sort(self._held.hashes(self._held.numbers()))
        found: Hashes = hashes[np.diff(hashes, prepend=np.uint64(0)) != 0]
        return found

    def carry(self, earlier: dict[bytes, bytes]) -> None:
        """Fill the empty cells of held rows with those of the earlier rows of their ids.

        `earlier`: encoded id -> encoded row. Raises `KeyError` if no row of an id is held.

        A row that would then fit in no batch stays as it is: its own values come first.
        """
        lengths = np.fromiter(map(len, earlier), dtype=np.int64, count=len(earlier))
        hashes = hash_ids(b"".join(earlier), np.cumsum(lengths) - lengths, lengths, self._salt)
        numbers = self._held.find_all([*earlier], hashes)
        if (numbers < 0).any():
            raise KeyError(f"{np.count_nonzero(numbers < 0)} of {len(earlier)} ids are not held")
        texts = self._held.texts(numbers)
        carrying = list(map(merge, earlier.values(), texts))
        fitting = [place for place, text in enumerate(carrying) if len(text) <= self._max_row_bytes]
        self._held.is_changed[numbers[fitting]] = True
        longer = [place for place in fitting if carrying[place] is not texts[place]]
        self._held.replace_texts(numbers[longer], [carrying[place] for place in longer])

    def release(self, batch_id: int) -> None:
        """Release a batch: its ids are free."""
        looked_for = self._look_for(batch_id)
        # Rows that seem to wait for another batch too stay as they are.
        loose = looked_for.numbers[~looked_for.is_elsewhere]
        self._held.is_loose[loose] = True
        self._has_loose |= len(loose) > 0
        self._in_flight.remove(batch_id)

    def forget(self, batch_id: int) -> None:
        """Release a batch if it is in flight."""
        if batch_id in self._in_flight:
            self.release(batch_id)

    def free(self) -> Rows:
        """Free the held rows that no longer wait for any batch; return them in the order of their lines."""
        loose = np.flatnonzero(self._held.is_loose)
        self._held.is_loose[loose] = False
        self._has_loose = False
        freed = loose[~self.is_in_flight(self._held.hashes(loose))]
        rows, ids = self._held.rows_by_line(freed), self._held.ids(freed)
        self._held.remove(freed)
        self._gone.update(ids)
        for profile_id in self._behind.keys() & set(ids):
            self._move_up(profile_id)
        self._held.tidy()
        return rows

    def _move_up(self, profile_id: bytes) -> None:
        """Make the row behind the first one the first of its id, after the first one was freed."""
        first, *behind = self._behind.pop(profile_id)
        self._held.add(_packed([(profile_id, first)]), np.array([0]), is_loose=True, is_changed=True)
        self._has_loose = True
        if behind:
            self._behind[profile_id] = behind

    def _add_new(
        self, rows: Rows, indexes: Sequence[int], *, is_loose: bool, is_changed: bool
    ) -> Iterator[tuple[int, bytes, HeldRow, int]]:
        """Hold those of the rows that are surely the first of their ids; give the others one by one.

        Each comes with its index, its encoded id, and the number of the held row of its id, -1 if there is none.
        """
        chosen = np.array(indexes, dtype=np.int64)
        hashes = rows.hashes[chosen]
        is_new = ~self._held.may_have(hashes)
        is_first = np.zeros(len(chosen), dtype=np.bool_)
        is_first[np.unique(hashes, return_index=True)[1]] = True
        is_new &= is_first
        self._held.add(rows, chosen[is_new], is_loose=is_loose, is_changed=is_changed)
        left = chosen[~is_new]
        picked = _picked(rows, left)
        numbers = self._held.find_all([profile_id for profile_id, _ in picked], rows.hashes[left])
        for index, (profile_id, row), number in zip(left.tolist(), picked, numbers.tolist(), strict=True):
            yield index, profile_id, row, number if number >= 0 else self._held.find(profile_id, row.hash)

    @property
    def _held_text_bytes(self) -> int:
        return self._held.text_bytes + sum(len(row.text) for rows in self._behind.values() for row in rows)


def _picked(rows: Rows, indexes: Offsets) -> list[tuple[bytes, HeldRow]]:
    """Some of the rows, each with its encoded id."""
    starts, ends = rows.starts[indexes].tolist(), rows.ends[indexes].tolist()
    texts = [rows.body[start:end] for start, end in zip(starts, ends, strict=True)]
    lengths, lines, hashes = (each[indexes].tolist() for each in (rows.id_lengths, rows.lines, rows.hashes))
    return [
        (text[:length], HeldRow(text, line, hash_))
        for text, length, line, hash_ in zip(texts, lengths, lines, hashes, strict=True)
    ]


def _packed(held: list[tuple[bytes, HeldRow]]) -> Rows:
    """Turn held rows, each with its encoded id, into `Rows`."""
    lengths = [len(profile_id) for profile_id, _ in held]
    rows = pack_rows([row.text for _, row in held], lengths, [row.line for _, row in held], salt=0)
    return replace(rows, hashes=np.array([row.hash for _, row in held], dtype=np.uint64))
