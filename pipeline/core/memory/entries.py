"""Entries: what is remembered of many ids, in columns, and how newer entries take the place of older ones.

An id is named by its *key*, the salted hash of the encoded id (`Rows.hashes`). Where values are remembered, the id
itself decides, so that two ids of one key have an entry each. Where digests are, it is in the digest, so that of two
ids of one key the newer one is known, and the other is sent needlessly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.core.memory.texts import TextList, same_texts
from pipeline.core.model import Flags, Hashes, Offsets, Wholes

#: Numbers below 65,536, one for each entry.
Small = npt.NDArray[np.uint16]

#: The source of an id that is no longer in the snapshot that had it, and was sent what that means.
GONE = 65_535


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """The rows remembered of n ids, wherever their texts are. All arrays have shape (n,).

    `shapes`: the number of the parameter names of each row, among those of the memory (`Memory.shapes`).
    `id_lengths`: the bytes of each encoded id, with which the row begins.
    `starts`, `ends`: where each row is in `texts`, as it was sent: `id,cell,...` with a line feed. A row without any
    cell, `id` and a line feed, says that the cells of the entry before it stay.
    """

    shapes: Small
    id_lengths: Wholes
    starts: Offsets
    ends: Offsets
    texts: TextList

    @classmethod
    def side_by_side(cls, shapes: Small, id_lengths: Wholes, ends: Offsets, text: bytes) -> "Values":
        """Rows that are one behind the other in a text; the first begins at 0."""
        return cls(shapes, id_lengths, np.append(0, ends)[:-1].astype(np.int64), ends, TextList.of([text]))

    @classmethod
    def of_lists(cls, lists: Sequence["Values"]) -> "Values | None":
        """Those of these lists, one list behind the other; None if there are none. No text is copied."""
        if not lists:
            return None
        begins = np.cumsum([0, *(each.texts.size_bytes for each in lists)])
        return cls(
            np.concatenate([each.shapes for each in lists]),
            np.concatenate([each.id_lengths for each in lists]),
            np.concatenate([each.starts + begin for each, begin in zip(lists, begins, strict=False)]),
            np.concatenate([each.ends + begin for each, begin in zip(lists, begins, strict=False)]),
            TextList.of([text for each in lists for text in each.texts.texts]),
        )

    @property
    def has_cells(self) -> Flags:
        """Set for each row with cells; without, those of the entry before it stay; shape (n,)."""
        has_cells: Flags = self.ends - self.starts > self.id_lengths + np.int64(1)
        return has_cells

    @property
    def text(self) -> bytes:
        """The one text in which all rows are, of values that are `joined`."""
        (text,) = self.texts.texts
        return bytes(text)

    def row(self, index: int) -> bytes:
        """One row, with its line feed."""
        return self.texts.piece(int(self.starts[index]), int(self.ends[index]))

    def profile_id(self, index: int) -> bytes:
        """One encoded id."""
        return self.row(index)[: int(self.id_lengths[index])]

    def ids(self, indexes: Offsets) -> tuple[bytes, Offsets, Offsets]:
        """The encoded ids of these indexes, one behind the other: their text, where each begins, and its length."""
        starts, lengths = self.starts[indexes], self.id_lengths[indexes].astype(np.int64)
        return self.texts.joined(starts, starts + lengths), np.cumsum(lengths) - lengths, lengths

    def taken(self, indexes: Offsets | slice) -> "Values":
        """Those of these indexes, in this order. No text is copied."""
        some = (self.shapes[indexes], self.id_lengths[indexes], self.starts[indexes], self.ends[indexes])
        return Values(*some, self.texts)

    def joined(self) -> "Values":
        """The same in one text."""
        text, ends = self.texts.joined(self.starts, self.ends), np.cumsum(self.ends - self.starts)
        return Values.side_by_side(self.shapes, self.id_lengths, ends, text)


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """The entries of n ids, sorted by key. All arrays have shape (n,).

    Each key is there once; with values each id is.

    `keys`: the salted hash of each encoded id.
    `digests`: of id and row together (`digest_rows`); 0 if it does not count as sent.
    `sent_at`: the time at which it was sent, in minutes since 1970 (UTC); 0 if what is known does not count as sent.
    `noted_at`: the time of the entry, in minutes since 1970 (UTC).
    `sources`: the number of the route whose snapshot had the id. 0: that of the entry before stays; else `GONE`.
    `patterns`: of which parameters the row has cells that are not empty (`cells.patterns`); 0 where that is not known.
    `values`: only where values are remembered, and were read.
    """

    keys: Hashes
    digests: Hashes
    sent_at: Wholes
    noted_at: Wholes
    sources: Small
    patterns: Hashes
    values: Values | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def is_empty(self) -> Flags:
        """Set for each entry that says nothing where there is none before it: it was not sent, and has no cells."""
        is_empty: Flags = self.sent_at == 0
        return is_empty & ~self.values.has_cells if self.values else is_empty

    def taken(self, indexes: Offsets | slice) -> "Entries":
        """The entries of these indexes, in this order."""
        return Entries(
            self.keys[indexes],
            self.digests[indexes],
            self.sent_at[indexes],
            self.noted_at[indexes],
            self.sources[indexes],
            self.patterns[indexes],
            None if self.values is None else self.values.taken(indexes),
        )

    def joined(self) -> "Entries":
        """The same, with all values in one text."""
        return self if self.values is None else replace(self, values=self.values.joined())


def no_entries(*, with_values: bool) -> Entries:
    """None at all."""
    small, whole = np.zeros(0, dtype=np.uint16), np.zeros(0, dtype=np.uint32)
    hashes = np.zeros(0, dtype=np.uint64)
    values = Values.side_by_side(small, whole, np.zeros(0, dtype=np.int64), b"") if with_values else None
    return Entries(hashes, hashes, whole, whole, small, hashes, values)


NOTHING = no_entries(with_values=False)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The entries of n ids that were asked for.

    `indexes`: the index in `entries` of each, -1 where nothing is remembered; shape (n,).
    """

    entries: Entries
    indexes: Offsets

    @property
    def is_known(self) -> Flags:
        """Set for each id of which something is remembered; shape (n,)."""
        is_known: Flags = self.indexes >= 0
        return is_known

    @property
    def sent_at(self) -> Wholes:
        """The time at which each was sent, as in `Entries`; 0 where nothing counts as sent; shape (n,)."""
        return np.append(self.entries.sent_at, np.uint32(0))[self.indexes]

    @property
    def digests(self) -> Hashes:
        """The digest remembered of each; 0 where there is none; shape (n,)."""
        return np.append(self.entries.digests, np.uint64(0))[self.indexes]

    @property
    def sources(self) -> Small:
        """The source of each; 0 where none is known; shape (n,)."""
        return np.append(self.entries.sources, np.uint16(0))[self.indexes]

    @property
    def patterns(self) -> Hashes:
        """The pattern of each; 0 where none is known; shape (n,)."""
        return np.append(self.entries.patterns, np.uint64(0))[self.indexes]


def latest(entries: Sequence[Entries]) -> Entries:
    """The entries of several lists, the oldest list first: of each id the newest one.

    It has the source of the newest entry that has one, and the cells of the newest row that has any.
    """
    some = [each for each in entries if len(each)] or list(entries[:1])
    if len(some) < 2:
        return some[0] if some else NOTHING
    if all(one.keys[-1] < other.keys[0] for one, other in pairwise(some)):
        return _joined(some)
    keys = np.concatenate([each.keys for each in some])
    order = np.argsort(keys, kind="stable")
    is_first = _is_first(keys[order])
    rows = Values.of_lists([each.values for each in some if each.values is not None])
    if rows:
        order, is_first = _by_id(keys, rows, order, is_first)
    firsts = np.flatnonzero(is_first)
    newest = order[np.append(firsts[1:], len(order)) - 1]
    sources = np.concatenate([each.sources for each in some])
    with_source = _last_of_each(sources[order] > 0, firsts, order, newest)
    values = rows.taken(_last_of_each(rows.has_cells[order], firsts, order, newest)) if rows else None
    return Entries(
        keys[newest],
        np.concatenate([each.digests for each in some])[newest],
        np.concatenate([each.sent_at for each in some])[newest],
        np.concatenate([each.noted_at for each in some])[newest],
        sources[with_source],
        np.concatenate([each.patterns for each in some])[newest],
        values,
    )


def in_parts(keys: Sequence[Hashes], rows: int = 32_768) -> Iterator[tuple[slice, ...]]:
    """Cuts lists of sorted keys in parts, so that all of one key are in one part: for each part a slice of each list.

    `rows`: of the longest list, the keys in a part; but that one may have a little more or less.
    """
    cuts = max(keys, key=len, default=NOTHING.keys)[rows::rows]
    bounds = [[0, *np.searchsorted(each, cuts).tolist(), len(each)] for each in keys]
    return zip(*([slice(*part) for part in pairwise(of_list)] for of_list in bounds), strict=True)


def without_empty(entries: Entries) -> Entries:
    """The entries without those that say nothing; nothing older may be behind them."""
    is_empty = entries.is_empty
    return entries.taken(np.flatnonzero(~is_empty)) if is_empty.any() else entries


def without_older(entries: Entries, minutes: int) -> Entries:
    """The entries that are not older than a time, in minutes since 1970 (UTC)."""
    is_old = entries.noted_at < minutes
    return entries.taken(np.flatnonzero(~is_old)) if is_old.any() else entries


def without(entries: Entries, ids: set[bytes], keys: Hashes) -> Entries:
    """The entries without those of these encoded ids. `keys`: theirs, sorted.

    Where only digests are remembered, nothing tells an id from another of its key: both go.
    """
    found = np.flatnonzero(np.isin(entries.keys, keys))
    if entries.values is not None:
        values = entries.values
        found = np.array([index for index in found.tolist() if values.profile_id(index) in ids], dtype=np.int64)
    return entries.taken(np.delete(np.arange(len(entries)), found)) if len(found) else entries


def _joined(some: list[Entries]) -> Entries:
    """The entries of several lists, one list behind the other."""
    joined = Values.of_lists([each.values for each in some if each.values is not None])
    return Entries(
        np.concatenate([each.keys for each in some]),
        np.concatenate([each.digests for each in some]),
        np.concatenate([each.sent_at for each in some]),
        np.concatenate([each.noted_at for each in some]),
        np.concatenate([each.sources for each in some]),
        np.concatenate([each.patterns for each in some]),
        joined,
    )


def _is_first(keys: Hashes) -> Flags:
    """Set for each key that is not the one before it; shape (n,)."""
    is_first = np.ones(len(keys), dtype=np.bool_)
    is_first[1:] = keys[1:] != keys[:-1]
    return is_first


def _by_id(keys: Hashes, values: Values, order: Offsets, is_first: Flags) -> tuple[Offsets, Flags]:
    """The order and the flags by which entries of one key are together by their ids.

    Two ids of one key are so seldom that only a key of which neighbours differ is looked at one by one.
    """
    again = np.flatnonzero(~is_first)
    same = same_texts(*values.ids(order[again - 1]), *values.ids(order[again]))
    if same.all():
        return order, is_first
    order, is_first = order.copy(), is_first.copy()
    for key in np.unique(keys[order[again[~same]]]):
        places = np.flatnonzero(keys[order] == key)
        by_id: dict[bytes, list[int]] = {}
        for index in order[places].tolist():
            by_id.setdefault(values.ids(np.array([index]))[0], []).append(index)
        order[places] = [index for indexes in by_id.values() for index in indexes]
        firsts = np.cumsum([0, *map(len, by_id.values())])[:-1]
        is_first[places[firsts]] = True
    return order, is_first


def _last_of_each(is_wanted: Flags, firsts: Offsets, order: Offsets, otherwise: Offsets) -> Offsets:
    """Of each group of entries the last one that is wanted, or that of `otherwise` if none is.

    `is_wanted` and `order` are by place; `firsts`: the place at which each group begins.
    """
    places = np.where(is_wanted, np.arange(len(order)), -1)
    lasts = np.maximum.reduceat(places, firsts)
    found: Offsets = np.where(lasts >= 0, order[lasts], otherwise)
    return found
