"""The steps that are done to the rows of an export: by column name, and, once its header is read, by place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.core.values.column_steps import ColumnSteps


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on one column by which a row is left out.

    `column`: its name. `index`: its place in a record.
    `cells`: in UTF-8. A row is left out if its cell is one of them; or, with `is_unless`, if it is none of them.
    """

    column: str
    index: int
    cells: frozenset[bytes]
    is_unless: bool = False

    def leaves_out(self, cell: bytes) -> bool:
        """True if a row with this cell is left out; the cell is trimmed, and empty if it means no value."""
        return (cell in self.cells) != self.is_unless


@dataclass(frozen=True, slots=True)
class PlacedSteps:
    """The steps for rows of one header.

    `id_steps`: of the id. `cell_steps`: of each cell that is sent, None for one that is sent as it is; empty if all
    are. `constants`: the cells, in UTF-8, that each row has at its end.
    """

    id_steps: ColumnSteps | None = None
    cell_steps: tuple[ColumnSteps | None, ...] = ()
    conditions: tuple[Condition, ...] = ()
    constants: tuple[bytes, ...] = ()

    @property
    def trims(self) -> tuple[bool, ...]:
        """For each cell that is sent, if its column asks to trim it; empty if none does."""
        trims = tuple(bool(steps and steps.trim) for steps in self.cell_steps)
        return trims if any(trims) else ()


#: The steps where there is no [mapping].
NO_STEPS = PlacedSteps()


@dataclass(frozen=True, slots=True)
class RowSteps:
    """The steps by the names of columns; empty if nothing is done.

    `constants`: parameter name -> value.
    `exclude`: column -> cells of rows that are left out. `exclude_unless`: column -> cells of the only rows that are
    not.
    """

    columns: Mapping[str, ColumnSteps] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    exclude: Mapping[str, frozenset[str]] = field(default_factory=dict)
    exclude_unless: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def wanted(self) -> dict[str, str]:
        """Each column that must be in the export, with the key that names it, as a message has it."""
        return {
            **dict.fromkeys(self.exclude_unless, "[mapping.exclude_unless]"),
            **dict.fromkeys(self.exclude, "[mapping.exclude]"),
            **dict.fromkeys(self.columns, "[mapping]"),
        }

    @property
    def judged(self) -> frozenset[str]:
        """The columns that conditions look at; they need not be sent."""
        return frozenset({*self.exclude, *self.exclude_unless})

    def place(self, header: Sequence[str], id_column: str, sent: Sequence[int]) -> PlacedSteps:
        """The steps for rows of a header that has all columns named. `sent`: the indexes of the columns sent."""
        cell_steps = tuple(self.columns.get(header[index]) for index in sent)
        conditions = [
            Condition(column, header.index(column), frozenset(cell.encode() for cell in cells), is_unless=is_unless)
            for is_unless, by_column in ((False, self.exclude), (True, self.exclude_unless))
            for column, cells in by_column.items()
        ]
        return PlacedSteps(
            id_steps=self.columns.get(id_column),
            cell_steps=cell_steps if any(cell_steps) else (),
            conditions=tuple(conditions),
            constants=tuple(value.encode() for value in self.constants.values()),
        )


#: The same before a header is read.
NOTHING_DONE = RowSteps()
