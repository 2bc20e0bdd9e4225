"""Held rows in columns, found by their ids: there may be a million of them, of a hundred bytes each.

In a dictionary they would take more memory besides their text than the text itself. So all texts lie in one array, and
another array has one entry for each row. An entry is named by its number. A table gives the first entry of each chain,
and a chain links the entries whose hashes end alike. A removed entry stays in place until `tidy`, which alone changes
the numbers.
"""

import numpy as np
import numpy.typing as npt

from pipeline.core.model import Flags, Hashes, Octets, Offsets, Rows

Numbers = npt.NDArray[np.intp]

_ENTRY = np.dtype(
    [
        ("hash", np.uint64),
        ("line", np.int64),
        ("start", np.int64),
        ("size", np.int32),
        ("id_size", np.int32),
        ("next", np.int32),
        ("is_held", np.bool_),
        ("is_loose", np.bool_),
        ("is_changed", np.bool_),
    ]
)
_FIRST_ENTRIES, _FIRST_BYTES = 1_024, 65_536
#: Compact the arrays when more than this many times the space of the held rows is in use.
_USED_PER_HELD = 1.25
#: Rows whose text is copied at a time, so that the intermediate values take little memory.
_COPIED_AT_ONCE = 4_096
_NONE = -1


class HeldRows:
    """Rows that are held, at most one for each id.

    The tracker sets the flags `is_loose` and `is_changed`, by number.
    """

    def __init__(self) -> None:
        self._entries = np.zeros(_FIRST_ENTRIES, dtype=_ENTRY)
        self._used = self._held = 0
        #: The number of times that rows were added, removed or renumbered.
        self.changes = 0
        self._text = np.zeros(_FIRST_BYTES, dtype=np.uint8)
        self._text_used = self.text_bytes = 0
        self._heads = np.full(_FIRST_ENTRIES, _NONE, dtype=np.int32)
        self._look_at_entries()

    def __len__(self) -> int:
        return self._held

    @property
    def is_loose(self) -> Flags:
        """Set for each number whose row may no longer wait for any batch; shape (n,)."""
        return self._entries["is_loose"][: self._used]

    @property
    def is_changed(self) -> Flags:
        """Set for each number whose row has changed since the tracker last took the changes; shape (n,)."""
        return self._entries["is_changed"][: self._used]

    def numbers(self) -> Numbers:
        """The numbers of all rows; shape (n,)."""
        return np.flatnonzero(self._is_held[: self._used])

    def hashes(self, numbers: Numbers) -> Hashes:
        """The hashes of these rows' ids; shape (n,)."""
        return self._hashes[numbers]

    def ids(self, numbers: Numbers) -> list[bytes]:
        """The encoded ids of these rows."""
        return self._slices(self._starts[numbers], self._id_sizes[numbers])

    def texts(self, numbers: Numbers) -> list[bytes]:
        """The encoded rows of these numbers."""
        return self._slices(self._starts[numbers], self._sizes[numbers])

    def text(self, number: int) -> bytes:
        """One encoded row."""
        start = int(self._starts[number])
        return self._text[start : start + int(self._sizes[number])].tobytes()

    def line(self, number: int) -> int:
        """The line of one row."""
        return int(self._lines[number])

    def text_bytes_of(self, numbers: Numbers) -> int:
        """The bytes of these rows together."""
        return int(self._sizes[numbers].sum())

    def rows_by_line(self, numbers: Numbers) -> Rows:
        """These rows, in the order of their lines."""
        return self.rows(numbers[np.argsort(self._lines[numbers], kind="stable")])

    def rows(self, numbers: Numbers) -> Rows:
        """These rows, in this order."""
        sizes = self._sizes[numbers]
        body = np.empty(int(sizes.sum()), dtype=np.uint8)
        _copy(self._text, self._starts[numbers], sizes, body)
        return Rows(
            body.tobytes(),
            np.cumsum(sizes, dtype=np.int64),
            self._id_sizes[numbers].astype(np.int64),
            self._lines[numbers],
            self._hashes[numbers],
        )

    def find(self, profile_id: bytes, hash_: int) -> int:
        """The number of the row of an encoded id, -1 if there is none."""
        number = int(self._heads[hash_ & (len(self._heads) - 1)])
        while number != _NONE:
            if self._is_held[number] and self._hashes[number] == hash_ and self._has_id(number, profile_id):
                break
            number = int(self._next[number])
        return number

    def find_all(self, ids: list[bytes], hashes: Hashes) -> Numbers:
        """The number of the row of each encoded id, -1 if there is none; shape (n,)."""
        numbers = self._first_alike(hashes)
        alike = zip(ids, self.ids(numbers), self._is_held[numbers].tolist(), strict=True)
        for place, (profile_id, known, is_held) in enumerate(alike):
            if profile_id != known or not is_held:
                numbers[place] = self.find(profile_id, int(hashes[place]))
        return numbers

    def may_have(self, hashes: Hashes) -> Flags:
        """Set for each hash whose id may have a row here; if it is not set, there is none; shape (n,)."""
        found: Flags = self._first_alike(hashes) != _NONE
        return found

    def _first_alike(self, hashes: Hashes) -> Numbers:
        """The number of the first entry with each hash, a removed one perhaps; -1 if there is none; shape (n,)."""
        numbers = self._heads[self._buckets(hashes)]
        seeking = np.flatnonzero(numbers != _NONE)
        while len(seeking := seeking[self._hashes[numbers[seeking]] != hashes[seeking]]):
            numbers[seeking] = self._next[numbers[seeking]]
            seeking = seeking[numbers[seeking] != _NONE]
        return numbers.astype(np.intp)

    def add(self, rows: Rows, indexes: Offsets, *, is_loose: bool, is_changed: bool) -> None:
        """Add some of the rows, by their indexes; there must be no row of their ids yet."""
        starts = rows.starts[indexes]
        sizes = rows.ends[indexes] - starts
        text_bytes, first = int(sizes.sum()), self._used
        self.changes += 1
        self._reserve(len(indexes), text_bytes)
        self._used += len(indexes)
        added = self._entries[first : self._used]
        added["hash"], added["line"] = rows.hashes[indexes], rows.lines[indexes]
        added["start"], added["size"] = self._text_used + np.cumsum(sizes) - sizes, sizes
        added["id_size"] = rows.id_lengths[indexes]
        added["is_held"], added["is_loose"], added["is_changed"] = True, is_loose, is_changed
        _copy(np.frombuffer(rows.body, dtype=np.uint8), starts, sizes, self._text[self._text_used :])
        self._text_used += text_bytes
        self.text_bytes += text_bytes
        self._held += len(indexes)
        self._chain(np.arange(first, self._used))

    def replace(self, number: int, text: bytes, line: int) -> None:
        """Replace a row by another of the same id."""
        if len(text) > self._sizes[number]:
            self._reserve(0, len(text))
            self._starts[number] = self._text_used
            self._text_used += len(text)
        start = int(self._starts[number])
        self.text_bytes += len(text) - int(self._sizes[number])
        self._text[start : start + len(text)] = np.frombuffer(text, dtype=np.uint8)
        self._sizes[number], self._lines[number] = len(text), line

    def replace_texts(self, numbers: Numbers, texts: list[bytes]) -> None:
        """Replace the texts of several rows by others of the same ids; the lines stay."""
        sizes = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        ends = np.cumsum(sizes)
        text_bytes = int(sizes.sum())
        self._reserve(0, text_bytes)
        self._text[self._text_used : self._text_used + text_bytes] = np.frombuffer(b"".join(texts), dtype=np.uint8)
        self.text_bytes += text_bytes - self.text_bytes_of(numbers)
        self._starts[numbers], self._sizes[numbers] = self._text_used + ends - sizes, sizes
        self._text_used += text_bytes

    def remove(self, numbers: Numbers) -> None:
        """Remove rows."""
        self.changes += 1
        self._is_held[numbers] = False
        self.is_loose[numbers] = self.is_changed[numbers] = False
        self._held -= len(numbers)
        self.text_bytes -= int(self._sizes[numbers].sum())

    def tidy(self) -> None:
        """Free unused space if there is much of it; numbers change."""
        is_much = self._used > _USED_PER_HELD * self._held + _FIRST_ENTRIES
        if is_much or self._text_used > _USED_PER_HELD * self.text_bytes + _FIRST_BYTES:
            self.changes += 1
            self._close_up_text()
            self._entries = self._entries[self.numbers()]
            self._used = self._held
            self._look_at_entries()
            self._chain_anew()

    def _close_up_text(self) -> None:
        """Move the texts of all rows together, in the order in which they lie."""
        numbers = self.numbers()
        numbers = numbers[np.argsort(self._starts[numbers])]
        sizes = self._sizes[numbers]
        starts = np.cumsum(sizes, dtype=np.int64) - sizes
        # Safe in place: each piece moves to bytes that were read already, or to its own.
        self._text_used = _copy(self._text, self._starts[numbers], sizes, self._text)
        self._text.resize(max(self._text_used, _FIRST_BYTES), refcheck=False)
        self._starts[numbers] = starts

    def _reserve(self, entries: int, text_bytes: int) -> None:
        """Make room, in small steps: all room takes memory, since numpy fills it."""
        if self._used + entries > len(self._entries):
            self._entries.resize(self._used + entries + len(self._entries) // 8, refcheck=False)
            self._look_at_entries()
        if self._text_used + text_bytes > len(self._text):
            self._text.resize(self._text_used + text_bytes + len(self._text) // 8, refcheck=False)

    def _look_at_entries(self) -> None:
        entries = self._entries
        self._hashes, self._lines, self._starts = entries["hash"], entries["line"], entries["start"]
        self._sizes, self._id_sizes, self._next = entries["size"], entries["id_size"], entries["next"]
        self._is_held = entries["is_held"]

    def _chain(self, numbers: Numbers) -> None:
        """Put entries at the front of their chains."""
        if self._used > len(self._heads):
            self._chain_anew()
            return
        buckets = self._buckets(self._hashes[numbers])
        order = np.argsort(buckets, kind="stable")
        buckets, numbers = buckets[order], numbers[order]
        self._next[numbers] = self._heads[buckets]
        followed = np.flatnonzero(buckets[1:] == buckets[:-1])
        self._next[numbers[followed]] = numbers[followed + 1]
        # Reversed: of several entries of one chain, the first is written last, and stays.
        self._heads[buckets[::-1]] = numbers[::-1]

    def _chain_anew(self) -> None:
        self._heads = np.full(max(_FIRST_ENTRIES, 1 << self._used.bit_length()), _NONE, dtype=np.int32)
        self._chain(np.arange(self._used))

    def _buckets(self, hashes: Hashes) -> Numbers:
        return (hashes & np.uint64(len(self._heads) - 1)).astype(np.intp)

    def _slices(self, starts: Offsets, sizes: npt.NDArray[np.int32]) -> list[bytes]:
        octets = self._text.data
        return [bytes(octets[a:b]) for a, b in zip(starts.tolist(), (starts + sizes).tolist(), strict=True)]

    def _has_id(self, number: int, profile_id: bytes) -> bool:
        start = int(self._starts[number])
        return bool(self._text[start : start + int(self._id_sizes[number])].tobytes() == profile_id)


def _copy(source: Octets, starts: Offsets, sizes: Offsets, target: Octets) -> int:
    """Copy pieces of one array to the front of another, one after the other; return the number of bytes."""
    read, write = source.data, target.data
    written = 0
    for first in range(0, len(starts), _COPIED_AT_ONCE):
        some = slice(first, first + _COPIED_AT_ONCE)
        for start, size in zip(starts[some].tolist(), sizes[some].tolist(), strict=True):
            write[written : written + size] = read[start : start + size]
            written += size
    return written
