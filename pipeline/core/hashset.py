"""Sets of hashes as sorted arrays, asked about whole blocks of hashes at once."""

import numpy as np

from pipeline.core.model import Flags, Hashes, Offsets

#: Of so many marks, of a byte each, one is set for each hash of a set; but there are never more than 4 MB of them.
_MARKS_PER_HASH = 8
_MAX_MARK_BITS = 22


def contains(known: Hashes, hashes: Hashes) -> Flags:
    """Which of the hashes are in `known`, which is sorted; shape (n,)."""
    if not len(known):
        return np.zeros(len(hashes), dtype=np.bool_)
    places = np.searchsorted(known, hashes)
    places[places == len(known)] = 0
    found: Flags = known[places] == hashes
    return found


class HashSet:
    """The set of these sorted hashes, for asking often.

    A search in millions waits for memory twenty times. So a table of marks, for the first bits of each hash, tells at
    one look of most hashes that they are not in the set, and only the others are searched for.
    """

    def __init__(self, known: Hashes) -> None:
        self._known = known
        bits = min(max(1, (_MARKS_PER_HASH * len(known)).bit_length()), _MAX_MARK_BITS)
        self._shift = np.uint64(64 - bits)
        self._is_marked = np.zeros(1 << bits, dtype=np.bool_)
        self._is_marked[self._marks(known)] = True

    def contains(self, hashes: Hashes) -> Flags:
        """Which of the hashes are in the set; shape (n,)."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        candidates = np.flatnonzero(self._is_marked[self._marks(hashes)])
        found[candidates] = contains(self._known, hashes[candidates])
        return found

    def _marks(self, hashes: Hashes) -> Offsets:
        return (hashes >> self._shift).view(np.int64)
