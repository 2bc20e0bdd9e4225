"""State directories for tests of the web server: of real loads, and of many jobs that are only entered."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.report import Report
from pipeline.edges.store.ledger import open_ledger
from pipeline.edges.store.records import JobRecord
from pipeline.sandbox import Fault, FaultPlan
from tests.simulation.staged import deliver
from tests.tools.faults.canaries import MARK

BEGAN = datetime(2026, 11, 23, 9, tzinfo=UTC)


def load_canaries(directory: Path) -> None:
    """Load exports of which every id and every cell is marked: some rows rejected, some failed, and a whole export."""
    rows = [f"{MARK}{number},{MARK}gold,{MARK}{number}" for number in range(8)]
    deliver(directory, *rows, f"{MARK}x,{MARK},{MARK},{MARK},{MARK}", f",{MARK},1", export={"max_rejects": 9})
    failing = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=3)
    deliver(directory, *rows, f"{MARK}0,{MARK}silver,", faults=failing, export={"max_rejects": 9})
    deliver(directory, *rows, f"{MARK}x,{MARK},{MARK},{MARK}", export={"max_rejects": 0})
    deliver(directory, *rows, header=f"{MARK},{MARK}gold,{MARK}7")


def enter_jobs(
    state: Path,
    count: int,
    *,
    client_code: str = "demo",
    unfinished: int = 0,
    name: str = "e",
    began: datetime = BEGAN,
    apart: timedelta = timedelta(minutes=1),
    rows: int = 0,
) -> list[str]:
    """Enter so many jobs of so many rows, the first at `began`, and end all but the last ones; their ids in order."""
    state.mkdir(parents=True, exist_ok=True)
    job_ids, counts = [], {"read": rows, "confirmed": rows}
    path, now = state / "ledger.db", began
    with closing(open_ledger(path, client_code, lambda: now.isoformat(), is_new=not path.exists())) as ledger:
        for number in range(count):
            now = began + number * apart
            job_ids.append(f"{now:%Y%m%dT%H%M%SZ}-{name}-{number:04x}")
            entered_at = now.isoformat(timespec="seconds")
            entered = JobRecord(0, job_ids[-1], Path(f"/drop/{name}.csv"), 1, 1, {}, entered_at, None, Checkpoint())
            job = ledger.begin_job(entered)
            if number < count - unfinished:
                told = {
                    "job": job_ids[-1],
                    "state": "done",
                    "started_at": entered_at,
                    "finished_at": entered_at,
                    "rows": counts,
                }
                ended = Report.from_json(told)
                ledger.finish_job(job, ended, never_sent=(), released=())
    return job_ids
