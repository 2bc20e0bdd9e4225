"""Sets of 64-bit hashes behind a Bloom filter; a whole block of hashes is looked up in all of them at once.

A lookup never misses a hash that is in a set. It may find a hash that is in none, because only the first 49 bits of
each hash in a large set are kept: with 20 million random hashes in the sets, one lookup in 28 million is wrong.

A search in an array of millions waits for memory twenty times, and in forty arrays eight hundred times. So:

* a blocked Bloom filter rules out most hashes that are in no set, with one access to memory: each hash sets four bits
  in one 64-bit word;
* the large sets lie on one stack, each with an index by the first bits of its hashes. A few steps of numpy look up all
  remaining hashes in all of them: each entry of an index has about four hashes;
* small sets, for which an index would be larger than they are, are searched one by one.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.core.model import Flags, Hashes

#: Bits of the filter for each hash, at least, until the filter has its greatest size. With so few, the filter lets one
#: in forty hashes through that are in no set.
_BITS_PER_HASH = 8
#: Bits that a hash sets. With 13 bits of the filter for each hash, two set bits would let one in fifty hashes through
#: that are in no set; four let one in 120 through.
_MARKS = 4
#: Words of the filter, as a power of two: at most 32 MB, in which 20 million hashes have 13 bits each.
_MIN_WORDS_POWER, _MAX_WORDS_POWER = 6, 22
#: Rebuild the filter when the hashes put into it are more than this many times those that are still in a set.
_MARKED_PER_HASH = 1.5
#: A new filter has room for at least this many times the hashes that are in the sets by then.
_ROOM_PER_HASH = 1.3
#: Entries of the index of a large set, as a power of two: half a megabyte, one byte for each of 500,000 hashes.
_INDEX_POWER = 17
#: Hashes put in, and looked up, at a time, so that the intermediate values take little memory.
_PUT_AT_ONCE = 65_536
_ASKED_AT_ONCE = 1_000

_KEY_BITS = 32
#: Bits of the filter are set in pairs. Twelve bits of a hash choose a pair, six of them for each bit of it.
_MARK_BITS = np.uint64(1) << np.arange(64, dtype=np.uint64)
_PAIRS_OF_MARKS = (_MARK_BITS[:, np.newaxis] | _MARK_BITS).ravel()
_WHICH_PAIR = np.uint64(len(_PAIRS_OF_MARKS) - 1)
_PAIR_BITS = 12


class HashSets:
    """Sets, named by numbers. A removed set leaves its bits in the filter until the filter is rebuilt.

    `index_power`: a set of at least half of 2 ** `index_power` hashes is large.
    """

    def __init__(self, *, index_power: int = _INDEX_POWER) -> None:
        self._small: dict[int, Hashes] = {}
        self._large = _Stack(index_power)
        self._large_from = 1 << (index_power - 1)
        self._hashes = self._marked = 0
        #: The number of times that a set was put or removed.
        self.changes = 0
        self._power = _MIN_WORDS_POWER
        self._table: Hashes = np.zeros(1 << self._power, dtype=np.uint64)

    def __len__(self) -> int:
        return len(self._small) + len(self._large.numbers)

    def __iter__(self) -> Iterator[int]:
        return iter([*self._small, *self._large.numbers])

    def __contains__(self, number: int) -> bool:
        return number in self._small or number in self._large.numbers

    def put(self, number: int, hashes: Hashes) -> None:
        """Add a set of sorted hashes, shape (n,), under a new number."""
        if len(hashes) >= self._large_from:
            self._large.push(number, hashes)
        else:
            self._small[number] = hashes
        self.changes += 1
        self._hashes += len(hashes)
        if self._power < _MAX_WORDS_POWER and _BITS_PER_HASH * (self._marked + len(hashes)) > 64 * len(self._table):
            self._mark_anew()
        else:
            self._mark(hashes)

    def remove(self, number: int) -> None:
        """Remove a set."""
        self.changes += 1
        self._hashes -= len(self._small.pop(number)) if number in self._small else self._large.remove(number)
        if self._marked > _MARKED_PER_HASH * self._hashes:
            self._mark_anew()

    def contain(self, hashes: Hashes, *, but: int | None = None) -> Flags:
        """Set for each hash that is in any of the sets, except the set `but`; shape (n,)."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        words, marks = self._places(hashes)
        candidates = np.flatnonzero(self._table.take(words) & marks == marks)
        if not len(candidates):
            return found
        # Sorted, so that each search is near the one before.
        candidates = candidates[np.argsort(hashes[candidates])]
        asked = hashes[candidates]
        places = [place for place, number in enumerate(self._large.numbers) if number != but]
        is_in_any = self._large.contain(asked, places)
        for number, known in self._small.items():
            if number != but:
                is_in_any |= contains(known, asked)
        found[candidates] = is_in_any
        return found

    def are_in(self, number: int, hashes: Hashes) -> Flags:
        """Set for each hash that is in this set; shape (n,)."""
        if number in self._small:
            return contains(self._small[number], hashes)
        place = self._large.place_of(number)
        return self._large.contain(hashes, [place])

    def _mark_anew(self) -> None:
        """Rebuild the filter, with room for more hashes."""
        wanted = int(_ROOM_PER_HASH * _BITS_PER_HASH * self._hashes) // 64
        self._power = min(max(wanted.bit_length(), _MIN_WORDS_POWER), _MAX_WORDS_POWER)
        self._marked = 0
        # Freed first, so that there are never two filters at once.
        del self._table
        self._table = np.zeros(1 << self._power, dtype=np.uint64)
        for known in self._small.values():
            self._mark(known)
        for place in range(len(self._large.numbers)):
            self._mark(self._large.hashes(place))

    def _mark(self, hashes: Hashes) -> None:
        self._marked += len(hashes)
        for first in range(0, len(hashes), _PUT_AT_ONCE):
            words, marks = self._places(hashes[first : first + _PUT_AT_ONCE])
            # The hashes are sorted, so those of one word are side by side.
            firsts = np.flatnonzero(np.concatenate([[True], words[1:] != words[:-1]]))
            self._table[words[firsts]] |= np.bitwise_or.reduceat(marks, firsts)

    def _places(self, hashes: Hashes) -> tuple[npt.NDArray[np.int64], Hashes]:
        """For each hash, the index of its word and its bits in that word; both of shape (n,).

        They depend on the first 46 bits of the hash only.
        """
        shift = 64 - self._power
        words = (hashes >> np.uint64(shift)).view(np.int64)
        marks = np.zeros(len(hashes), dtype=np.uint64)
        for _ in range(_MARKS // 2):
            shift -= _PAIR_BITS
            marks |= _PAIRS_OF_MARKS.take(((hashes >> np.uint64(shift)) & _WHICH_PAIR).view(np.int64))
        return words, marks


class _Stack:
    """Large sets, one on top of the other; `numbers` names them from the bottom up.

    All their keys lie in one array. The key of a hash is the 32 bits behind the bits that choose its entry in the
    index. Set i has the keys of entry e at `_keys[_index[i, e]:_index[i, e + 1]]`.
    """

    def __init__(self, index_power: int) -> None:
        self.numbers: list[int] = []
        self._entry_shift = np.uint64(64 - index_power)
        self._key_shift = np.uint64(64 - index_power - _KEY_BITS)
        self._keys: npt.NDArray[np.uint32] = np.zeros(0, dtype=np.uint32)
        self._index: npt.NDArray[np.int32] = np.zeros((0, (1 << index_power) + 1), dtype=np.int32)

    def push(self, number: int, hashes: Hashes) -> None:
        """Put a set of sorted hashes on top."""
        height, width = self._index.shape
        bottom = len(self._keys)
        # In place if the system can: a copy would take as much memory again.
        self._keys.resize(bottom + len(hashes), refcheck=False)
        self._index.resize((height + 1, width), refcheck=False)
        starts = self._index[height]
        for first in range(0, len(hashes), _PUT_AT_ONCE):
            some = hashes[first : first + _PUT_AT_ONCE]
            self._keys[bottom + first : bottom + first + len(some)] = self._keys_of(some)
            counts = np.bincount(self._entries_of(some))
            starts[1 : len(counts) + 1] += counts
        starts[0] = bottom
        np.cumsum(starts, out=starts)
        self.numbers.append(number)

    def remove(self, number: int) -> int:
        """Remove a set; return the number of its hashes."""
        place = self.place_of(number)
        height, width = self._index.shape
        bottom, top = self._index[place, 0], self._index[place, -1]
        self._keys[bottom : len(self._keys) - (top - bottom)] = self._keys[top:]
        self._keys.resize(len(self._keys) - (top - bottom), refcheck=False)
        self._index[place:-1] = self._index[place + 1 :]
        self._index[place:-1] -= top - bottom
        self._index.resize((height - 1, width), refcheck=False)
        del self.numbers[place]
        return int(top - bottom)

    def place_of(self, number: int) -> int:
        """The place of a set on the stack. Raises `KeyError` if there is no such set."""
        if number not in self.numbers:
            raise KeyError(number)
        return self.numbers.index(number)

    def hashes(self, place: int) -> Hashes:
        """The hashes of a set; the bits that are not kept are 0."""
        index = self._index[place]
        hashes = np.repeat(np.arange(len(index) - 1, dtype=np.uint64) << self._entry_shift, np.diff(index))
        hashes |= self._keys[index[0] : index[-1]].astype(np.uint64) << self._key_shift
        return hashes

    def contain(self, hashes: Hashes, places: Sequence[int]) -> Flags:
        """Set for each hash that is in any of the sets at these places; shape (n,)."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        if places:
            for first in range(0, len(hashes), _ASKED_AT_ONCE):
                asked = hashes[first : first + _ASKED_AT_ONCE]
                found[first : first + _ASKED_AT_ONCE] = self._find(asked, places)
        return found

    def _find(self, hashes: Hashes, places: Sequence[int]) -> Flags:
        # For each hash in each set, set by set: the entry of the index, and the number of its keys.
        entries = ((np.array(places) * self._index.shape[1])[:, np.newaxis] + self._entries_of(hashes)).ravel()
        index = self._index.reshape(-1)
        starts = index.take(entries)
        counts = index.take(entries + 1) - starts
        # The position of each key to compare.
        ends = np.cumsum(counts, dtype=np.int32)
        looked_at = np.arange(ends[-1], dtype=np.int32)
        looked_at += np.repeat(starts - (ends - counts), counts)
        wanted = np.repeat(np.tile(self._keys_of(hashes), len(places)), counts)
        same = np.flatnonzero(self._keys.take(looked_at) == wanted)
        is_found = np.zeros(len(hashes), dtype=np.bool_)
        is_found[np.searchsorted(ends, same, side="right") % len(hashes)] = True
        return is_found

    def _entries_of(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        return (hashes >> self._entry_shift).view(np.int64)

    def _keys_of(self, hashes: Hashes) -> npt.NDArray[np.uint32]:
        return (hashes >> self._key_shift).astype(np.uint32)


def contains(known: Hashes, hashes: Hashes) -> Flags:
    """Set for each hash that is in `known`, which is sorted; shape (n,)."""
    if not len(known):
        return np.zeros(len(hashes), dtype=np.bool_)
    places = np.searchsorted(known, hashes)
    places[places == len(known)] = 0
    found: Flags = known[places] == hashes
    return found
