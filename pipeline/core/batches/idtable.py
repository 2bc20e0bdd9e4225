"""Numbers ids by their 64-bit hashes, in the order in which they come; looks up and inserts whole blocks at once.

It is a hash table with open addressing and linear probing. The slots hold numbers only, of four bytes each, and at most
a quarter of them are taken. So most new ids find an empty slot at once, and a hash is compared only in a taken slot.
That is 24 to 40 bytes for each id and no Python object; a dict of the same ids would take some 150.
"""

import numpy as np
import numpy.typing as npt

from pipeline.core.model import Flags, Hashes, Offsets

Numbers = npt.NDArray[np.int32]

_NONE = -1
_FIRST_CAPACITY = 4_096
_SLOTS_PER_ID = 4


class IdTable:
    """Hashes and their numbers from 0 on. It grows by doubling; `take_all` empties it."""

    def __init__(self) -> None:
        self._capacity = _FIRST_CAPACITY
        self._hashes: Hashes = np.empty(_FIRST_CAPACITY, dtype=np.uint64)
        self._clear()

    def __len__(self) -> int:
        return self._count

    def take_all(self) -> Hashes:
        """Take all hashes out, in the order of their numbers; shape (n,).

        The table needs no memory for its slots until the next lookup; then it takes as much as before at once.
        """
        hashes, self._hashes = self._hashes[: self._count], np.empty(len(self._hashes), dtype=np.uint64)
        self._clear()
        return hashes

    def _clear(self) -> None:
        self._count = 0
        self._slots: Numbers = np.empty(0, dtype=np.int32)

    def find(self, hashes: Hashes) -> Numbers:
        """The number of each hash, -1 if it has none; shape (n,)."""
        slots = self.probe(hashes)
        numbers: Numbers = self._slots[slots]
        return numbers

    def insert(self, hashes: Hashes, slots: Offsets | None = None) -> None:
        """Enter distinct hashes that are not in the table. `slots`: as `probe` gave them for these hashes just now."""
        first, self._count = self._count, self._count + len(hashes)
        if self._count > len(self._hashes):
            self._hashes.resize(max(2 * len(self._hashes), self._count), refcheck=False)
        self._hashes[first : self._count] = hashes
        if _SLOTS_PER_ID * self._count > self._capacity:
            while _SLOTS_PER_ID * self._count > self._capacity:
                self._capacity *= 2
            self._allot()
            self._enter(np.arange(self._count, dtype=np.int32), None)
        else:
            self._enter(np.arange(first, self._count, dtype=np.int32), slots)

    def is_taken(self, slots: Offsets) -> Flags:
        """Set for each slot from `probe` that has the hash asked for; shape (n,)."""
        taken: Flags = self._slots[slots] != _NONE
        return taken

    def probe(self, hashes: Hashes) -> Offsets:
        """The slot of each hash: the one with its number, or the empty one that it would take; shape (n,)."""
        if not len(self._slots):
            self._allot()
        mask = self._capacity - 1
        slots = (hashes & np.uint64(mask)).view(np.int64)
        numbers = self._slots[slots]
        seeking = np.flatnonzero(numbers != _NONE)
        seeking = seeking[self._hashes[numbers[seeking]] != hashes[seeking]]
        while len(seeking):
            slots[seeking] = further = (slots[seeking] + 1) & mask
            numbers = self._slots[further]
            is_other = numbers != _NONE
            seeking, numbers = seeking[is_other], numbers[is_other]
            seeking = seeking[self._hashes[numbers] != hashes[seeking]]
        return slots

    def _enter(self, numbers: Numbers, slots: Offsets | None) -> None:
        """Put numbers into slots; their hashes have none yet."""
        while len(numbers):
            if slots is None:
                slots = self.probe(self._hashes[numbers])
            # Several numbers may want one slot: the last one written gets it, the others probe again.
            self._slots[slots] = numbers
            numbers, slots = numbers[self._slots[slots] != numbers], None

    def _allot(self) -> None:
        self._slots = np.full(self._capacity, _NONE, dtype=np.int32)
