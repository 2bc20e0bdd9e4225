"""Rows sorted by the hashes of their ids: rows of one id stand together, and become one row.

No text is copied before it is known which rows are used.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.core.memory.texts import joined_texts
from pipeline.core.model import Hashes, Offsets, Rows
from pipeline.core.rows.encoding import merge

_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class KeyedRows:
    """n rows, sorted by hash; of one hash, in the order in which they were given.

    `body`: a text in which row i is `body[starts[i]:ends[i]]`.
    `id_lengths`, `lines`, `hashes`: (n,), as those of `Rows`.
    `replaced`: the texts of rows that earlier ones were merged into, by their index.
    """

    body: bytes
    starts: Offsets
    ends: Offsets
    id_lengths: Offsets
    lines: Offsets
    hashes: Hashes
    replaced: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def of_lists(cls, lists: Sequence[Rows]) -> "KeyedRows":
        """The rows of these lists, which are in the order of the export."""
        sizes = [len(rows.body) for rows in lists]
        begins = np.cumsum([0, *sizes[:-1]])
        hashes = np.concatenate([np.empty(0, dtype=np.uint64), *(rows.hashes for rows in lists)])
        order = np.argsort(hashes, kind="stable")
        starts, ends, id_lengths, lines = (
            np.concatenate([_NONE, *arrays])[order]
            for arrays in (
                [rows.starts + begin for rows, begin in zip(lists, begins, strict=False)],
                [rows.ends + begin for rows, begin in zip(lists, begins, strict=False)],
                [rows.id_lengths for rows in lists],
                [rows.lines for rows in lists],
            )
        )
        body = lists[0].body if len(lists) == 1 else b"".join([rows.body for rows in lists])
        return cls(body, starts, ends, id_lengths, lines, hashes[order])

    def __len__(self) -> int:
        return len(self.hashes)

    def text(self, index: int) -> bytes:
        """One row with its line feed."""
        return self.replaced.get(index) or self.body[int(self.starts[index]) : int(self.ends[index])]

    def profile_id(self, index: int) -> bytes:
        """One encoded id."""
        start = int(self.starts[index])
        return self.body[start : start + int(self.id_lengths[index])]

    def chosen(self, indexes: Offsets) -> "KeyedRows":
        """These rows alone; the indexes ascend."""
        replaced = self.replaced
        if replaced:
            numbers = np.array(sorted(replaced), dtype=np.int64)
            places = np.minimum(np.searchsorted(indexes, numbers), max(0, len(indexes) - 1))
            is_there = indexes[places] == numbers if len(indexes) else np.zeros(len(numbers), dtype=np.bool_)
            found = zip(places[is_there].tolist(), numbers[is_there].tolist(), strict=True)
            replaced = {place: replaced[number] for place, number in found}
        return KeyedRows(
            self.body,
            self.starts[indexes],
            self.ends[indexes],
            self.id_lengths[indexes],
            self.lines[indexes],
            self.hashes[indexes],
            replaced,
        )

    def rows(self) -> Rows:
        """A copy of all rows, one behind the other."""
        sizes = self.ends - self.starts
        if not self.replaced:
            text = joined_texts(self.body, self.starts, self.ends)
            return Rows(text, np.cumsum(sizes), self.id_lengths, self.lines, self.hashes)
        texts, first = [], 0
        for index, text in sorted(self.replaced.items()):
            texts += [joined_texts(self.body, self.starts[first:index], self.ends[first:index]), text]
            sizes[index], first = len(text), index + 1
        texts.append(joined_texts(self.body, self.starts[first:], self.ends[first:]))
        return Rows(b"".join(texts), np.cumsum(sizes), self.id_lengths, self.lines, self.hashes)


@dataclass(frozen=True, slots=True, eq=False)
class OneEach:
    """One row of each id, as far as rows may be merged.

    `rows`: n rows; each is what rows of its id come to, and has the line of the last of them.
    `records`: (n,), the number of rows that came to it.
    """

    rows: KeyedRows
    records: Offsets


def one_of_each_id(rows: KeyedRows, max_row_bytes: int) -> OneEach:
    """The rows with those of one id merged: of each cell, the last value that is not empty.

    Two ids may have the same hash: each has its own row then. Rows that would come to more than `max_row_bytes`, which
    fit in no batch, stay apart, in their order.
    """
    same = np.flatnonzero(rows.hashes[1:] == rows.hashes[:-1])
    records = np.ones(len(rows), dtype=np.int64)
    if not len(same):
        return OneEach(rows, records)
    is_left = np.ones(len(rows), dtype=np.bool_)
    replaced: dict[int, bytes] = {}
    for group in _groups(same):
        latest: dict[bytes, int] = {}
        for index in group:
            before = latest.get(profile_id := rows.profile_id(index))
            if before is not None:
                merged = merge(replaced.get(before) or rows.text(before), rows.text(index))
                if len(merged) <= max_row_bytes:
                    replaced.pop(before, None)
                    replaced[index] = merged
                    records[index] += records[before]
                    is_left[before] = False
            latest[profile_id] = index
    left = np.flatnonzero(is_left)
    return OneEach(replace(rows, replaced=replaced).chosen(left), records[left])


def _groups(same: Offsets) -> Iterator[range]:
    """Runs of rows of which each has the hash of the next. `same`: the indexes of those that have."""
    breaks = np.flatnonzero(np.diff(same) != 1) + 1
    firsts, lasts = same[np.append(0, breaks)], same[np.append(breaks - 1, len(same) - 1)] + 1
    return (range(first, last + 1) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True))
