"""Rows sorted by the hashes of their ids: rows of one id stand together, and become one row.

No text is copied before it is known which rows are used.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.core.memory.digest import digest_rows
from pipeline.core.memory.texts import joined_texts
from pipeline.core.model import Hashes, Offsets, Rows
from pipeline.core.rows.encoding import merge

_NONE = np.empty(0, dtype=np.int64)


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

    `body`: a text in which row i is `body[starts[i]:ends[i]]`.
    `id_lengths`, `lines`, `hashes`: (n,), as those of `Rows`.
    `digests`: (n,), of the rows; None where nobody asks for them.
    """

    body: bytes
    starts: Offsets
    ends: Offsets
    id_lengths: Offsets
    lines: Offsets
    hashes: Hashes
    digests: Hashes | None = None

    @classmethod
    def of_lists(cls, lists: list[Rows], digested: Digested | None = None) -> "KeyedRows":
        """The rows of these lists, which are in the order of the export; with digests if it is said of what.

        `lists` is empty then, so that no text is there twice for longer than it takes to copy it.
        """
        sizes = [len(rows.body) for rows in lists]
        begins = np.cumsum([0, *sizes[:-1]])
        hashes = np.concatenate([np.empty(0, dtype=np.uint64), *(rows.hashes for rows in lists)])
        order = np.argsort(hashes, kind="stable")
        starts, ends, id_lengths, lines = (
            np.concatenate([_NONE, *arrays])
            for arrays in (
                [rows.starts + begin for rows, begin in zip(lists, begins, strict=False)],
                [rows.ends + begin for rows, begin in zip(lists, begins, strict=False)],
                [rows.id_lengths for rows in lists],
                [rows.lines for rows in lists],
            )
        )
        body = lists[0].body if len(lists) == 1 else b"".join([rows.body for rows in lists])
        lists.clear()
        # Before they are sorted, since rows that lie side by side are digested fastest.
        digests = digested.of(body, starts, ends)[order] if digested else None
        return cls(body, starts[order], ends[order], id_lengths[order], lines[order], hashes[order], digests)

    def __len__(self) -> int:
        return len(self.hashes)

    def text(self, index: int) -> bytes:
        """One row with its line feed."""
        return self.body[int(self.starts[index]) : int(self.ends[index])]

    def profile_id(self, index: int) -> bytes:
        """One encoded id."""
        start = int(self.starts[index])
        return self.body[start : start + int(self.id_lengths[index])]

    def chosen(self, indexes: Offsets) -> "KeyedRows":
        """These rows alone; the indexes ascend."""
        return KeyedRows(
            self.body,
            self.starts[indexes],
            self.ends[indexes],
            self.id_lengths[indexes],
            self.lines[indexes],
            self.hashes[indexes],
            None if self.digests is None else self.digests[indexes],
        )

    def rows(self) -> Rows:
        """A copy of all rows, one behind the other."""
        text = joined_texts(self.body, self.starts, self.ends)
        return Rows(text, np.cumsum(self.ends - self.starts), self.id_lengths, self.lines, self.hashes)

    def with_texts(self, texts: Mapping[int, bytes], digested: Digested | None) -> "KeyedRows":
        """The same rows, some of them with other texts, by their index; the ids are the same."""
        if not texts:
            return self
        indexes, added = np.array(sorted(texts), dtype=np.int64), [texts[index] for index in sorted(texts)]
        sizes = np.array([*map(len, added)], dtype=np.int64)
        starts, ends, digests = self.starts.copy(), self.ends.copy(), self.digests
        stops, text = np.cumsum(sizes), b"".join(added)
        starts[indexes], ends[indexes] = stops - sizes + len(self.body), stops + len(self.body)
        if digested and digests is not None:
            digests = digests.copy()
            digests[indexes] = digested.of(text, stops - sizes, stops)
        return replace(self, body=self.body + text, starts=starts, ends=ends, digests=digests)


@dataclass(frozen=True, slots=True, eq=False)
class OneEach:
    """One row of each id, as far as rows may be merged.

    `rows`: n rows; each is what rows of its id come to, and has the line of the last of them.
    `records`: (n,), the number of rows that came to it.
    """

    rows: KeyedRows
    records: Offsets


def one_of_each_id(rows: KeyedRows, max_row_bytes: int, digested: Digested | None = None) -> OneEach:
    """The rows with those of one id merged: of each cell, the last value that is not empty.

    Two ids may have the same hash: each has its own row then. Rows that would come to more than `max_row_bytes`, which
    fit in no batch, stay apart, in their order. `digested`: that of the rows, if they have digests.
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
    return OneEach(rows.with_texts(replaced, digested).chosen(left), records[left])


def _groups(same: Offsets) -> Iterator[range]:
    """Runs of rows of which each has the hash of the next. `same`: the indexes of those that have."""
    breaks = np.flatnonzero(np.diff(same) != 1) + 1
    firsts, lasts = same[np.append(0, breaks)], same[np.append(breaks - 1, len(same) - 1)] + 1
    return (range(first, last + 1) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True))
