"""Finds an id that stands on very many rows, in memory that does not grow.

Of the ids that repeat within a block, the most frequent ones have a counter (Misra and Gries, 1982): when counters run
out, all are lowered by the same amount. So a count is never too high, and an id on a good share of the rows keeps its
counter. Ids are known by their hashes only.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.core.model import Rows

#: Counters kept. Ours: enough for every id on 2 % of the rows or more.
COUNTERS = 64
#: An id is worth a warning from this many rows on, and this share of all. Ours: a purchase list of a regular customer
#: stays below, an id that stands for "nobody" does not.
MANY_ROWS, MANY_OF_ALL = 50, 0.01

#: Hash of an id, rows counted, line of the first of them.
Counter = tuple[int, int, int]


def with_rows(counters: Sequence[Counter], rows: Rows) -> list[Counter]:
    """The counters, most frequent first, once these rows are counted too."""
    in_order = np.sort(rows.hashes)
    repeated = in_order[1:][in_order[1:] == in_order[:-1]]
    if not len(repeated):
        return list(counters)
    # Few rows repeat an id, most often: only those are counted.
    some = np.flatnonzero(np.isin(rows.hashes, repeated))
    hashes, first, repeats = np.unique(rows.hashes[some], return_index=True, return_counts=True)
    most = np.argsort(-repeats, kind="stable")[: 2 * COUNTERS]
    totals = {of: (count, line) for of, count, line in counters}
    lines = rows.lines[some[first[most]]]
    found = zip(hashes[most].tolist(), repeats[most].tolist(), lines.tolist(), strict=True)
    for of, count, line in found:
        before, first_line = totals.get(of, (0, line))
        totals[of] = before + count, first_line
    ordered = sorted(((of, count, line) for of, (count, line) in totals.items()), key=lambda each: -each[1])
    lowered_by = ordered[COUNTERS][1] if len(ordered) > COUNTERS else 0
    return [(of, count - lowered_by, line) for of, count, line in ordered[:COUNTERS] if count > lowered_by]


def most_frequent(counters: Sequence[Counter], read: int) -> tuple[int, int] | None:
    """Rows and first line of the id on the most of `read` rows; None if these are not many."""
    if not counters:
        return None
    _, count, line = counters[0]
    return (count, line) if count >= MANY_ROWS and count >= MANY_OF_ALL * read else None
