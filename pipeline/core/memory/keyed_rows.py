"""Rows sorted by the hashes of their ids: rows of one id stand together, and become one row.

No text is read or copied before it is known which rows are used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from pipeline.core.memory.cells import lacks_any
from pipeline.core.memory.digest import digest_rows
from pipeline.core.memory.texts import TextList, same_texts
from pipeline.core.model import Flags, Hashes, Offsets, Rows
from pipeline.core.rows.encoding import merge


class RowTexts(Protocol):
    """The texts of rows, one behind the other, wherever they are."""

    @property
    def size_bytes(self) -> int:
        """The bytes of all of them."""

    def with_rows(self, starts: Offsets) -> TextList:
        """The texts, in which at least those rows are there that begin at these offsets. It may read them."""


@dataclass(frozen=True, slots=True)
class Digested:
    """The parameter names under which rows are digested, and the salt."""

    parameters: tuple[str, ...]
    salt: int

    def of(self, body: bytes, starts: Offsets, ends: Offsets) -> Hashes:
        """The digest of each row, see `digest_rows`; `starts` ascend."""
        return digest_rows(body, starts, ends, self.parameters, self.salt)


@dataclass(frozen=True, slots=True, eq=False)
class KeyedRows:
    """n rows, sorted by hash; of one hash, in the order in which they were given.

    `texts`: row i is from `starts[i]` to `ends[i]` in them.
    `id_lengths`, `lines`, `hashes`: (n,), as those of `Rows`.
    `digests`: (n,), of the rows (`digest_rows`).
    """

    texts: RowTexts
    starts: Offsets
    ends: Offsets
    id_lengths: Offsets
    lines: Offsets
    hashes: Hashes
    digests: Hashes

    @classmethod
    def of_rows(cls, rows: Rows, digested: Digested) -> "KeyedRows":
        """These rows, which are in the order of the export."""
        order = np.argsort(rows.hashes, kind="stable")
        starts = rows.starts
        # Before they are sorted, since rows that lie side by side are digested fastest.
        digests = digested.of(rows.body, starts, rows.ends)[order]
        texts = TextList.of([rows.body])
        return cls(
            texts,
            starts[order],
            rows.ends[order],
            rows.id_lengths[order],
            rows.lines[order],
            rows.hashes[order],
            digests,
        )

    def __len__(self) -> int:
        return len(self.hashes)

    def chosen(self, indexes: Offsets) -> "KeyedRows":
        """These rows alone."""
        return self._some(indexes)

    def between(self, some: slice) -> "KeyedRows":
        """The rows of this part; nothing is copied."""
        return self._some(some)

    def _some(self, which: Offsets | slice) -> "KeyedRows":
        return KeyedRows(
            self.texts,
            self.starts[which],
            self.ends[which],
            self.id_lengths[which],
            self.lines[which],
            self.hashes[which],
            self.digests[which],
        )

    def rows(self) -> Rows:
        """A copy of all rows, one behind the other."""
        texts = self.texts.with_rows(self.starts).joined(self.starts, self.ends)
        return Rows(texts, np.cumsum(self.ends - self.starts), self.id_lengths, self.lines, self.hashes)

    def with_texts(self, texts: Mapping[int, bytes], digested: Digested) -> "KeyedRows":
        """The same rows, some of them with other texts, by their index; the ids are the same."""
        if not texts:
            return self
        indexes, added = np.array(sorted(texts), dtype=np.int64), [texts[index] for index in sorted(texts)]
        sizes = np.array([*map(len, added)], dtype=np.int64)
        starts, ends, digests = self.starts.copy(), self.ends.copy(), self.digests.copy()
        stops, text = np.cumsum(sizes), b"".join(added)
        begin = self.texts.size_bytes
        starts[indexes], ends[indexes] = stops - sizes + begin, stops + begin
        digests[indexes] = digested.of(text, stops - sizes, stops)
        return replace(self, texts=_Longer(self.texts, text), starts=starts, ends=ends, digests=digests)


@dataclass(frozen=True, slots=True)
class _Longer:
    """Texts, and one more behind them."""

    texts: RowTexts
    more: bytes

    @property
    def size_bytes(self) -> int:
        """The bytes of all of them."""
        return self.texts.size_bytes + len(self.more)

    def with_rows(self, starts: Offsets) -> TextList:
        """The texts in which these rows are there."""
        found = self.texts.with_rows(starts[starts < self.texts.size_bytes])
        return TextList.of([*found.texts, self.more])


@dataclass(frozen=True, slots=True, eq=False)
class OneEach:
    """One row of each id, as far as rows may be merged.

    `rows`: n rows; each is what rows of its id come to, and has the line of the last of them.
    `records`: (n,), the number of rows that came to it.
    """

    rows: KeyedRows
    records: Offsets


def one_of_each_id(rows: KeyedRows, max_row_bytes: int, digested: Digested) -> OneEach:
    """The rows with those of one id merged: of each cell, the last value that is not empty.

    Two ids may have the same hash: each has its own row then. Rows that would come to more than `max_row_bytes`, which
    fit in no batch, stay apart, in their order; unless a last one that has all cells takes their place.
    `digested`: that of the rows.
    """
    is_same = rows.hashes[1:] == rows.hashes[:-1]
    records = np.ones(len(rows), dtype=np.int64)
    if not is_same.any():
        return OneEach(rows, records)
    is_again, goes_on = np.append(False, is_same), np.append(is_same, False)
    repeated = np.flatnonzero(is_again | goes_on)
    texts = rows.chosen(repeated).rows()
    is_first = ~is_again[repeated]
    firsts = np.flatnonzero(is_first)
    sizes = np.diff(np.append(firsts, len(repeated)))
    # Most often, the last row of an id has all cells: it is what they come to.
    lasts = firsts + sizes - 1
    is_whole = ~lacks_any(texts, len(digested.parameters))[lasts] & _are_of_one_id(texts, is_first, firsts)
    is_left = np.ones(len(rows), dtype=np.bool_)
    is_left[repeated[np.repeat(is_whole, sizes)]] = False
    is_left[repeated[lasts[is_whole]]] = True
    records[repeated[lasts[is_whole]]] = sizes[is_whole]
    replaced: dict[int, bytes] = {}
    for first, size in zip(firsts[~is_whole].tolist(), sizes[~is_whole].tolist(), strict=True):
        _merge(texts, range(first, first + size), max_row_bytes, repeated, replaced, records, is_left)
    left = np.flatnonzero(is_left)
    return OneEach(rows.with_texts(replaced, digested).chosen(left), records[left])


def _are_of_one_id(rows: Rows, is_first: Flags, firsts: Offsets) -> Flags:
    """For each group of rows: all of them have the id of the first. They begin where `is_first` is set, at `firsts`."""
    starts, sizes = rows.starts, rows.id_lengths
    of_group = np.repeat(firsts, np.diff(np.append(firsts, len(rows))))
    same = same_texts(rows.body, starts, sizes, rows.body, starts[of_group], sizes[of_group])
    are_of_one_id: Flags = np.logical_and.reduceat(same | is_first, firsts)
    return are_of_one_id


def _merge(
    texts: Rows,
    group: range,
    max_row_bytes: int,
    indexes: Offsets,
    replaced: dict[int, bytes],
    records: Offsets,
    is_left: Flags,
) -> None:
    """Merge rows of one hash, by their ids. `indexes`: those of `texts` in the other three, which are changed."""
    latest: dict[bytes, tuple[bytes, int]] = {}
    for place in group:
        text, index = texts.text(place), int(indexes[place])
        if (found := latest.get(profile_id := text[: int(texts.id_lengths[place])])) is not None:
            earlier, before = found
            merged = merge(earlier, text)
            if len(merged) <= max_row_bytes:
                replaced.pop(before, None)
                replaced[index] = text = merged
                records[index] += records[before]
                is_left[before] = False
        latest[profile_id] = text, index
