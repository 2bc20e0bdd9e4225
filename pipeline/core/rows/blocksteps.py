"""Does the steps of [mapping] to whole blocks, given as tables: the same as `RowMapper` does row by row.

A column is taken out of the table as a list of cells. What was made of a cell is remembered, so a column of few
different cells costs a look-up each. What rejects a row marks it as odd: the exact path decides on it.
"""

from dataclasses import dataclass, field

import numpy as np

from pipeline.core.model import Flags, Offsets
from pipeline.core.rows.blockcells import as_written
from pipeline.core.rows.cells import trimmed
from pipeline.core.rows.encoding import STAND_INS, has_delimiter
from pipeline.core.rows.mapping import RowMapper
from pipeline.core.rows.profile_id import FORBIDDEN_IN_IDS, SAFE_ID_CHARACTERS
from pipeline.core.rows.table import Table
from pipeline.core.values.column_steps import ColumnSteps
from pipeline.core.values.row_steps import Condition

_COMMA, _LINE_FEED = b",\n"
_LINE_FEED_TO_COMMA = bytes.maketrans(b"\n", b",")
_PROTECTED = b',\r\n"'
#: What separates, as it stands in a value of a table.
_IN_TABLE = bytes.maketrans(_PROTECTED, bytes(STAND_INS[byte] for byte in _PROTECTED))
#: Different cells of a column whose outcome is kept from block to block. Ours: the days on which people alive were born
#: are fewer.
_MOST_CELLS = 40_000


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
        self._columns = [(place + 1, _Column(memory.steps)) for place, memory in exact.stepped]
        self._judged: list[dict[bytes, bool]] = [{} for _ in self._steps.conditions]
        #: Behind the last cell of each row.
        self._constants = b"".join(b"," + value.translate(_IN_TABLE) for value in self._steps.constants)
        self._names = exact.order.names

    def left_out(self, table: Table) -> tuple[Flags | None, dict[str, Offsets]]:
        """Set for each row that a condition leaves out, or None if no row is; and their indexes by column.

        `table`: with all columns of the export.
        """
        left_out: Flags | None = None
        excluded: dict[str, Offsets] = {}
        for condition, judged in zip(self._steps.conditions, self._judged, strict=True):
            cells = cells_of(table, condition.index)
            self._judge(condition, judged, {*cells}.difference(judged))
            found = np.fromiter(map(judged.__getitem__, cells), dtype=np.bool_, count=len(cells))
            if condition.leaves_out(b""):
                found &= ~_is_blank(table, found)
            if left_out is not None:
                found &= ~left_out
            if len(rows := np.flatnonzero(found)):
                before = excluded.get(condition.column)
                excluded[condition.column] = rows if before is None else np.concatenate([before, rows])
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
        found: dict[str, list[Offsets]] = {}
        ids, columns = None, table.columns
        if self._columns or self._names or self._steps.id_steps is not None:
            cells = _all_cells(table)
            written = _as_written(cells[::columns])
            if self._names and not self._names.isdisjoint(written):
                is_odd |= [cell in self._names for cell in written]
            for place, column in self._columns:
                cells[place::columns] = column.done(cells[place::columns], is_odd, found)
            if self._steps.id_steps is not None:
                ids = self._ids(written, is_odd)
            if self._columns:
                table = _table_of(cells, columns)
        if self._constants:
            table = _with_last(table, self._constants, len(self._steps.constants))
        notes = {name: np.sort(np.concatenate(rows)) for name, rows in found.items()}
        return Stepped(table, is_odd, ids, notes)

    def _ids(self, written: list[bytes], is_odd: Flags) -> list[bytes]:
        """The ids to send for those of the export; sets the flag of each row whose id may have to be refused."""
        ids = self._exact.sent_ids(written)
        if has_delimiter(b"".join(written)):
            is_odd |= np.fromiter(map(has_delimiter, written), dtype=np.bool_, count=len(written))
        is_hashed = self._steps.id_steps is not None and bool(self._steps.id_steps.hash)
        # No hash is too long, or holds what no id may hold.
        if not is_hashed and _is_odd_id(b"".join(ids), len(max(ids, key=len))):
            is_odd |= np.fromiter((_is_odd_id(each, len(each)) for each in ids), dtype=np.bool_, count=len(ids))
        return ids


class _Column:
    """The outcomes of one column's cells, as they stand in tables."""

    def __init__(self, steps: ColumnSteps) -> None:
        self._steps = steps
        self._known: dict[bytes, bytes] = {}
        self._noted: dict[str, set[bytes]] = {}
        self._odd: set[bytes] = set()

    def done(self, cells: list[bytes], is_odd: Flags, found: dict[str, list[Offsets]]) -> list[bytes]:
        """The cells after their steps; adds to the flags of odd rows, and to the rows found for each warning."""
        different = {*cells}
        new = different.difference(self._known)
        if len(self._known) > _MOST_CELLS:
            # Those of the block that is being read are done again.
            new = different
            for known in (self._known, self._noted, self._odd):
                known.clear()
        for cell in new:
            done = self._steps.done(as_written(cell).decode())
            self._known[cell] = done.value.encode().translate(_IN_TABLE)
            for name in done.notes:
                self._noted.setdefault(name, set()).add(cell)
            if done.reason:
                self._odd.add(cell)
        if self._odd:
            is_odd |= _is_one_of(self._odd, cells)
        for name, noted in self._noted.items():
            found.setdefault(name, []).append(np.flatnonzero(_is_one_of(noted, cells)))
        return [*map(self._known.__getitem__, cells)]


def _is_one_of(listed: set[bytes], cells: list[bytes]) -> Flags:
    return np.fromiter(map(listed.__contains__, cells), dtype=np.bool_, count=len(cells))


def _as_written(cells: list[bytes]) -> list[bytes]:
    """The cells of a table without stand-ins."""
    text = b"".join(cells)
    return cells if as_written(text) == text else [*map(as_written, cells)]


def with_ids(table: Table, ids: list[bytes], keep: Flags) -> tuple[Table, Offsets]:
    """The table with these ids in the rows to keep, and the bytes of each id, shape (n,)."""
    cells = _all_cells(table)
    if keep.all():
        cells[:: table.columns] = ids
    else:
        old = cells[:: table.columns]
        cells[:: table.columns] = [
            new if kept else each for each, new, kept in zip(old, ids, keep.tolist(), strict=True)
        ]
    lengths = np.fromiter(map(len, cells[:: table.columns]), dtype=np.int64, count=len(ids))
    return _table_of(cells, table.columns), lengths


def _all_cells(table: Table) -> list[bytes]:
    """The cells of a table, at least one, row by row, as they stand in it."""
    return table.text[:-1].translate(_LINE_FEED_TO_COMMA).split(b",")


def _table_of(cells: list[bytes], columns: int) -> Table:
    """The table of these cells, given row by row."""
    octets = np.frombuffer(bytearray(b",".join(cells)) + b",", dtype=np.uint8)
    separators = np.flatnonzero(octets == _COMMA)
    octets[separators[columns - 1 :: columns]] = _LINE_FEED
    return Table.of(octets.tobytes(), columns, separators)


def _with_last(table: Table, cells: bytes, number: int) -> Table:
    """The table with so many more cells at the end of each row, given with a comma before each."""
    text = table.text.replace(b"\n", cells + b"\n")
    octets = np.frombuffer(text, dtype=np.uint8)
    return Table.of(text, table.columns + number, np.flatnonzero((octets == _COMMA) | (octets == _LINE_FEED)))


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


def _is_odd_id(profile_id: bytes, longest: int) -> bool:
    """True if an id, or one of several put together, is long (`longest` bytes), or holds what no id may hold."""
    is_clean = len(profile_id.translate(None, FORBIDDEN_IN_IDS)) == len(profile_id)
    return longest > SAFE_ID_CHARACTERS or has_delimiter(profile_id) or not is_clean
