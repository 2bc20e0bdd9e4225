"""The results of a run as tables, for a terminal or for docs/benchmarks.md.

`python -m tests.tools.bench.table` prints those of docs/benchmarks.md anew.
"""

from pathlib import Path
from typing import Any

import orjson

from tests.tools.bench import startup

Cells = list[list[str]]


def as_text(results: dict[str, Any]) -> str:
    """For a terminal."""
    return "\n".join(["", said_above(results), "", *_aligned(main_table(results)), "",
                      *_aligned(variants_table(results)), "", startup.told(results["startup"])])  # fmt: skip


def as_markdown(results: dict[str, Any]) -> str:
    """For docs/benchmarks.md."""
    tables = (_markdown(main_table(results)), _markdown(variants_table(results)))
    return "\n\n".join([said_above(results), *tables, startup.told(results["startup"]) + "."])


def said_above(results: dict[str, Any]) -> str:
    machine = results["machine"]
    return (
        f"{results['rows']:,} rows of {results['row_bytes']:.0f} bytes, medians of {results['rounds']} interleaved "
        f"rounds; {machine['processors']} processors, Python {machine['python']}, {machine['system']}."
    )


def main_table(results: dict[str, Any]) -> Cells:
    """Everyone on the plain export, the fastest first."""
    cells = [
        ["", "rows/s", "MB/s", "CPU s per M rows", "peak MB", "rows timed", "our transform is", "our whole load is"]
    ]
    for told in by_speed(results):
        cells.append(
            [
                told["label"],
                f"{told['rows_per_s']:,.0f}",
                f"{told['rows_per_s'] * results['row_bytes'] / 1e6:,.1f}",
                f"{told['cpu_s_per_million_rows']:.2f}",
                megabytes(told["peak_bytes"]),
                "all" if told["rows"] == results["rows"] else f"first {told['rows']:,}",
                times(told["transform_is"]),
                times(told["load_is"]),
            ]
        )
    cells += [
        [told["label"], f"skipped: {told['skipped']}", *[""] * 6]
        for told in results["contestants"]
        if "skipped" in told
    ]
    return cells


def by_speed(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Those who took part, the fastest first."""
    ran = [told for told in results["contestants"] if "skipped" not in told]
    return sorted(ran, key=lambda told: -float(told["rows_per_s"]))


def variants_table(results: dict[str, Any]) -> Cells:
    """We on exports of every kind."""
    cells = [["export", "rows", "transform MB/s", "of plain", "whole load MB/s", "of plain", "peak MB"]]
    for variant in results["variants"]:
        transform, load = variant["transform"], variant["load"]
        cells.append(
            [
                variant["name"],
                f"{variant['rows']:,}",
                f"{transform['bytes_per_s'] / 1e6:,.1f}",
                f"{transform['relative']:.2f}",
                f"{load['bytes_per_s'] / 1e6:,.1f}",
                f"{load['relative']:.2f}",
                megabytes(load["peak_bytes"]),
            ]
        )
    return cells


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f}" if size >= 1e6 else "< 1"


def times(ratio: float) -> str:
    """How many times as fast, with two digits that count."""
    return f"{ratio:.0f} ×" if ratio >= 9.95 else f"{ratio:.1f} ×" if ratio >= 0.995 else f"{ratio:.2g} ×"


def _aligned(cells: Cells) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def _markdown(cells: Cells) -> str:
    head, *lines = cells
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])


if __name__ == "__main__":
    print(as_markdown(orjson.loads(Path("bench-results/bench.json").read_bytes())))
