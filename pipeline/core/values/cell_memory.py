"""Remembers the outcomes of a column's steps: most columns hold few different cells."""

from pipeline.core.model import Reason
from pipeline.core.values.column_steps import ColumnSteps

#: Different cells of a column that are remembered, and bytes of one that is. Ours: a megabyte or two for each column.
_MOST_CELLS, _MOST_BYTES = 16_384, 64
#: Value in UTF-8, warnings, reason to reject the row.
Outcome = tuple[bytes, tuple[str, ...], Reason | None]


class CellMemory:
    """Does the steps of a column to cells in UTF-8; those of a hash are not remembered, as most differ."""

    def __init__(self, steps: ColumnSteps) -> None:
        self.steps = steps
        self._known: dict[bytes, Outcome] = {}

    def done(self, cell: bytes) -> Outcome:
        """The outcome of the steps for a cell."""
        known = self._known.get(cell)
        if known is not None:
            return known
        done = self.steps.done(cell.decode())
        outcome = done.value.encode(), done.notes, done.reason
        if not self.steps.hash and len(cell) <= _MOST_BYTES:
            if len(self._known) >= _MOST_CELLS:
                self._known.clear()
            self._known[cell] = outcome
        return outcome
