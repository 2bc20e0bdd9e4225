"""The results of a run as a picture: rows a second on a logarithmic axis, and how many times as fast we are.

Points, not bars: on a logarithmic axis a length says nothing. The same results give the same bytes.
`python -m tests.tools.bench.picture OUT` draws `bench-results/bench.json` anew.
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib
import orjson
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from tests.tools.bench.contestants import LOAD, TRANSFORM
from tests.tools.bench.table import by_speed, times

#: A card of its own colour, so that it reads the same on a light page and on a dark one.
_CARD, _INK, _FAINT, _LINE = "#fbfaf7", "#24292f", "#6b7280", "#e4e4e0"
_OTHERS = "#8a94a3"
_OURS = {TRANSFORM: "#3b82a0", LOAD: "#0f766e"}
#: Where the columns of ratios end, in widths of the axes; who is compared in them; their headings.
_COLUMNS = ((1.20, TRANSFORM, ("our", "transform is")), (1.41, LOAD, ("our whole", "load is")))


def draw(results: dict[str, Any], path: Path) -> None:
    """Write the picture; its suffix says what kind."""
    fonts = ["DejaVu Sans", "sans-serif"]
    style: dict[Any, Any] = {"svg.hashsalt": "bench", "svg.fonttype": "none", "font.family": fonts}
    with matplotlib.rc_context(style):
        metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else None
        _figure(results).savefig(path, metadata=metadata, dpi=120, facecolor=_CARD)


def _figure(results: dict[str, Any]) -> Figure:
    told = by_speed(results)[::-1]
    figure = Figure(figsize=(9.6, 1.7 + 0.42 * len(told)))
    axes = figure.add_axes((0.29, 0.13, 0.47, 0.68))
    for place, one in enumerate(told):
        _draw_line(axes, place, one)
    axes.set_xscale("log")
    axes.set_xlim(told[0]["rows_per_s"] / 1.6, told[-1]["rows_per_s"] * 6)
    axes.set_ylim(-0.6, len(told) - 0.4)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="both", colors=_FAINT, labelsize=9, length=0)
    axes.grid(axis="x", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_frame_on(False)
    axes.set_xlabel("rows a second, logarithmic", color=_FAINT, size=9)
    figure.text(0.02, 0.935, "A CRM export, read and sent", color=_INK, size=13, weight="bold", va="center")
    under = f"{results['rows'] / 1e6:g} million rows of {results['row_bytes']:.0f} bytes, medians of one run"
    figure.text(0.02, 0.875, under, color=_FAINT, size=9, va="center")
    for right, name, lines in _COLUMNS:
        for height, line in zip((1.115, 1.06), lines, strict=True):
            axes.text(right, height, line, color=_OURS[name], size=9, ha="right", transform=axes.transAxes)
    return figure


def _draw_line(axes: Axes, place: int, one: dict[str, Any]) -> None:
    """The name of one who took part, its point, and how many times as fast we are."""
    color, weight = _OURS.get(one["name"], _OTHERS), "bold" if one["name"] in _OURS else "normal"
    across = axes.get_yaxis_transform()
    axes.axhline(place, color=_LINE, linewidth=0.8, zorder=0)
    axes.text(-0.02, place, one["label"], ha="right", va="center", color=_INK, weight=weight, size=10, transform=across)
    axes.plot(one["rows_per_s"], place, "o", color=color, markersize=10)
    axes.annotate(
        _short(one["rows_per_s"]), (one["rows_per_s"], place), (11, 0), textcoords="offset points",
        ha="left", va="center", color=_INK, weight=weight, size=10,
        bbox={"facecolor": _CARD, "edgecolor": "none", "pad": 2}, zorder=1,
    )  # fmt: skip
    for right, name, _ in _COLUMNS:
        ratio = "" if one["name"] == name else times(one[f"{name}_is"])
        axes.text(right, place, ratio, ha="right", va="center", color=_INK, size=10, transform=across)


def _short(value: float) -> str:
    """A number of rows in few signs."""
    for size, sign in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


if __name__ == "__main__":
    draw(orjson.loads(Path("bench-results/bench.json").read_bytes()), Path(sys.argv[1]))
