"""Many sets of hashes, sorted arrays, asked about whole blocks of hashes at once: in which of them is any?

A search in an array of millions waits for memory twenty times. So a table of marks, one bit for the first bits of
each hash, tells at one look of most hashes that they are in no set, and only the others are searched for. The arrays
stay where they are, mapped files perhaps: nothing is copied or sorted when a set comes or goes.
"""

import numpy as np
import numpy.typing as npt

from pipeline.core.model import Flags, Hashes

#: Marks for each hash, at least, as long as there is room: so one of twelve is found to be a candidate for nothing.
_MARKS_PER_HASH = 12
#: Bits that name a mark: at most 32 MB of them, which 20 million hashes fill to a fourteenth.
_MIN_MARK_BITS, _MAX_MARK_BITS = 10, 28


class HashSets:
    """Sets by their numbers. What was removed leaves its marks until they are more than those of the sets."""

    def __init__(self) -> None:
        self._sets: dict[int, Hashes] = {}
        self._marked = 0
        self._bits = _MIN_MARK_BITS
        self._table: npt.NDArray[np.uint8] = np.zeros(1 << (self._bits - 3), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._sets)

    def __contains__(self, number: int) -> bool:
        return number in self._sets

    def __getitem__(self, number: int) -> Hashes:
        return self._sets[number]

    def put(self, number: int, hashes: Hashes) -> None:
        """A set of sorted hashes, shape (n,); for a number that is known: the same hashes in another array."""
        is_new = number not in self._sets
        self._sets[number] = hashes
        if not is_new:
            return
        if self._marked + len(hashes) > self._room:
            self._rebuild()
        else:
            self._mark(hashes)

    def remove(self, number: int) -> None:
        """Forget a set."""
        del self._sets[number]
        if self._marked > 2 * self._hashes:
            self._rebuild()

    def contain(self, hashes: Hashes, *, but: int | None = None) -> Flags:
        """Which of the hashes are in any of the sets, one of them left out perhaps; shape (n,)."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        places, bits = self._places(hashes)
        candidates = np.flatnonzero(self._table[places] & bits)
        if not len(candidates):
            return found
        # In their order, so that one search is near the one before.
        candidates = candidates[np.argsort(hashes[candidates])]
        asked = hashes[candidates]
        is_in_any = np.zeros(len(asked), dtype=np.bool_)
        for number, known in self._sets.items():
            if number != but:
                is_in_any |= contains(known, asked)
        found[candidates] = is_in_any
        return found

    @property
    def _hashes(self) -> int:
        return sum(map(len, self._sets.values()))

    @property
    def _room(self) -> float:
        """How many hashes there may be before the table is too small."""
        return float("inf") if self._bits == _MAX_MARK_BITS else (1 << self._bits) / _MARKS_PER_HASH

    def _rebuild(self) -> None:
        """A table for twice as many hashes as there are."""
        wanted = max(1, 2 * _MARKS_PER_HASH * self._hashes).bit_length()
        self._bits = min(max(wanted, _MIN_MARK_BITS), _MAX_MARK_BITS)
        self._marked = 0
        self._table = np.zeros(1 << (self._bits - 3), dtype=np.uint8)
        for hashes in self._sets.values():
            self._mark(hashes)

    def _mark(self, hashes: Hashes) -> None:
        self._marked += len(hashes)
        places, bits = self._places(hashes)
        if not len(places):
            return
        # They are sorted, so marks in one byte stand side by side.
        firsts = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1]]))
        self._table[places[firsts]] |= np.bitwise_or.reduceat(bits, firsts)

    def _places(self, hashes: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Of each hash the byte of its mark, and its bit in it; both of shape (n,)."""
        marks = hashes >> np.uint64(64 - self._bits)
        bits = np.left_shift(np.uint8(1), (marks & np.uint64(7)).astype(np.uint8))
        return (marks >> np.uint64(3)).view(np.int64), bits


def contains(known: Hashes, hashes: Hashes) -> Flags:
    """Which of the hashes are in `known`, which is sorted; shape (n,)."""
    if not len(known):
        return np.zeros(len(hashes), dtype=np.bool_)
    places = np.searchsorted(known, hashes)
    places[places == len(known)] = 0
    found: Flags = known[places] == hashes
    return found
