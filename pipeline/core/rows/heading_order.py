"""Finds the header of an export among its rows with its columns in another order, as shards put together may have it.

What follows such a line would be read into the wrong columns, so nothing behind it can be told.
"""

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.model import Rows
from pipeline.core.rows.cells import trimmed
from pipeline.core.rows.encoding import encode
from pipeline.core.rows.hashing import hash_ids

#: Bits of a hash by which a row is looked at closely. Ours: a table of them fits into the fastest cache.
_BITS = np.uint64(0xFFFF)


class HeadingOrder:
    """Looks for rows that hold nothing but names of the header, some of them in other places.

    `header`: as `ColumnPlan` has it; empty for none.
    `sent`: the indexes of the columns in a row, the id first.
    `salt`: of the hashes of rows.
    """

    def __init__(self, header: tuple[bytes, ...], sent: tuple[int, ...], salt: int) -> None:
        self._bare = {*map(trimmed, header)} - {b""}
        self._bare_in_place = [trimmed(header[index]) for index in sent] if header else []
        names = [encode(trimmed(name)) for name in header]
        self._names = {*names} - {b""}
        self._in_place = [names[index] for index in sent] if names else []
        self._may_be_name = np.zeros(int(_BITS) + 1, dtype=np.bool_)
        body = b"".join(self._names)
        lengths = np.fromiter(map(len, self._names), dtype=np.int64, count=len(self._names))
        hashes = hash_ids(body, np.cumsum(lengths) - lengths, lengths, salt)
        self._may_be_name[hashes & _BITS] = True

    def check(self, rows: Rows) -> None:
        """Raise `InputError` (65) for such a row; the header as it was is none of the rows any more."""
        if not self._names or not len(rows):
            return
        # Signed numbers are much faster as an index.
        for row in np.flatnonzero(self._may_be_name[(rows.hashes & _BITS).view(np.int64)]).tolist():
            cells = rows.text(row)[:-1].split(b",")
            if cells != self._in_place and len({*cells}) == len(cells) and self._names.issuperset(cells):
                raise _in_another_order(int(rows.lines[row]))

    @property
    def names(self) -> set[bytes]:
        """The names of the header, trimmed; a row may be the header in another order only if its id is one of them."""
        return self._bare

    def check_cells(self, cells: list[bytes], line: int) -> None:
        """Raise `InputError` (65) if these cells of a row, the id first, trimmed and before any step, are such."""
        is_named = cells[0] in self._bare and self._bare.issuperset(cells)
        if is_named and cells != self._bare_in_place and len({*cells}) == len(cells):
            raise _in_another_order(line)


def _in_another_order(line: int) -> InputError:
    return InputError(
        f"line {line:,} is the header again, with its columns in another order: what follows would be read "
        "into the wrong columns. Load exports that were put together one by one, or write their columns in one order.",
        line=line,
    )
