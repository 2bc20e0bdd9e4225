"""A block of records as a table: the text of all cells, and where each of them ends.

Every comma and line feed in the text separates cells. A byte that would separate, and does not, has a stand-in.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.core.formats.blockframing import steps
from pipeline.core.model import Flags, Octets, Offsets
from pipeline.core.rows.encoding import STAND_INS, escaped_in
from pipeline.core.rows.profile_id import FORBIDDEN_IN_IDS

_CARRIAGE_RETURN = 13
_IS_FORBIDDEN_IN_IDS = np.isin(np.arange(256), list(FORBIDDEN_IN_IDS))
#: The least stand-in for a comma, CR or LF: they are greater than all other stand-ins.
_FIRST_DELIMITER = min(STAND_INS[byte] for byte in b",\r\n")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table of n rows and k cells in each, as text.

    `separators`: (n * k,), the offset behind each cell: of a comma, or of the line feed that ends the row.
    `ends`: (n,), the offset at which the next row begins.
    `sizes`: (n,), the bytes of each row with its line feed.
    """

    text: bytes
    columns: int
    separators: Offsets
    ends: Offsets
    sizes: Offsets

    @classmethod
    def of(cls, text: bytes, columns: int, separators: Offsets) -> "Table":
        """A table of this text."""
        ends = separators[columns - 1 :: columns] + 1
        return cls(text, columns, separators, ends, steps(ends))

    @property
    def octets(self) -> Octets:
        """The bytes of the text."""
        return np.frombuffer(self.text, dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Escaped:
    """The m bytes of a table that must be escaped. All arrays have shape (m,).

    `places`: the offset of each byte in the table.
    `octets`: its value.
    `rows`: the index of its row.
    `is_in_id`: set if it belongs to the row's id.
    `of_ids`: the indexes of those in ids, shape (number of them,).
    """

    places: Offsets
    octets: Octets
    rows: Offsets
    is_in_id: Flags
    of_ids: Offsets

    @classmethod
    def of(cls, table: Table) -> "Escaped":
        """Those of a table."""
        places, octets = escaped_in(table.text)
        rows = np.searchsorted(table.ends, places, side="right")
        id_ends = table.separators[:: table.columns]
        is_in_id = places < id_ends[rows]
        return cls(places, octets, rows, is_in_id, np.flatnonzero(is_in_id))

    def leaving(self, dropped: Flags, places: Offsets) -> "Escaped":
        """The same without the `dropped` ones, flags of shape (m,); `places` are those of the ones left."""
        left = ~dropped
        is_in_id = self.is_in_id[left]
        return Escaped(places, self.octets[left], self.rows[left], is_in_id, np.flatnonzero(is_in_id))

    @property
    def spoilt(self) -> Offsets:
        """The rows with a byte in their id that no id may hold, ascending; some perhaps repeated."""
        rows: Offsets = self.rows[self.of_ids[_IS_FORBIDDEN_IN_IDS[self.octets[self.of_ids]]]]
        return rows

    @property
    def is_delimiter(self) -> Flags:
        """Set for each comma or line break, as itself or as a stand-in; shape (m,)."""
        is_delimiter: Flags = (self.octets >= _FIRST_DELIMITER) | (self.octets == _CARRIAGE_RETURN)
        return is_delimiter


def cut_out(table: Table, cells: Offsets, starts: Offsets, stops: Offsets) -> Table:
    """The table without the bytes `starts[i]` to `stops[i]`, which belong to the cell of index `cells[i]`.

    The pieces ascend and do not overlap; a cell may have several.
    """
    sizes = stops - starts
    ends = np.cumsum(sizes)
    is_left = np.ones(len(table.text), dtype=np.bool_)
    is_left[np.arange(int(ends[-1])) + np.repeat(starts - (ends - sizes), sizes)] = False
    lost = np.zeros(len(table.separators), dtype=np.int64)
    np.add.at(lost, cells, sizes)
    return Table.of(table.octets[is_left].tobytes(), table.columns, table.separators - np.cumsum(lost))
