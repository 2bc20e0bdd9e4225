"""Digests of rows: two rows of one digest say the same of the same id, in the same words.

A digest is salted, so that nobody can prepare two rows of one, and is compared only with that of the same id. Where
exact cells are remembered, they decide instead (`comparison`).
"""

from collections.abc import Iterable

import numpy as np

from pipeline.core.model import Flags, Hashes, Octets, Offsets
from pipeline.core.rows.hashing import hash_ids

_COMMA = np.uint8(ord(","))
#: Rows digested at a time, so that the intermediate values stay in the processor's cache.
_ROWS_AT_ONCE = 32_768
#: What tells the digest of a row from the hash of an id of the same text.
_OF_ROWS = 0x9E6C63D0876A9A47


def digest_rows(body: bytes, starts: Offsets, ends: Offsets, parameters: tuple[str, ...], salt: int) -> Hashes:
    """The 64-bit digest of each row `body[starts[i]:ends[i]]`, which ends with a line feed; shape (n,), never 0.

    It is of the id and the cells, without empty cells at the end, and of the names of the cells that are left: empty
    cells at the end of a header change nothing, and one value under two names has two digests. `starts` ascend.
    """
    names = _names(parameters, salt)
    digests = np.empty(len(starts), dtype=np.uint64)
    for first in range(0, len(starts), _ROWS_AT_ONCE):
        some = slice(first, first + _ROWS_AT_ONCE)
        begin, end = int(starts[first]), int(ends[some][-1])
        digests[some] = _digest(body[begin:end], starts[some] - begin, ends[some] - begin, names, salt)
    return digests


def _digest(text: bytes, starts: Offsets, ends: Offsets, names: Hashes, salt: int) -> Hashes:
    octets = np.frombuffer(text, dtype=np.uint8)
    stops, trimmed = _without_empty_cells(octets, ends)
    cells = _cells(octets, starts, stops, trimmed, len(names) - 1)
    hashes = hash_ids(text, starts, stops - starts, salt ^ _OF_ROWS)
    hashes ^= names[cells]
    hashes[hashes == 0] = 1
    return hashes


def _names(parameters: Iterable[str], salt: int) -> Hashes:
    """For each number of cells, from 0 on, the hash of the names of the first so many."""
    firsts = [b""]
    for name in parameters:
        firsts.append(firsts[-1] + name.encode() + b",")
    lengths = np.array([len(first) for first in firsts], dtype=np.int64)
    return hash_ids(b"".join(firsts), np.cumsum(lengths) - lengths, lengths, salt ^ _OF_ROWS)


def _without_empty_cells(octets: Octets, ends: Offsets) -> tuple[Offsets, Offsets]:
    """Where each row ends without its line feed and the empty cells before it, and how many those are; shape (n,)."""
    stops, trimmed = ends - 1, np.zeros(len(ends), dtype=np.int64)
    left = np.flatnonzero(octets[stops - 1] == _COMMA)
    while len(left):
        stops[left] -= 1
        trimmed[left] += 1
        left = left[octets[stops[left] - 1] == _COMMA]
    return stops, trimmed


def _cells(octets: Octets, starts: Offsets, stops: Offsets, trimmed: Offsets, most: int) -> Offsets:
    """The number of cells behind the id of each row, up to where it stops; shape (n,)."""
    is_comma: Flags = octets == _COMMA
    is_side_by_side = bool((starts[1:] == stops[:-1] + trimmed[:-1] + 1).all())
    if is_side_by_side and np.count_nonzero(is_comma) == most * len(starts):
        # No row can have more, so that each has all.
        return most - trimmed
    before = np.zeros(len(octets) + 1, dtype=np.int32)
    np.cumsum(is_comma, dtype=np.int32, out=before[1:])
    return (before[stops] - before[starts]).astype(np.int64)
