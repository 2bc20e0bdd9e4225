"""The processor time a tiny job of the service costs, with few and with many jobs that wait or have ended.

`make bench-queue`, or `python -m tests.tools.bench.queue --waiting 10000 --ended 100000`. The service claims all drops
while sending is paused, then loads them one after the other; the processor time of its process is read around a number
of jobs in the middle. Ended jobs are copies of one that really ended, in the ledger and as folders. With them, the
seconds of a `status` are measured too.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.edges.store.row_sums import add_function, add_triggers
from tests.tools.bench import loading
from tests.tools.bench.generator import ID_COLUMN
from tests.tools.bench.peer import peer
from tests.tools.bench.processes import run

#: Jobs before those that are measured, and those that are measured.
WARM_UP, MEASURED = 30, 100
#: Folders of ended jobs that are made: more would only take long.
_FOLDERS = 2_000
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured with so many jobs waiting and ended."""

    waiting: int
    ended: int
    cpu_ms: float
    wall_ms: float
    status_s: float


def measure(waiting: int, ended: int) -> Measured:
    """Milliseconds a job, and seconds of a `status`."""
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-queue-") as folder, peer() as url:
        here = Path(folder)
        state, drop = here / "state", here / "drop"
        drop.mkdir()
        config = loading.configuration(state, url)
        config.write_text(f'{config.read_text()}[drop]\ndirectory = "{drop}"\npoll_s = 0.2\n')
        _put(drop, range(1))
        run([sys.executable, "-m", "pipeline", "serve", "--drain", "--config", str(config)])
        copy_ended(state, ended)
        _put(drop, range(1, 1 + WARM_UP + MEASURED + waiting))
        run([sys.executable, "-m", "pipeline", "pause", "--config", str(config)])
        with _serving(config) as process:
            ledger = state / "ledger.db"
            of_all = "SELECT count(*) FROM jobs WHERE state IS NULL AND json_extract(claim, '$.is_taken')"
            _until(lambda: _count(ledger, of_all) == WARM_UP + MEASURED + waiting)
            run([sys.executable, "-m", "pipeline", "resume", "--config", str(config)])
            done = f"SELECT count(*) FROM jobs WHERE seq > {1 + ended} AND state IS NOT NULL"
            _until(lambda: _count(ledger, done) >= WARM_UP)
            before, cpu_s, started = _count(ledger, done), cpu_s_of(process.pid), time.monotonic()
            _until(lambda: _count(ledger, done) >= WARM_UP + MEASURED)
            jobs = _count(ledger, done) - before
            cpu_s, wall_s = cpu_s_of(process.pid) - cpu_s, time.monotonic() - started
            asked = run([sys.executable, "-m", "pipeline", "status", "--config", str(config)])
        return Measured(waiting, ended, cpu_s / jobs * 1e3, wall_s / jobs * 1e3, asked.wall_s)


def _put(drop: Path, numbers: range) -> None:
    for number in numbers:
        name = f"x{number:06d}"
        (drop / f"{name}.csv").write_text(f"{ID_COLUMN},tier\nu{number},gold\n")
        (drop / f"{name}.fin").touch()


def copy_ended(state: Path, count: int) -> None:
    """Copy the one job in the ledger, with its batches and its facts, and some folders."""
    with closing(sqlite3.connect(state / "ledger.db", isolation_level=None)) as database:
        add_function(database)
        add_triggers(database)
        (job_id,) = database.execute("SELECT job_id FROM jobs").fetchone()
        (batches,) = database.execute("SELECT count(*) FROM batches").fetchone()
        database.execute("BEGIN")
        for table, keys in (("jobs", "seq"), ("batches", "batch_id"), ("facts", "seq")):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            (rows,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
            step = {"seq": f"{keys} + n * {rows}", "batch_id": f"batch_id + n * {batches}", "job": "job + n"}
            step["job_id"] = "job_id || '-' || n"
            copied = ", ".join(step.get(column, column) for column in columns)
            database.execute(
                f"WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {count})"
                f" INSERT INTO {table} SELECT {copied} FROM {table}, number WHERE {count} > 0"
            )
        database.execute("COMMIT")
    for number in range(1, 1 + min(count, _FOLDERS)):
        shutil.copytree(state / "jobs" / job_id, state / "jobs" / f"{job_id}-{number}")


@contextmanager
def _serving(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "serve", "--config", str(config)], stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _count(ledger: Path, query: str) -> int:
    with closing(sqlite3.connect(ledger, timeout=30)) as database:
        (count,) = database.execute(query).fetchone()
        return int(count)


def cpu_s_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(0.1)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--ended", type=int, default=100_000)
    options = parser.parse_args()
    few = measure(10, 10)
    print(told(few), flush=True)
    for waiting, ended in ((options.waiting, 10), (10, options.ended), (options.waiting, options.ended)):
        many = measure(waiting, ended)
        print(f"{told(many)}, {many.cpu_ms / few.cpu_ms:.2f} x", flush=True)


def told(measured: Measured) -> str:
    """A measurement in words."""
    return (
        f"{measured.waiting:,} waiting, {measured.ended:,} ended: {measured.cpu_ms:.1f} ms of processor time a job "
        f"({measured.wall_ms:.1f} ms in all), status {measured.status_s:.2f} s"
    )


if __name__ == "__main__":
    main()
