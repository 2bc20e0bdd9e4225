"""Splits the body of a refused batch in two, to close in on the rows that Target will not take."""

from math import sqrt
from typing import TypeVar

import numpy as np

from pipeline.core.model import BatchContent, Hashes, Offsets
from pipeline.core.rows.hashing import hash_ids

Numbers = TypeVar("Numbers", Offsets, Hashes)

_LINE_FEED = ord("\n")
_COMMA = ord(",")


#: The fractional part of the golden ratio: the fractional parts of its multiples are spread evenly.
_GOLDEN = (sqrt(5) - 1) / 2


def first_half(rows: int) -> range:
    """The indexes of the first half of this many rows."""
    return range(rows // 2)


def any_row(rows: int, draw: int) -> range:
    """The index of one of this many rows; consecutive values of `draw` give rows that lie far apart."""
    row = int(draw * _GOLDEN % 1 * rows)
    return range(row, row + 1)


def spread_rows(rows: int, draw: int, count: int) -> tuple[range, ...]:
    """The indexes of about `count` of this many rows, far apart, in order; never of all. Else as `any_row`."""
    wanted = {any_row(rows, draw + nth).start for nth in range(min(count, rows // 2))}
    return tuple(range(row, row + 1) for row in sorted(wanted))


def split(
    body: bytes, lines: Offsets, salt: int, taken: range | tuple[range, ...]
) -> tuple[BatchContent, BatchContent]:
    """Split a body into the rows `taken`, some but not all, and the rest; both get the same header.

    `taken`: the indexes of rows, or several ranges of them, in order.
    `lines`: (n,), those of the rows. The two children hold exactly the rows of the body.
    """
    octets = np.frombuffer(body, dtype=np.uint8)
    ends = np.flatnonzero(octets == _LINE_FEED).astype(np.int64) + 1
    commas = np.flatnonzero(octets == _COMMA).astype(np.int64)
    start, ends = int(ends[0]), ends[1:]
    starts = np.concatenate([np.array([start], dtype=np.int64), ends[:-1]])
    id_lengths = commas[np.searchsorted(commas, starts)] - starts
    hashes = hash_ids(body, starts, id_lengths, salt)
    view = memoryview(body)

    def of(each: Numbers, ranges: tuple[range, ...]) -> Numbers:
        return np.concatenate([each[some.start : some.stop] for some in ranges])

    def child(*ranges: range) -> BatchContent:
        pieces = [view[int(starts[each[0]]) : int(ends[each[-1]])] for each in ranges if each]
        sizes, order = of(ends - starts, ranges), np.argsort(of(hashes, ranges))
        return BatchContent(
            pieces=[view[:start], *pieces],
            rows=len(order),
            size_bytes=start + sum(map(len, pieces)),
            hashes=of(hashes, ranges)[order],
            order=order.astype(np.uint32),
            sizes=sizes.astype(np.uint32),
            lines=of(lines, ranges),
        )

    some = taken if isinstance(taken, tuple) else (taken,)
    edges = [0, *(edge for each in some for edge in (each.start, each.stop)), len(ends)]
    return child(*some), child(*map(range, edges[::2], edges[1::2]))
