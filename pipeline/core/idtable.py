"""A table from 64-bit id hashes to row numbers that looks up and inserts whole blocks at once.

Open addressing with linear probing in two numpy arrays, at most half full: 24 bytes a row of capacity, and no Python
object per row. A dict of the same ids would take some 150 bytes a row.
"""

import numpy as np
import numpy.typing as npt

from pipeline.core.model import Flags, Hashes, Offsets

RowNumbers = npt.NDArray[np.int32]

_EMPTY = np.uint64(0)


class IdTable:
    """Row numbers by id hash; hashes are never 0. Grows by doubling, and starts anew with `clear`."""

    def __init__(self) -> None:
        self._capacity = 1 << 12
        self.clear()

    def __len__(self) -> int:
        return self._count

    def clear(self) -> None:
        """Forget every row, and take no memory until the next is looked up; then at once as much as before."""
        self._count = 0
        self._allot(0)

    def find(self, hashes: Hashes) -> RowNumbers:
        """The row number of each hash, -1 where there is none; shape (n,)."""
        slots = self.probe(hashes)
        rows = np.full(len(hashes), -1, dtype=np.int32)
        known = np.flatnonzero(self.is_taken(slots))
        rows[known] = self._rows[slots[known]]
        return rows

    def insert(self, hashes: Hashes, rows: RowNumbers, slots: Offsets | None = None) -> None:
        """Enter hashes that are distinct and not in the table yet; `slots` are what `probe` gave for them just now."""
        if 2 * (self._count + len(hashes)) > self._capacity:
            slots = None
            while 2 * (self._count + len(hashes)) > self._capacity:
                self._grow()
        self._count += len(hashes)
        while len(hashes):
            if slots is None:
                slots = self.probe(hashes)
            # Several may want one slot: the last one written has it, the others probe again.
            self._keys[slots] = hashes
            self._rows[slots] = rows
            lost = self._keys[slots] != hashes
            hashes, rows, slots = hashes[lost], rows[lost], None

    def is_taken(self, slots: Offsets) -> Flags:
        """Which of the slots that `probe` gave hold the hash it was asked for; shape (n,)."""
        taken: Flags = self._keys[slots] != _EMPTY
        return taken

    def probe(self, hashes: Hashes) -> Offsets:
        """The slot of each hash: where it stands, or the empty slot where it would go; shape (n,)."""
        if not len(self._keys):
            self._allot(self._capacity)
        mask = self._capacity - 1
        slots = (hashes & np.uint64(mask)).astype(np.int64)
        keys = self._keys[slots]
        seeking = np.flatnonzero((keys != hashes) & (keys != _EMPTY))
        while len(seeking):
            slots[seeking] = (slots[seeking] + 1) & mask
            keys = self._keys[slots[seeking]]
            seeking = seeking[(keys != hashes[seeking]) & (keys != _EMPTY)]
        return slots

    def _grow(self) -> None:
        taken = self._keys != _EMPTY
        hashes, rows = self._keys[taken], self._rows[taken]
        self._capacity *= 2
        self._allot(self._capacity)
        self._count = 0
        self.insert(hashes, rows)

    def _allot(self, slots: int) -> None:
        self._keys: Hashes = np.zeros(slots, dtype=np.uint64)
        self._rows: RowNumbers = np.zeros(slots, dtype=np.int32)
