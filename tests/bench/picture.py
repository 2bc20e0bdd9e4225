"""The results of a run as a picture: rows a second on a logarithmic axis, and how many times as fast our load is.

The same results give the same bytes. `python -m tests.bench.picture OUT` draws `bench-results/bench.json` anew.
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib
import orjson
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tests.bench.contestants import LOAD, TRANSFORM
from tests.bench.table import by_speed, times

#: A card of its own colour, so that it reads the same on a light page and on a dark one.
_CARD, _INK, _FAINT = "#fbfaf7", "#24292f", "#6b7280"
_BAR, _TRANSFORM, _LOAD = "#c3c9d1", "#7fb2a8", "#0f766e"
_COLORS = {TRANSFORM: _TRANSFORM, LOAD: _LOAD}


def draw(results: dict[str, Any], path: Path) -> None:
    """Write the picture; its suffix says what kind."""
    fonts = ["DejaVu Sans", "sans-serif"]
    style: dict[Any, Any] = {"svg.hashsalt": "bench", "svg.fonttype": "none", "font.family": fonts}
    with matplotlib.rc_context(style):
        metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else None
        _figure(results).savefig(path, metadata=metadata, dpi=120, facecolor=_CARD)


def _figure(results: dict[str, Any]) -> Figure:
    told = by_speed(results)[::-1]
    figure = Figure(figsize=(9.6, 1.5 + 0.46 * len(told)))
    axes = figure.add_axes((0.29, 0.14, 0.52, 0.68))
    slowest, fastest = told[0]["rows_per_s"], told[-1]["rows_per_s"]
    start = 10 ** int(f"{slowest / 4:.0e}".partition("e")[2])
    for place, one in enumerate(told):
        ours = one["name"] in _COLORS
        weight = "bold" if ours else "normal"
        axes.barh(place, one["rows_per_s"] - start, left=start, height=0.62, color=_COLORS.get(one["name"], _BAR))
        axes.text(start * 0.86, place, one["label"], ha="right", va="center", color=_INK, weight=weight, size=10)
        speed = f" {_short(one['rows_per_s'])}"
        axes.text(one["rows_per_s"], place, speed, ha="left", va="center", color=_INK, weight=weight, size=10)
        compared = "" if one["name"] == LOAD else times(one["load_is"])
        axes.text(1.24, place, compared, ha="right", va="center", color=_INK, transform=axes.get_yaxis_transform())
    axes.set_xscale("log")
    axes.set_xlim(start, fastest * 1.1)
    axes.set_ylim(-0.6, len(told) - 0.4)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.tick_params(axis="x", which="both", colors=_FAINT, labelsize=9, length=0)
    axes.grid(axis="x", color="#e4e4e0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_frame_on(False)
    axes.set_xlabel("rows a second, logarithmic", color=_FAINT, size=9)
    figure.text(0.02, 0.93, "Reading and sending a CRM export", color=_INK, size=13, weight="bold", va="center")
    under = f"{results['rows'] / 1e6:g} million rows of {results['row_bytes']:.0f} bytes, medians of one run"
    figure.text(0.02, 0.865, under, color=_FAINT, size=9, va="center")
    figure.text(0.935, 0.865, "our whole load is", color=_FAINT, size=9, va="center", ha="right")
    return figure


def _short(value: float) -> str:
    """A number of rows in few signs."""
    for size, sign in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


if __name__ == "__main__":
    draw(orjson.loads(Path("bench-results/bench.json").read_bytes()), Path(sys.argv[1]))
