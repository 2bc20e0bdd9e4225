"""Measures our transform and our whole load against what people use today, all interleaved in one run.

`make bench` or `make bench ROWS=20000000`. Absolute times move with the machine's other work; only ratios within one
run say something about the program, and they are taken round by round. Writes `bench-results/bench.json`, and a picture
beside it. `tests.tools.bench.table` and `tests.tools.bench.picture` make what docs/benchmarks.md shows from the former.
"""

import os
import platform
import statistics
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from tests.tools.bench import picture, startup, table
from tests.tools.bench.contestants import CONTESTANTS, LOAD, OURS, TRANSFORM, Contestant, Export, Run
from tests.tools.bench.generator import VARIANTS, row_bytes, write_export
from tests.tools.bench.peer import peer

RESULTS = Path(__file__).resolve().parents[3] / "bench-results"
ROUNDS = 3

#: What a run measured: as JSON has it, and `table` and `picture` read it.
Results = dict[str, Any]
Runs = dict[str, list[Run]]


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="three at least, for a median")
    parser.add_argument("--variant-rows", type=int, help="the variants are as large as so many plain rows; rows / 5")
    parser.add_argument("--markdown", action="store_true", help="print the tables for docs/benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-bench-") as folder, peer() as url:
        main_part = compare(Path(folder), url, options.rows, options.rounds)
        variants = compare_variants(Path(folder), url, options.variant_rows or options.rows // 5, options.rounds)
    results: Results = {
        "machine": {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "rounds": options.rounds,
        **main_part,
        "variants": variants,
        "startup": startup.measure(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench.json").write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))
    picture.draw(results, RESULTS / "bench.svg")
    print(table.as_markdown(results) if options.markdown else table.as_text(results))


def compare(folder: Path, url: str, rows: int, rounds: int) -> Results:
    """Everyone on one plain export."""
    export = Export(folder / "plain.csv", rows, folder, url)
    write_export(export.path, rows)
    ready = [contestant for contestant in CONTESTANTS if not contestant.missing]
    runs = interleaved([(contestant.name, contestant, export) for contestant in ready], rounds)
    told = [
        {"name": contestant.name, "label": contestant.label}
        | ({"skipped": f"{contestant.missing} is not installed"} if contestant.missing else summary(runs, contestant))
        for contestant in CONTESTANTS
    ]
    row_size = export.row_bytes
    export.path.unlink()
    return {"rows": rows, "row_bytes": row_size, "contestants": told}


def summary(runs: Runs, contestant: Contestant) -> Results:
    """The medians of a contestant, and how many times as fast we are."""
    its = runs[contestant.name]
    return {
        "rows": its[0].rows,
        "rows_per_s": statistics.median(run.rows_per_s for run in its),
        "cpu_s_per_million_rows": statistics.median(run.cpu_s / run.rows * 1e6 for run in its),
        "peak_bytes": statistics.median(run.peak_bytes for run in its),
        "transform_is": ratio(runs[TRANSFORM], its),
        "load_is": ratio(runs[LOAD], its),
        "runs": [asdict(run) for run in its],
    }


def ratio(ours: list[Run], theirs: list[Run]) -> float:
    """How many times as fast we are: the median of the rounds, since what lies near in time is like in speed."""
    return statistics.median(our.rows_per_s / their.rows_per_s for our, their in zip(ours, theirs, strict=True))


def compare_variants(folder: Path, url: str, plain_rows: int, rounds: int) -> list[Results]:
    """Our transform and our whole load on exports of every kind, all of about the same size in bytes."""
    exports = {}
    for variant in VARIANTS:
        rows = round(plain_rows * row_bytes("plain") / row_bytes(variant))
        exports[variant] = Export(folder / f"{variant}.csv", rows, folder, url)
        write_export(exports[variant].path, rows, variant)
    entries = [(f"{c.name} {variant}", c, export) for variant, export in exports.items() for c in OURS]
    runs = interleaved(entries, rounds)
    return [
        {
            "name": variant,
            "rows": export.rows,
            "bytes": export.path.stat().st_size,
            **{
                contestant.name: {
                    "bytes_per_s": statistics.median(run.rows_per_s for run in its) * export.row_bytes,
                    "relative": ratio(its, runs[f"{contestant.name} plain"]) * export.row_bytes / plain_bytes,
                    "peak_bytes": statistics.median(run.peak_bytes for run in its),
                }
                for contestant in OURS
                for its in [runs[f"{contestant.name} {variant}"]]
            },
        }
        for plain_bytes in [exports["plain"].row_bytes]
        for variant, export in exports.items()
    ]


def interleaved(entries: Iterable[tuple[str, Contestant, Export]], rounds: int) -> Runs:
    """Everyone once, then everyone once more: what the machine does meanwhile meets all alike."""
    entries = list(entries)
    runs: Runs = {name: [] for name, _, _ in entries}
    for number in range(1, rounds + 1):
        for name, contestant, export in entries:
            run = contestant.run(export, min(export.rows, contestant.max_rows))
            runs[name].append(run)
            print(f"round {number} of {rounds}: {name}: {run.rows_per_s:,.0f} rows/s, {run.wall_s:.2f} s", flush=True)
    return runs


if __name__ == "__main__":
    main()
