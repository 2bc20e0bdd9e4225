"""Many sets of 64-bit hashes, asked about whole blocks of hashes at once: in which of them may any be?

Of each hash in a large set only its first 49 bits are kept. So an answer may be yes where no would be right, of 20
million random hashes once in 28 million questions, and is never no where yes would be.

A search in an array of millions waits for memory twenty times, and in forty arrays eight hundred times. So

* a table of marks, four bits for each hash in one word of 64, tells at one look of most hashes that they are in no set;
* the large sets lie on one stack, each with an index by the first bits of its hashes, so that a few steps of numpy look
  for all that are left in all of them: some four numbers stand behind each entry of the index;
* small sets, for which an index would be larger than they are, are searched one by one.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.core.model import Flags, Hashes

#: Bits of the table for each hash, at least, as long as there is room: one hash of forty is then looked for in vain.
_BITS_PER_HASH = 8
#: Marks of a hash. With 13 bits for each, two would let one of fifty through that is in no set, four let one of 120.
_MARKS = 4
#: Words of the table, as a power of two: at most 32 MB, of which 20 million hashes have 13 bits each.
_MIN_WORDS_POWER, _MAX_WORDS_POWER = 6, 22
#: What a set has outlived of the table is cleared away when it is more than so many times what is there.
_MARKED_PER_HASH = 1.5
#: A table has room for so many times the hashes that are there when it is made, at least.
_ROOM_PER_HASH = 1.3
#: Entries of the index of a large set, as a power of two: half a megabyte, one byte for each of 500,000 hashes.
_INDEX_POWER = 17
#: Hashes put in and looked for at a time, so that what is computed of them takes little memory.
_PUT_AT_ONCE = 65_536
_ASKED_AT_ONCE = 1_000

_KEY_BITS = 32
#: Marks are set in pairs, each by twelve bits of a hash: what either six of them say.
_MARK_BITS = np.uint64(1) << np.arange(64, dtype=np.uint64)
_PAIRS_OF_MARKS = (_MARK_BITS[:, np.newaxis] | _MARK_BITS).ravel()
_WHICH_PAIR = np.uint64(len(_PAIRS_OF_MARKS) - 1)
_PAIR_BITS = 12


class HashSets:
    """Sets by their numbers. What was removed leaves its marks until they are many.

    `index_power`: sets with half of 2 to the power of it, or more, are large.
    """

    def __init__(self, *, index_power: int = _INDEX_POWER) -> None:
        self._small: dict[int, Hashes] = {}
        self._large = _Stack(index_power)
        self._large_from = 1 << (index_power - 1)
        self._hashes = self._marked = 0
        #: How often a set was put or removed.
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
        """A set of sorted hashes, shape (n,), by a number that is new."""
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
        """Forget a set."""
        self.changes += 1
        self._hashes -= len(self._small.pop(number)) if number in self._small else self._large.remove(number)
        if self._marked > _MARKED_PER_HASH * self._hashes:
            self._mark_anew()

    def contain(self, hashes: Hashes, *, but: int | None = None) -> Flags:
        """Which of the hashes are in any of the sets, one of them left out perhaps; shape (n,)."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        words, marks = self._places(hashes)
        candidates = np.flatnonzero(self._table.take(words) & marks == marks)
        if not len(candidates):
            return found
        # In their order, so that one search is near the one before.
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
        """Which of the hashes are in this set; shape (n,)."""
        if number in self._small:
            return contains(self._small[number], hashes)
        place = self._large.place_of(number)
        return self._large.contain(hashes, [place])

    def _mark_anew(self) -> None:
        """A table with room for as many hashes as there may be before the next one."""
        wanted = int(_ROOM_PER_HASH * _BITS_PER_HASH * self._hashes) // 64
        self._power = min(max(wanted.bit_length(), _MIN_WORDS_POWER), _MAX_WORDS_POWER)
        self._marked = 0
        # Not two of them at once.
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
            # They are sorted, so those of one word stand side by side.
            firsts = np.flatnonzero(np.concatenate([[True], words[1:] != words[:-1]]))
            self._table[words[firsts]] |= np.bitwise_or.reduceat(marks, firsts)

    def _places(self, hashes: Hashes) -> tuple[npt.NDArray[np.int64], Hashes]:
        """Of each hash its word, and its marks in it; both of shape (n,). They hang on its first 46 bits."""
        shift = 64 - self._power
        words = (hashes >> np.uint64(shift)).view(np.int64)
        marks = np.zeros(len(hashes), dtype=np.uint64)
        for _ in range(_MARKS // 2):
            shift -= _PAIR_BITS
            marks |= _PAIRS_OF_MARKS.take(((hashes >> np.uint64(shift)) & _WHICH_PAIR).view(np.int64))
        return words, marks


class _Stack:
    """Large sets, one upon the other; `numbers` names them from the lowest on.

    All their keys lie in one array: of each hash the 32 bits behind those that name its entry in the index. Set i has
    those of entry e at `_keys[_index[i, e]:_index[i, e + 1]]`.
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
        # In place as far as the system can: a copy of all would be as much memory again.
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
        """Take a set out; how many hashes it had."""
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
        """Where a set lies. Raises `KeyError` where there is no such set."""
        if number not in self.numbers:
            raise KeyError(number)
        return self.numbers.index(number)

    def hashes(self, place: int) -> Hashes:
        """What is known of the hashes of a set; the bits that are not kept are 0."""
        index = self._index[place]
        hashes = np.repeat(np.arange(len(index) - 1, dtype=np.uint64) << self._entry_shift, np.diff(index))
        hashes |= self._keys[index[0] : index[-1]].astype(np.uint64) << self._key_shift
        return hashes

    def contain(self, hashes: Hashes, places: Sequence[int]) -> Flags:
        """Which of the hashes are in any of the sets at these places; shape (n,)."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        if places:
            for first in range(0, len(hashes), _ASKED_AT_ONCE):
                asked = hashes[first : first + _ASKED_AT_ONCE]
                found[first : first + _ASKED_AT_ONCE] = self._find(asked, places)
        return found

    def _find(self, hashes: Hashes, places: Sequence[int]) -> Flags:
        # Of each hash in each set, set by set, the entry, and how many keys are behind it.
        entries = ((np.array(places) * self._index.shape[1])[:, np.newaxis] + self._entries_of(hashes)).ravel()
        index = self._index.reshape(-1)
        starts = index.take(entries)
        counts = index.take(entries + 1) - starts
        # One number for each key to look at: where it lies.
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
    """Which of the hashes are in `known`, which is sorted; shape (n,)."""
    if not len(known):
        return np.zeros(len(hashes), dtype=np.bool_)
    places = np.searchsorted(known, hashes)
    places[places == len(known)] = 0
    found: Flags = known[places] == hashes
    return found
