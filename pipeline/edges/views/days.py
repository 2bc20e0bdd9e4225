"""The calendar: a route's last days, as a picture and in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.expectations.calendar import CalendarDay
from pipeline.core.plural import counted
from pipeline.edges.views.marks import Mark, mark_of

#: Units of SVG: the width of a day, what is between two, the height of a line of them with its dates above.
_CELL, _BETWEEN, _DATES = 24.0, 4.0, 16.0


@dataclass(frozen=True, slots=True)
class Cell:
    """A day in the picture. `told`: the same in words. `label`: its date, if one is written above, at `label_x`."""

    x: float
    y: float
    mark: Mark
    told: str
    label: str
    label_x: float
    label_anchor: str


@dataclass(frozen=True, slots=True)
class CalendarDrawing:
    """The picture, `width` by `height`, of days that are squares of `size`."""

    width: float
    height: float
    size: float
    cells: tuple[Cell, ...]


def drawing(days: Sequence[CalendarDay], *, in_a_line: int) -> CalendarDrawing:
    """The picture of days, so many in a line."""
    step, line = _CELL + _BETWEEN, _CELL + _DATES + 6
    cells = []
    for number, day in enumerate(days):
        x, is_last = number % in_a_line * step, number % in_a_line == in_a_line - 1
        label = f"{day.day.day} {day.day:%b}" if day.day.weekday() == 0 else ""
        end = (x + _CELL, "end") if is_last else (x, "start")
        cells.append(Cell(x, _DATES + number // in_a_line * line, mark_of(day.state), _in_words(day), label, *end))
    lines = -(-len(days) // in_a_line)
    return CalendarDrawing(in_a_line * step - _BETWEEN, lines * line, _CELL, tuple(cells))


def _in_words(day: CalendarDay) -> str:
    return f"{day.day.day} {day.day:%B}: {mark_of(day.state).short}"


def days_in_words(days: Sequence[CalendarDay]) -> str:
    """The same as the picture: how many days went well, and each that did not."""
    done = sum(day.state == "done" for day in days)
    odd = [day for day in days if day.state not in ("done", "none")]
    told = f"{counted(done, 'day')} of {len(days)} done"
    if not odd:
        return f"{told}."
    listed = "; ".join(f"{day.day.day} {day.day:%b} {mark_of(day.state).short}" for day in odd[-8:])
    more = f" (and {len(odd) - 8:,} before)" if len(odd) > 8 else ""
    return f"{told}. Not so: {listed}{more}."
