"""The speed of kinds of exports relative to plain CSV, in one run, and their memory.

    python -m tests.tools.bench.formats [--rows N] [--rounds N] [--kinds NAME...] [--document FILE] [--parts]

Each export is read, unpacked, decoded, framed, mapped and encoded by a process of its own, so that its peak memory is
its own. Rounds are interleaved, and the least time of each kind counts: what else the machine does meanwhile is none of
it. Then each kind is read once more with four times as many rows, for its memory alone. The rows read and rejected are
compared with what was written. `--document` puts the table between its marks in a file.
"""

import os
import platform
import shutil
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.tools.bench import parts
from tests.tools.bench.format_files import COLUMNS, KINDS, PLAIN, TRANSCODED, Kind, rejects
from tests.tools.bench.processes import run

ROWS, ROUNDS, TIMES_AS_LONG = 400_000, 3, 4
#: More memory than this, relative to that of the shorter export, is called growth.
FLAT = 1.15
BEGIN, END = "<!-- make bench-formats writes this -->\n", "<!-- end -->\n"


@dataclass(frozen=True, slots=True)
class Measured:
    """A kind, and the least it took.

    `wall_s`, `cpu_s`: time and processor time, both without start-up.
    `peak_bytes`, `long_peak_bytes`: the peak memory, with the rows asked for and with `TIMES_AS_LONG` as many.
    """

    kind: Kind
    wall_s: float
    cpu_s: float
    peak_bytes: int
    long_peak_bytes: int

    @property
    def growth(self) -> float:
        return self.long_peak_bytes / self.peak_bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of an export: seconds, seconds of processor time, and the peak memory in bytes."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def measure(rows: int = ROWS, rounds: int = ROUNDS, kinds: Sequence[Kind] = KINDS) -> list[Measured]:
    """All of these kinds."""
    readings: dict[Kind, list[Reading]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-formats-") as directory:
        paths = {kind: Path(directory) / f"export-{number}" for number, kind in enumerate(kinds)}
        for kind, path in paths.items():
            kind.write(path, rows)
        for number in range(1, rounds + 1):
            for kind, path in paths.items():
                readings[kind].append(reading := read(kind, path, rows))
                speed = f"{rows / reading.wall_s:,.0f} rows/s, {reading.cpu_s:.2f} s of processor time"
                print(f"round {number} of {rounds}: {kind.name}: {speed}", flush=True)
        for path in paths.values():
            _remove(path)
        return [
            Measured(
                kind,
                min(each.wall_s for each in readings[kind]),
                min(each.cpu_s for each in readings[kind]),
                max(each.peak_bytes for each in readings[kind]),
                _long_peak(kind, path, rows),
            )
            for kind, path in paths.items()
        ]


def _long_peak(kind: Kind, path: Path, rows: int) -> int:
    kind.write(path, TIMES_AS_LONG * rows)
    peak_bytes = read(kind, path, TIMES_AS_LONG * rows).peak_bytes
    _remove(path)
    print(f"{TIMES_AS_LONG} times as long: {kind.name}: {peak_bytes / 1e6:,.0f} MB", flush=True)
    return peak_bytes


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def read(kind: Kind, path: Path, rows: int) -> Reading:
    """One reading by a process of its own. Ends the benchmark where it reads other rows than were written."""
    # Not getrusage(): of a process that was started by another one, it tells the peak of that one if that is higher.
    used = run([sys.executable, "-m", f"{__package__}.transform", str(path), kind.keys])
    told = orjson.loads(used.output)
    if (told["rows"], told["rejected"]) != (rows, rejects(rows)):
        sys.exit(f"{kind.name}: read {told['rows']:,} rows of {rows:,}, {told['rejected']:,} of them rejected")
    return Reading(told["wall_s"], told["cpu_s"], used.peak_bytes)


def table(found: Sequence[Measured]) -> str:
    """The table, of kinds of which the first is the measure."""
    lines = ["| kind | told by | speed of CSV | CPU s of CSV | peak MB | with 4 × the rows |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for each in found:
        speed, work = found[0].wall_s / each.wall_s, each.cpu_s / found[0].cpu_s
        megabytes = f"{each.peak_bytes / 1e6:,.0f} | {each.long_peak_bytes / 1e6:,.0f}"
        lines.append(f"| {each.kind.name} | {each.kind.told} | {speed:.2f} | {work:.1f} × | {megabytes} |")
    return "\n".join(lines)


def said(found: Sequence[Measured], rows: int, rounds: int) -> str:
    """The table, with what it was measured on above, and what it shows below."""
    plain = found[0]
    above = (
        f"{rows:,} rows of {len(COLUMNS)} columns, least times of {rounds} interleaved rounds; {os.cpu_count()} "
        f"processors, Python {platform.python_version()}, {platform.system()}. {plain.kind.name}: "
        f"{rows / plain.wall_s:,.0f} rows/s."
    )
    growing = [f"{each.kind.name} ({each.growth:.2f} ×)" for each in found if each.growth > FLAT]
    highest = max(each.growth for each in found)
    below = [
        f"Memory grows with the rows: {', '.join(growing)}."
        if growing
        else f"Memory is flat: with {TIMES_AS_LONG} times the rows, no kind takes more than {highest:.2f} × as much."
    ]
    if transcoded := [plain.wall_s / each.wall_s for each in found if each.kind.name in TRANSCODED]:
        below.append(f"Other encodings than UTF-8 keep at least {min(transcoded):.2f} of the speed.")
    return "\n\n".join([above, table(found), " ".join(below)])


def put_in(document: Path, text: str) -> None:
    """Replace what stands between the marks of a document."""
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{document} has no lines {BEGIN.strip()} and {END.strip()}")
    document.write_text(f"{before}{begin}\n{text}\n\n{end}{after}")


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--kinds", nargs="+", default=[], metavar="NAME", help="those with one of these in their names")
    parser.add_argument("--document", type=Path, help="put the table between the marks in this file")
    parser.add_argument("--parts", action="store_true", help="compare a load of 200 parts with one of one file too")
    options = parser.parse_args()
    kinds = [each for each in KINDS if each is PLAIN or any(name in each.name for name in options.kinds or [""])]
    text = said(measure(options.rows, options.rounds, kinds), options.rows, options.rounds)
    if options.parts:
        text = f"{text}\n\n{parts.compared()}"
    if options.document:
        put_in(options.document, text)
    print(f"\n{text}")


if __name__ == "__main__":
    main()
