"""Loads a large export into a discarding sandbox and compares it with a csv + quote loop, in one run.

`make bench` or `make bench ROWS=1000000`. Absolute times move with the machine's other work; only the ratio, taken
within one run, says something about the program.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.bench.generator import ID_COLUMN, write_crm_export

#: The loop is timed on so many rows of the same file: it is linear, and slow.
LOOP_ROWS = 500_000
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a program: rows it did, seconds on the wall and of processor time, peak memory in bytes."""

    rows: int
    wall_s: float
    cpu_s: float
    peak_bytes: int

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.wall_s


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-bench-") as folder, peer() as url:
        export = Path(folder) / "export.csv"
        write_crm_export(export, rows)
        size = export.stat().st_size
        print(f"export: {rows:,} rows, {size / 1e6:,.0f} MB, {size / rows:.0f} bytes a row, 2 % repeated ids")
        loops, loads = [], []
        for number in range(1, ROUNDS + 1):
            loops.append(measure_loop(export, min(rows, LOOP_ROWS)))
            loads.append(measure_load(export, Path(folder) / f"state-{number}", url, rows))
            told(f"round {number}", loops[-1], loads[-1], size / rows)
        loop, load = median(loops), median(loads)
        told("median", loop, load, size / rows)
        print(f"whole load / csv + quote loop: {load.rows_per_s / loop.rows_per_s:.2f} x the rows a second")
        print(f"peak memory of the load: {load.peak_bytes / 1e6:,.0f} MB")


def told(name: str, loop: Measured, load: Measured, row_bytes: float) -> None:
    print(
        f"{name}: csv + quote {loop.rows_per_s:,.0f} rows/s; whole load {load.rows_per_s:,.0f} rows/s, "
        f"{load.rows_per_s * row_bytes / 1e6:,.1f} MB/s, {load.cpu_s:,.1f} s of processor time, "
        f"peak {load.peak_bytes / 1e6:,.0f} MB"
    )


def median(runs: list[Measured]) -> Measured:
    """The run with the median time on the wall, with the highest peak of all."""
    middle = statistics.median_low([run.wall_s for run in runs])
    run = next(run for run in runs if run.wall_s == middle)
    return Measured(run.rows, run.wall_s, run.cpu_s, max(run.peak_bytes for run in runs))


def measure_loop(export: Path, rows: int) -> Measured:
    output, cpu_s, peak = run([sys.executable, "-m", "tests.bench.usual_loop", str(export), str(rows)])
    count, wall_s = output.split()
    return Measured(int(count), float(wall_s), cpu_s, peak)


def measure_load(export: Path, state: Path, url: str, rows: int) -> Measured:
    """A whole load: start-up, spool with fsync, digest, tracker, POSTs, statuses, report."""
    config = state.with_suffix(".toml")
    config.write_text(
        f'[target]\nclient_code = "demo"\nbase_url = "{url}"\ncalls_per_minute = 100000\n'
        f'[export]\nid_column = "{ID_COLUMN}"\nunlisted = "send"\n'
        f'[settle]\npoll_first_s = 0.2\npoll_max_s = 1.0\n[state]\ndirectory = "{state}"\nmin_free_bytes = 0\n'
    )
    started = time.perf_counter()
    output, cpu_s, peak = run(
        [sys.executable, "-m", "pipeline", "load", str(export), "--config", str(config), "--json"]
    )
    wall_s = time.perf_counter() - started
    report = orjson.loads(output)
    done = report["rows"]
    if report["state"] != "done" or done["confirmed"] + done["superseded"] != rows:
        sys.exit(f"the load did not end well: {report}")
    return Measured(rows, wall_s, cpu_s, peak)


def run(command: list[str]) -> tuple[str, float, int]:
    """Run a program to its end: its output, seconds of processor time, and peak memory in bytes."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} ended with {process.returncode}: {output}")
    return output, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


@contextmanager
def peer() -> Iterator[str]:
    """The URL of a discarding sandbox in another process."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.peer"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    main()
