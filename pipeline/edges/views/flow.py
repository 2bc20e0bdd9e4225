"""The picture of a job's rows: a stream from what was read to the class of each row, as numbers for SVG.

A band is as thick as it has rows, but never so thin that nobody sees it: one lost row among millions shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.edges.views.wording import MEANINGS

#: Classes of rows by what was done with them, in the order in which the picture has them.
_BRANCHES = {
    "sent": ("confirmed", "unconfirmed", "failed"),
    "not settled": ("pending",),
    "no need to send": ("superseded", "unchanged", "excluded", "empty"),
    "not sent": ("rejected", "unsent"),
}
#: Units of SVG: the height of all rows, the least of a band, the height of a label, and between branches.
_ALL_ROWS, _LEAST, _LABEL, _GAP = 190.0, 3.0, 38.0, 14.0
#: Room above for the names of branches.
_TOP = 18.0
_NODE = 10.0


@dataclass(frozen=True, slots=True)
class Band:
    """The rows of a class: two curved bands, and a label beside their end."""

    name: str
    count: int
    paths: tuple[str, str]
    x: float
    y: float
    height: float
    label_y: float


@dataclass(frozen=True, slots=True)
class Branch:
    """The rows with which the same was done."""

    name: str
    count: int
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Flow:
    """The picture, `width` by `height`; `label_x` is where labels begin, and rows that were read have `read_height`."""

    width: float
    height: float
    node: float
    label_x: float
    read_y: float
    read_height: float
    branches: tuple[Branch, ...]
    bands: tuple[Band, ...]


def flow(rows: Mapping[str, int], *, width: float, label_width: float) -> Flow | None:
    """The picture of rows by class, with `label_width` for labels on the right; None if no row was read."""
    counts = {name: rows.get(name, 0) for names in _BRANCHES.values() for name in names}
    whole = sum(counts.values())
    if not whole:
        return None
    thick = {name: max(_LEAST, count / whole * _ALL_ROWS) for name, count in counts.items() if count}
    right = width - label_width - _NODE
    middle = right * 0.45
    # The classes on the right, each with room for its label.
    ends, y = {}, _TOP
    for number, names in enumerate(_BRANCHES.values()):
        for name in names:
            if name in thick:
                slot = max(thick[name], _LABEL)
                ends[name] = y + (slot - thick[name]) / 2
                y += slot
        y += _GAP if number < len(_BRANCHES) - 1 and any(name in thick for name in names) else 0.0
    height = max(y, _TOP + sum(thick.values()) + _GAP * (len(_BRANCHES) - 1))
    branches, begins = _branches(counts, thick, ends, middle)
    total = sum(thick.values())
    read_y = max(_TOP, (height + _TOP - total) / 2)
    bands, left = [], read_y
    for name, size in thick.items():
        bands.append(
            Band(
                name,
                counts[name],
                (
                    _curve(_NODE, left, middle, begins[name], size),
                    _curve(middle + _NODE, begins[name], right, ends[name], size),
                ),
                round(right, 1),
                round(ends[name], 1),
                round(size, 1),
                round(ends[name] + size / 2, 1),
            )
        )
        left += size
    return Flow(
        width, round(height + 4, 1), _NODE, right + _NODE + 8, round(read_y, 1), round(total, 1), branches, tuple(bands)
    )


def _branches(
    counts: Mapping[str, int], thick: Mapping[str, float], ends: Mapping[str, float], middle: float
) -> tuple[tuple[Branch, ...], dict[str, float]]:
    """The branches in the middle, each at the height of its classes; and where the band of each class begins there."""
    branches, begins, least_y = [], {}, _TOP
    for branch, all_names in _BRANCHES.items():
        names = [name for name in all_names if name in thick]
        if not names:
            continue
        size = sum(thick[name] for name in names)
        centre = (ends[names[0]] + ends[names[-1]] + thick[names[-1]]) / 2
        y = max(least_y, centre - size / 2)
        branches.append(Branch(branch, sum(counts[name] for name in names), middle, round(y, 1), round(size, 1)))
        for name in names:
            begins[name] = y
            y += thick[name]
        least_y = y + _GAP
    return tuple(branches), begins


def _curve(x: float, y: float, to_x: float, to_y: float, size: float) -> str:
    """A band of this thickness from one place to another, as an SVG path."""
    between = (x + to_x) / 2
    return (
        f"M{x:.1f} {y:.1f}C{between:.1f} {y:.1f} {between:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}v{size:.1f}"
        f"C{between:.1f} {to_y + size:.1f} {between:.1f} {y + size:.1f} {x:.1f} {y + size:.1f}z"
    )


def flow_in_words(rows: Mapping[str, int]) -> str:
    """The same as the picture, for those who do not see it."""
    told = ", ".join(f"{rows[name]:,} {name}" for name in MEANINGS if rows.get(name))
    return f"{rows.get('read', 0):,} rows read: {told}." if told else "No row was read."
