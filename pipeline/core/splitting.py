"""Splits the body of a refused batch in two, to close in on the rows that Target will not take."""

import numpy as np

from pipeline.core.hashing import hash_ids
from pipeline.core.model import BatchContent, Offsets

_LINE_FEED = ord("\n")
_COMMA = ord(",")


def halves(body: bytes, lines: Offsets, salt: int) -> tuple[BatchContent, BatchContent]:
    """The first and the second half of the rows of a body of at least two, each with the same header.

    `lines` (n,) are those of the rows. Between them the halves hold exactly the rows of the body.
    """
    octets = np.frombuffer(body, dtype=np.uint8)
    ends = np.flatnonzero(octets == _LINE_FEED).astype(np.int64) + 1
    commas = np.flatnonzero(octets == _COMMA).astype(np.int64)
    start, ends = int(ends[0]), ends[1:]
    starts = np.concatenate([np.array([start], dtype=np.int64), ends[:-1]])
    id_lengths = commas[np.searchsorted(commas, starts)] - starts
    hashes = hash_ids(body, starts, id_lengths, salt)
    middle = len(ends) // 2
    view = memoryview(body)

    def part(first: int, last: int) -> BatchContent:
        rows = view[int(starts[first]) : int(ends[last - 1])]
        return BatchContent(
            pieces=[view[:start], rows],
            rows=last - first,
            size_bytes=start + len(rows),
            hashes=np.sort(hashes[first:last]),
            lines=lines[first:last],
        )

    return part(0, middle), part(middle, len(ends))
