"""The cells of many rows at once: where they are, and which of them are empty.

A row may lack its last cells: they are empty. No cell holds a comma or a line feed, since rows are encoded.
"""

import numpy as np

from pipeline.core.model import Flags, Hashes, Offsets, Rows
from pipeline.core.rows.hashing import hash_ids

COMMA, LINE_FEED = ord(","), ord("\n")
#: The cells of which `filled_cells` tells whether they are empty.
MOST_TOLD = 32
#: A pattern, from its highest bits on: the number of the shape and one more, the filled cells, a check of the id.
_CHECK_BITS, _SHAPE_SHIFT = np.uint64(16), np.uint64(48)
_FILLED = np.uint64((2**MOST_TOLD - 1) << 16)
_CHECK, _WITHOUT_SHAPE = np.uint64(2**16 - 1), np.uint64(2**48 - 1)
#: What tells the check of an id from its hash.
_OF_CHECKS = 0xC2B2_AE3D_27D4_EB4F


def separators_in(text: bytes) -> Offsets:
    """Where the commas and line feeds of a text are."""
    octets = np.frombuffer(text, dtype=np.uint8)
    return np.flatnonzero((octets == COMMA) | (octets == LINE_FEED))


def cells_of(text: bytes, starts: Offsets, ends: Offsets, columns: int) -> tuple[list[Offsets], list[Offsets]]:
    """Where the cells behind the id begin in `text`, and their sizes: for each column an array of shape (n,)."""
    separators = np.append(separators_in(text), len(text))
    place = np.searchsorted(separators, starts)
    begins, sizes = [], []
    for _ in range(columns):
        # Of a row that has ended, the cell is empty, and begins nowhere.
        begin = separators[place] + 1
        has_ended = begin >= ends
        place = np.where(has_ended, place, place + 1)
        end = separators[place]
        begins.append(np.where(has_ended, 0, begin))
        sizes.append(np.where(has_ended, 0, end - begin))
    return begins, sizes


def lacks_any(rows: Rows, columns: int) -> Flags:
    """Set for each row that has fewer cells than so many, or an empty one; shape (n,)."""
    if not len(rows):
        return np.zeros(0, dtype=np.bool_)
    octets = np.frombuffer(rows.body, dtype=np.uint8)
    is_comma = octets == COMMA
    lacks_any: Flags = np.add.reduceat(is_comma, rows.starts, dtype=np.int64) < columns
    empty = np.flatnonzero(is_comma[:-1] & (is_comma[1:] | (octets[1:] == LINE_FEED)))
    lacks_any[np.searchsorted(rows.ends, empty, side="right")] = True
    return lacks_any


def filled_cells(text: bytes, separators: Offsets) -> Hashes:
    """For each row of a text, which is nothing but rows, a number with bit i set if cell i is not empty; shape (n,).

    It is 0, which tells nothing, for a row that has more than `MOST_TOLD` cells, or only empty ones.
    `separators`: those in the text.
    """
    is_end: Flags = np.frombuffer(text, dtype=np.uint8)[separators] == LINE_FEED
    is_filled = np.append(np.diff(separators) > 1, False)
    firsts = np.append(0, np.flatnonzero(is_end) + 1)[:-1]
    if not len(firsts):
        return np.zeros(0, dtype=np.uint64)
    counts = np.diff(np.append(firsts, len(separators)))
    if (counts == counts[0]).all() and counts[0] <= MOST_TOLD + 1:
        table = is_filled.reshape(-1, int(counts[0]))[:, :-1]
        of_each: Hashes = table @ (np.uint64(1) << np.arange(table.shape[1], dtype=np.uint64))
        return of_each
    numbers = np.arange(len(separators)) - np.repeat(firsts, counts)
    bits = np.where(
        is_filled & ~is_end & (numbers < MOST_TOLD), np.uint64(1) << numbers.astype(np.uint64), np.uint64(0)
    )
    found: Hashes = np.add.reduceat(bits, firsts)
    found[counts > MOST_TOLD + 1] = 0
    return found


def patterns(
    text: bytes, ends: Offsets, id_lengths: Offsets, shape: int, salt: int, separators: Offsets | None = None
) -> Hashes:
    """The pattern of each row of a text that is nothing but rows; shape (n,).

    Two rows of one id hash and one pattern have the same parameter names, and the same cells of them are empty; and
    they are of the same id, but for one pair in 65,536. It is 0 where `filled_cells` tells nothing.

    `shape`: the number of the parameter names, below 65,535. `separators`: those in the text, if they are known.
    """
    filled = filled_cells(text, separators_in(text) if separators is None else separators)
    starts = np.append(0, ends)[:-1]
    checks = hash_ids(text, starts, id_lengths, salt ^ _OF_CHECKS) & _CHECK
    told: Hashes = np.where(filled == 0, np.uint64(0), filled << _CHECK_BITS | checks)
    return with_shapes(told, np.array([shape], dtype=np.uint64))


def has_cells_of(own: Hashes, others: Hashes) -> Flags:
    """Set where a pattern has all filled cells of the other one, of the same parameter names and check; shape (n,).

    It is not set where either tells nothing.
    """
    has_cells: Flags = ((own ^ others) & ~_FILLED == 0) & (others & ~own == 0) & (own > 0) & (others > 0)
    return has_cells


def with_shapes(told: Hashes, shapes: Hashes) -> Hashes:
    """The patterns of rows whose patterns without shapes are these, by the number of the shape of each."""
    of_each: Hashes = np.where(told == 0, np.uint64(0), shapes + np.uint64(1) << _SHAPE_SHIFT | told)
    return of_each


def without_shapes(of_each: Hashes) -> Hashes:
    """The patterns of rows, without the number of their shape, which is another in each file."""
    return of_each & _WITHOUT_SHAPE
