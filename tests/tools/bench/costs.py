"""What tracker, spool and ledger cost of a load, in processor time and time on the wall.

Four programs, each in a process of its own, on the same export of 2 million rows with 2 % repeated ids: reading and
mapping only; the chunker too; the tracker with it, all batches staying in flight; spool and ledger as well. What each
step adds is the difference to the one before. All run interleaved, medians of three.
"""

import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.chunker import Chunker
from pipeline.core.batches.placer import Placer
from pipeline.core.batches.tracker import Tracker
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import Position
from pipeline.core.model import Rows
from pipeline.core.rows.header import plan_columns
from pipeline.core.rows.mapping import RowMapper
from pipeline.core.rows.transform import Transform
from pipeline.edges.exports import BLOCK_BYTES
from pipeline.edges.store.ledger import open_ledger
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.spool import Spool
from tests.tools.bench.generator import COLUMNS, ID_COLUMN, write_export
from tests.tools.bench.processes import run

STEPS = ("read and map", "chunker", "tracker", "spool and ledger")
ROUNDS = 3
SALT = 1


class Steps:
    """A load without Target: as much of it as `step` says."""

    def __init__(self, step: int, export: Path, state: Path) -> None:
        self._step = step
        self._export = export
        plan = plan_columns(COLUMNS, id_column=ID_COLUMN, id_kind="thirdPartyId", columns={}, unlisted="send")
        max_row_bytes = 49_999_999 - len(plan.body_start)
        mapper = RowMapper(
            plan, dialect=Dialect(b","), on_delimiter="encode", replacement=" ", max_row_bytes=max_row_bytes, salt=SALT
        )
        self._transform = Transform(mapper, start=Position(offset=len(",".join(COLUMNS)) + 1, line=2))
        chunker = Chunker(plan.body_start, max_bytes=49_999_999, max_rows=500_000)
        tracker = Tracker(max_held_rows=1_000_000, max_held_bytes=134_217_728, max_row_bytes=max_row_bytes, salt=SALT)
        self._placer = Placer(chunker, tracker)
        if step == 3:
            self._spool = Spool(state / "spool", min_free_bytes=0)
            self._ledger = open_ledger(state / "ledger.db", "bench", lambda: datetime.now(UTC).isoformat(), is_new=True)
            self._job = self._ledger.begin_job(
                JobRecord(0, "bench", export, 0, 0, {"id_kind": "thirdPartyId"}, "", None, Checkpoint())
            )
        self._sealed = 0

    def run(self) -> None:
        with self._export.open("rb", buffering=0) as file:
            file.seek(self._transform.position.offset)
            while block := file.read(BLOCK_BYTES):
                self._place(self._transform.feed(block).rows)
        self._place(self._transform.finish().rows)
        self._seal()

    def _place(self, rows: Rows) -> None:
        first = 0
        while self._step == 1 and first < len(rows):
            first = self._placer.chunker.take(rows, first, np.zeros(len(rows) - first, dtype=np.bool_)).stop
            if first < len(rows):
                self._placer.chunker.seal()
        while self._step > 1 and first < len(rows):
            placed = self._placer.place(rows)
            if not placed.must_seal:
                return
            self._seal()
            # Counted once only: what is left of this block is let go.
            first = len(rows)

    def _seal(self) -> None:
        if self._step < 2:
            return
        seal = self._placer.seal()
        if seal.content is None:
            return
        self._sealed += 1
        if self._step == 3:
            batch = self._spool.write(self._sealed, self._sealed, seal.content)
            self._ledger.seal(self._job, Checkpoint(), batch, held=seal.held, released=(), overtaken={})
        self._placer.tracker.seal(self._sealed, seal.content.hashes)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--step", type=int)
    parser.add_argument("--export", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-costs-") as folder:
        if arguments.step is not None:
            steps = Steps(arguments.step, arguments.export, Path(folder))
            started = time.perf_counter(), time.process_time()
            steps.run()
            print(time.perf_counter() - started[0], time.process_time() - started[1])
            return
        export = Path(folder) / "export.csv"
        write_export(export, arguments.rows)
        compare(export, arguments.rows)


def compare(export: Path, rows: int) -> None:
    times: dict[int, list[tuple[float, float]]] = {step: [] for step in range(len(STEPS))}
    for _ in range(ROUNDS):
        for step in times:
            command = [sys.executable, "-m", "tests.tools.bench.costs", "--step", str(step), "--export", str(export)]
            wall, cpu = run(command).output.split()
            times[step].append((float(wall), float(cpu)))
    medians = [
        (statistics.median(run_[0] for run_ in times[step]), statistics.median(run_[1] for run_ in times[step]))
        for step in times
    ]
    print(f"what each step adds, {rows:,} rows with 2 % repeated ids, medians of {ROUNDS} interleaved:")
    before = (0.0, 0.0)
    for name, (wall_s, cpu_s) in zip(STEPS, medians, strict=True):
        added = (wall_s - before[0], cpu_s - before[1])
        share = added[1] / medians[-1][1]
        print(f"  {name:<17} {added[0]:6.2f} s, {added[1]:6.2f} s of processor time ({share:.0%} of all)")
        before = (wall_s, cpu_s)


if __name__ == "__main__":
    main()
