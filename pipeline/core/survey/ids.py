"""Counts how many ids there are and how often they repeat, in memory that does not grow beyond a bound.

Ids are known by their 64-bit hashes. Up to `MOST_IDS` of them the counts are exact. Beyond, only ids whose hash begins
with a zero bit are kept, then those with two, and so on: a sample of all ids, evenly spread, by which the counts are
told. With millions of ids in it, it is wrong by less than one in a thousand.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.core.model import Hashes

#: Ids that are kept. Ours: 100 MB at 12 bytes each.
MOST_IDS = 8_388_608
#: Hashes that are collected before they are sorted in among the others. Ours: 8 MB.
_COLLECTED = 1_048_576
_BITS = 64

Counts = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class IdCounts:
    """The ids of the rows that would be sent.

    `repeated`: ids on more than one row.
    `most_rows`: the rows of the id with the most; of one of the ids that were kept, if the counts are not exact.
    `is_exact`: false if the other counts are about right only.
    """

    distinct: int = 0
    repeated: int = 0
    most_rows: int = 0
    is_exact: bool = True


class IdCount:
    """The ids of an export, fed block by block."""

    def __init__(self, most_ids: int = MOST_IDS, collected: int = _COLLECTED) -> None:
        self._most_ids = most_ids
        self._most_collected = collected
        self._hashes: Hashes = np.zeros(0, dtype=np.uint64)
        self._counts: Counts = np.zeros(0, dtype=np.uint32)
        self._new: list[Hashes] = []
        self._collected = 0
        # Hashes that begin with so many zero bits are kept.
        self._zero_bits = 0
        self._most_rows = 0

    def add(self, hashes: Hashes) -> None:
        """Count the ids of these rows."""
        if self._zero_bits:
            hashes = hashes[self._is_kept(hashes)]
        self._new.append(hashes)
        self._collected += len(hashes)
        if self._collected >= self._most_collected:
            self._sort_in()

    def counted(self) -> IdCounts:
        """The counts so far."""
        self._sort_in()
        scale = 1 << self._zero_bits
        return IdCounts(
            distinct=len(self._hashes) * scale,
            repeated=int(np.count_nonzero(self._counts > 1)) * scale,
            most_rows=self._most_rows,
            is_exact=not self._zero_bits,
        )

    def _sort_in(self) -> None:
        if not self._collected:
            return
        found, counts = np.unique(np.concatenate(self._new), return_counts=True)
        self._new, self._collected = [], 0
        if len(self._hashes):
            self._merge(found, counts.astype(np.uint32))
        else:
            self._hashes, self._counts = found, counts.astype(np.uint32)
        self._most_rows = max(self._most_rows, int(self._counts.max(initial=0)))
        while len(self._hashes) > self._most_ids:
            self._zero_bits += 1
            # They are sorted: those that begin with a zero bit more stand in front.
            kept = int(np.count_nonzero(self._is_kept(self._hashes)))
            self._hashes, self._counts = self._hashes[:kept].copy(), self._counts[:kept].copy()

    def _merge(self, found: Hashes, counts: Counts) -> None:
        """Add these hashes, each once and in order, to those that are known."""
        places = np.searchsorted(self._hashes, found)
        is_known = np.zeros(len(found), dtype=np.bool_)
        inside = places < len(self._hashes)
        is_known[inside] = self._hashes[places[inside]] == found[inside]
        self._counts[places[is_known]] += counts[is_known]
        is_new = ~is_known
        self._hashes = np.insert(self._hashes, places[is_new], found[is_new])
        self._counts = np.insert(self._counts, places[is_new], counts[is_new])

    def _is_kept(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        is_kept: npt.NDArray[np.bool_] = hashes < np.uint64(1 << (_BITS - self._zero_bits))
        return is_kept
