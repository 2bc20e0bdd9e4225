"""The calendar: a route's last days, as a picture and in words."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pipeline.core.plural import counted
from pipeline.edges.views.marks import WORST_FIRST, Mark, mark_of
from pipeline.edges.views.overview_view import CALENDAR_DAYS, Day

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


def days_of(
    ended: Iterable[tuple[date, str]], today: date, missing: Collection[date] = (), *, count: int = CALENDAR_DAYS
) -> tuple[Day, ...]:
    """The last days up to today, of jobs given by the day of their end and their state.

    `missing`: the days on which an export was expected and did not come.
    """
    by_day: dict[date, list[str]] = {}
    for day, state in ended:
        by_day.setdefault(day, []).append(state)
    days = [today - timedelta(days=back) for back in range(count - 1, -1, -1)]
    return tuple(
        Day(
            day,
            _worst(by_day[day]) if day in by_day else "missing" if day in missing else "none",
            len(by_day.get(day, ())),
        )
        for day in days
    )


def _worst(states: Collection[str]) -> str:
    return next((state for state in WORST_FIRST if state in states), min(states))


def drawing(days: Sequence[Day], *, in_a_line: int) -> CalendarDrawing:
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


def _in_words(day: Day) -> str:
    jobs = f", {counted(day.jobs, 'job')}" if day.jobs else ""
    return f"{day.day.day} {day.day:%B}: {mark_of(day.state).short}{jobs}"


def days_in_words(days: Sequence[Day]) -> str:
    """The same as the picture: how many days went well, and each that did not."""
    done = sum(day.state == "done" for day in days)
    odd = [day for day in days if day.state not in ("done", "none", "skipped")]
    told = f"{counted(done, 'day')} of {len(days)} done"
    if not odd:
        return f"{told}."
    listed = "; ".join(f"{day.day.day} {day.day:%b} {mark_of(day.state).short}" for day in odd[-8:])
    more = f" (and {len(odd) - 8:,} before)" if len(odd) > 8 else ""
    return f"{told}. Not so: {listed}{more}."
