"""What the memory of what was sent costs and saves: whole loads with it, over the same loads without.

    python -m tests.tools.bench.memory_store [--ids 5000000] [--remember digests values] [--document docs/benchmarks.md]

A snapshot is loaded without a memory, then with one that is new, then with 2 % of its rows changed, then once more as
it was: all is known. At last a delta of `--delta` rows that all are changed. Each load is a process of its own. How the
cost of a row grows is told by a snapshot of a tenth of the rows of which all is known; start-up does not count there.
"""

import shutil
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.tools.bench import loading
from tests.tools.bench.generator import write_export
from tests.tools.bench.peer import peer
from tests.tools.bench.processes import Used, run

IDS, DELTA = 5_000_000, 500_000
#: One row in so many is changed from one snapshot to the next.
ROWS_PER_CHANGE = 50
BEGIN, END = "<!-- make bench-memory-store writes this -->", "<!-- end of make bench-memory-store -->"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A load of so many rows: what it used, and the batches that it sent."""

    rows: int
    used: Used
    batches: int

    def over(self, plain: "Loaded") -> str:
        """Its cells of the table: rows a second and processor time over those of a plain load, batches, memory."""
        speed = (self.rows / self.used.wall_s) / (plain.rows / plain.used.wall_s)
        cost = (self.used.cpu_s / self.rows) / (plain.used.cpu_s / plain.rows)
        return f"{speed:.2f} | {cost:.2f} | {self.batches} | {self.used.peak_bytes / 1e6:,.0f} MB"

    def cost_of_a_row(self, start: "Loaded") -> float:
        """The processor time of a row in seconds, without that of a start."""
        return (self.used.cpu_s - start.used.cpu_s) / self.rows


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=IDS)
    parser.add_argument("--delta", type=int, default=DELTA)
    parser.add_argument("--batch-rows", type=int, default=500_000, help="smaller, to try it with few rows")
    parser.add_argument("--remember", nargs="+", default=["digests", "values"], choices=["digests", "values"])
    parser.add_argument("--document", type=Path, help="write the table between its marks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-memory-store-") as folder, peer() as url:
        lines = [*table(Path(folder), url, options)]
    print("\n".join(lines))
    if options.document:
        text = options.document.read_text()
        before, _, rest = text.partition(BEGIN)
        options.document.write_text("\n".join([f"{before}{BEGIN}", *lines, f"{END}{rest.partition(END)[2]}"]))


@dataclass(frozen=True, slots=True)
class Loads:
    """Loads into state directories of one folder. `known`: by what is remembered, the load of which all was known."""

    folder: Path
    url: str
    batch_rows: int
    known: dict[str, Loaded] = field(default_factory=dict)

    def load(self, export: Path, remember: str, *, is_new: bool) -> Loaded:
        """Load an export, into a new state directory if it is said so."""
        state = self.folder / f"state-{remember}"
        config = loading.configuration(state, self.url, batch_rows=self.batch_rows)
        send = "all" if remember == "nothing" else "changes"
        config.write_text(f'{config.read_text()}[memory]\nremember = "{remember}"\nsend = "{send}"\n')
        if is_new:
            shutil.rmtree(state, ignore_errors=True)
        used = run([*loading.command(export, config), "--again"])
        report = orjson.loads(used.output)
        if report["state"] != "done":
            sys.exit(f"the load did not end well: {report}")
        return Loaded(report["rows"]["read"], used, len(report["batches"]))


def table(folder: Path, url: str, options: Any) -> Iterator[str]:
    """The lines of the table; a line is printed on stderr as soon as it is known."""
    # A tenth of the rows first, by which it is told how the cost of a row grows.
    fewer = Loads(folder / "fewer", url, options.batch_rows)
    fewer.folder.mkdir()
    snapshot, _, _ = exports(fewer.folder, options.ids // 10, options.delta)
    start = fewer.load(exports(folder, 1, 1)[0], "nothing", is_new=True)
    for remember in options.remember:
        fewer.load(snapshot, remember, is_new=True)
        fewer.known[remember] = fewer.load(snapshot, remember, is_new=False)
    shutil.rmtree(fewer.folder)

    loads = Loads(folder, url, options.batch_rows)
    snapshot, changed, delta = exports(folder, options.ids, options.delta)

    def line(what: str, loaded: Loaded, plain: Loaded) -> str:
        told = f"| {what} | {loaded.over(plain)} |"
        print(told, file=sys.stderr, flush=True)
        return told

    yield f"| {options.ids:,} rows, `remember` | speed | CPU | batches | memory |"
    yield "|---|---:|---:|---:|---:|"
    plain = loads.load(snapshot, "nothing", is_new=True)
    plain_delta = loads.load(delta, "nothing", is_new=True)
    yield line("`nothing`", plain, plain)
    for remember in options.remember:
        yield line(f"`{remember}`: first load", loads.load(snapshot, remember, is_new=True), plain)
        yield line(f"`{remember}`: 2 % changed", loads.load(changed, remember, is_new=False), plain)
        known = loads.load(changed, remember, is_new=False)
        yield line(f"`{remember}`: all known", known, plain)
        growth = known.cost_of_a_row(start) / fewer.known[remember].cost_of_a_row(start)
        yield f"| `{remember}`: all known, over a row of {options.ids // 10:,} rows | | {growth:.2f} | | |"
        delta_loaded = loads.load(delta, remember, is_new=False)
        yield line(f"`{remember}`: a delta of {plain_delta.rows:,}", delta_loaded, plain_delta)
        files = [*(folder / f"state-{remember}" / "memory").iterdir()]
        size = sum(file.stat().st_size for file in files) / (options.ids * (1 - 0.02))
        yield f"| `{remember}`: {size:.1f} bytes an id, in {len(files)} files | | | | |"
    seconds = plain.used.wall_s / plain.rows * 1e6
    print(f"a plain load: {seconds:.2f} s a million rows", file=sys.stderr)


def exports(folder: Path, ids: int, delta: int) -> tuple[Path, Path, Path]:
    """A snapshot of so many rows, one of which 2 % are changed, and a delta of so many rows that all are changed."""
    snapshot, changed, of_delta = folder / "a.csv", folder / "b.csv", folder / "d.csv"
    write_export(snapshot, ids)
    write_changed(snapshot, changed, every=ROWS_PER_CHANGE, mark=b"x", only_changed=False)
    write_changed(snapshot, of_delta, every=max(1, ids // delta), mark=b"y", only_changed=True)
    return snapshot, changed, of_delta


def write_changed(export: Path, to: Path, *, every: int, mark: bytes, only_changed: bool) -> None:
    """Write an export with a mark behind the last value of one row in `every`; of those alone, if `only_changed`.

    Rows with a quoted field are none of them.
    """
    with export.open("rb") as rows, to.open("wb") as out:
        out.write(next(rows))
        left = every
        for row in rows:
            left -= 1
            if left <= 0 and b'"' not in row:
                left = every
                out.write(row.rstrip(b"\r\n") + mark + b"\n")
            elif not only_changed:
                out.write(row)


if __name__ == "__main__":
    main()
