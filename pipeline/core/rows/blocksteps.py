"""Does the steps of [mapping] to whole blocks, given as tables: the same as `RowMapper` does row by row.

A column is taken out of the table as a list of cells. What was made of a cell is remembered, so a column of few
different cells costs a look-up each. What rejects a row marks it as odd: the exact path decides on it.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from pipeline.core.model import Flags, Offsets
from pipeline.core.rows.blockcells import as_written
from pipeline.core.rows.cells import trimmed
from pipeline.core.rows.encoding import STAND_INS, has_delimiter
from pipeline.core.rows.mapping import RowMapper
from pipeline.core.rows.profile_id import FORBIDDEN_IN_IDS, SAFE_ID_CHARACTERS
from pipeline.core.rows.table import Table
from pipeline.core.values.cell_memory import CellMemory
from pipeline.core.values.row_steps import Condition

_COMMA, _LINE_FEED = b",\n"
_PROTECTED = b',\r\n"'
#: What separates, as it stands in a value of a table.
_IN_TABLE = bytes.maketrans(_PROTECTED, bytes(STAND_INS[byte] for byte in _PROTECTED))
#: Different cells of a column whose outcome is kept from block to block.
_MOST_CELLS = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Stepped:
    """A table after the steps on its values.

    `ids`: the ids to send, in UTF-8, or None if they are sent as they are. They are put in place once ids are judged.
    `is_odd`: (n,), set for each row that the exact path has to judge.
    `notes`: warning -> the indexes of the rows that give cause to it, ascending; a row is there once for each cell.
    """

    table: Table
    is_odd: Flags
    ids: list[bytes] | None = None
    notes: dict[str, Offsets] = field(default_factory=dict)


class BlockSteps:
    """The steps of `exact`, for tables."""

    def __init__(self, exact: RowMapper) -> None:
        self._exact = exact
        self._steps = exact.plan.steps
        self._columns = [(place + 1, _Column(memory)) for place, memory in exact.stepped]
        self._judged: list[dict[bytes, bool]] = [{} for _ in self._steps.conditions]
        self._constants = [value.translate(_IN_TABLE) for value in self._steps.constants]
        self._names = exact.order.names

    def left_out(self, table: Table) -> tuple[Flags | None, Counter[str]]:
        """Set for each row that a condition leaves out, or None if no row is; and their number by column.

        `table`: with all columns of the export.
        """
        left_out: Flags | None = None
        excluded: Counter[str] = Counter()
        for condition, judged in zip(self._steps.conditions, self._judged, strict=True):
            cells = cells_of(table, condition.index)
            self._judge(condition, judged, {*cells}.difference(judged))
            found = np.fromiter(map(judged.__getitem__, cells), dtype=np.bool_, count=len(cells))
            if condition.leaves_out(b""):
                found &= ~_is_blank(table, found)
            if left_out is not None:
                found &= ~left_out
            if count := int(np.count_nonzero(found)):
                excluded[condition.column] += count
                left_out = found if left_out is None else left_out | found
        return left_out, excluded

    def _judge(self, condition: Condition, judged: dict[bytes, bool], cells: set[bytes]) -> None:
        if len(judged) > _MOST_CELLS:
            # Those of the block that is being read are judged again.
            cells = cells | {*judged}
            judged.clear()
        for cell in cells:
            judged[cell] = condition.leaves_out(self._exact.judged(as_written(cell)))

    def values(self, table: Table) -> Stepped:
        """The table with its values after their steps, and the constants behind them. The first column is the id."""
        is_odd = np.zeros(len(table.ends), dtype=np.bool_)
        if not len(table.ends) or not self._exact.has_steps:
            return Stepped(table, is_odd)
        columns = [cells_of(table, place) for place in range(table.columns)]
        if self._names and not self._names.isdisjoint(map(as_written, columns[0])):
            is_odd |= [as_written(cell) in self._names for cell in columns[0]]
        found: dict[str, list[int]] = {}
        for place, column in self._columns:
            columns[place] = column.done(columns[place], is_odd, found)
        ids = None
        if self._steps.id_steps is not None:
            written = [*map(as_written, columns[0])]
            ids = [*map(self._exact.sent_id, written)]
            for profile_ids in (written, ids):
                is_odd |= np.fromiter(map(_is_odd_id, profile_ids), dtype=np.bool_, count=len(ids))
        if self._columns or self._constants:
            table = _joined([*columns, *([value] * len(is_odd) for value in self._constants)])
        notes = {name: np.sort(np.array(rows, dtype=np.int64)) for name, rows in found.items()}
        return Stepped(table, is_odd, ids, notes)


class _Column:
    """The outcomes of one column's cells, as they stand in tables."""

    def __init__(self, memory: CellMemory) -> None:
        self._memory = memory
        self._known: dict[bytes, bytes] = {}
        self._noted: dict[bytes, tuple[str, ...]] = {}
        self._odd: set[bytes] = set()

    def done(self, cells: list[bytes], is_odd: Flags, found: dict[str, list[int]]) -> list[bytes]:
        """The cells after their steps; adds to the flags of odd rows, and to the rows found for each warning."""
        new = {*cells}.difference(self._known)
        if len(self._known) > _MOST_CELLS:
            new = {*cells}
            for known in (self._known, self._noted, self._odd):
                known.clear()
        for cell in new:
            value, notes, reason = self._memory.done(as_written(cell))
            self._known[cell] = value.translate(_IN_TABLE)
            if notes:
                self._noted[cell] = notes
            if reason:
                self._odd.add(cell)
        if self._odd:
            is_odd |= np.fromiter(map(self._odd.__contains__, cells), dtype=np.bool_, count=len(cells))
        if self._noted:
            for row, cell in enumerate(cells):
                for name in self._noted.get(cell, ()):
                    found.setdefault(name, []).append(row)
        return [*map(self._known.__getitem__, cells)]


def with_ids(table: Table, ids: list[bytes], keep: Flags) -> tuple[Table, Offsets]:
    """The table with these ids in the rows to keep, and the bytes of each id, shape (n,)."""
    columns = [cells_of(table, place) for place in range(table.columns)]
    columns[0] = [new if kept else old for old, new, kept in zip(columns[0], ids, keep.tolist(), strict=True)]
    return _joined(columns), np.fromiter(map(len, columns[0]), dtype=np.int64, count=len(ids))


def cells_of(table: Table, column: int) -> list[bytes]:
    """The cells of a column as they stand in the table, with stand-ins."""
    ends = table.separators[column :: table.columns]
    starts = table.separators[column - 1 :: table.columns] + 1 if column else table.ends - table.sizes
    text = table.text
    return [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _is_blank(table: Table, looked_at: Flags) -> Flags:
    """Set for each row, among those `looked_at`, in which nothing is to be seen: it is no row, and not left out."""
    is_blank = np.zeros(len(looked_at), dtype=np.bool_)
    rows = np.flatnonzero(looked_at)
    ends, sizes = table.ends[rows], table.sizes[rows]
    for row, start, end in zip(rows.tolist(), (ends - sizes).tolist(), ends.tolist(), strict=True):
        is_blank[row] = not trimmed(as_written(table.text[start:end].translate(None, b",\n")))
    return is_blank


def _joined(columns: list[list[bytes]]) -> Table:
    text = b"\n".join(map(b",".join, zip(*columns, strict=True))) + b"\n"
    octets = np.frombuffer(text, dtype=np.uint8)
    return Table.of(text, len(columns), np.flatnonzero((octets == _COMMA) | (octets == _LINE_FEED)))


def _is_odd_id(profile_id: bytes) -> bool:
    is_long = len(profile_id) > SAFE_ID_CHARACTERS
    return is_long or has_delimiter(profile_id) or len(profile_id.translate(None, FORBIDDEN_IN_IDS)) < len(profile_id)
