"""A clock that is far off when a service begins: what is gone is gone, so nothing is removed."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from pipeline.edges.store.row_sums import add_function, add_triggers
from tests.tools.dropping import Drop, dropping, events
from tests.tools.support import run_program

#: After these days each kind of file goes by default.
LATER_DAYS = 500


def set_back(state: Path, days: float, *, where: str = "1") -> None:
    """Let jobs in the ledger have ended so long ago: as if the clock stood ahead by as much."""
    with closing(sqlite3.connect(state / "ledger.db")) as ledger, ledger:
        # As the program wrote it then: with its sums.
        add_function(ledger)
        add_triggers(ledger)
        for seq, at in ledger.execute(f"SELECT seq, finished_at FROM jobs WHERE {where}").fetchall():
            before = datetime.fromisoformat(at).astimezone(UTC) - timedelta(days=days)
            values = (before.isoformat(timespec="seconds"), seq)
            ledger.execute("UPDATE jobs SET report = json_set(report, '$.finished_at', ?) WHERE seq = ?", values)


def files(drop: Drop) -> list[str]:
    jobs = drop.at.state / "jobs"
    return sorted(str(path.relative_to(jobs)) for path in jobs.rglob("*") if path.is_file())


async def three_jobs(drop: Drop) -> list[str]:
    for name in "abc":
        drop.put(f"{name}.csv", f"{name},gold,1", ",no id,1", signal_as=f"{name}.csv.ready")
    await drop.drain(drop={"keep_exports": "always"})
    # Each has a report, its page, its rejects, an index of its rows, its export and its signal.
    assert len(files(drop)) == 24
    return files(drop)


async def test_a_service_removes_nothing_while_the_clock_is_far_from_the_ledger(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        kept = await three_jobs(drop)
        set_back(drop.at.state, LATER_DAYS)
        for _ in range(2):
            # The second one finds a job that ended by the wrong clock.
            drop.put("later.csv", "later,gold,1", signal_as="later.ready")
            done = await drop.drain(drop={"keep_exports": "always"})
            assert done.code == 0, done.said
            (told,) = events(done, "old_files_kept")
            assert (told["level"], told["files"]) == ("warning", 24)
            assert "a job ended at" in told["why"]
            assert set(kept) <= set(files(drop))


async def test_prune_removes_nothing_then_and_says_what_to_do(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        kept = await three_jobs(drop)
        set_back(drop.at.state, LATER_DAYS)
        config = drop.config()
        told = await run_program("prune", "--config", config)
        assert (told.code, told.out) == (75, "")
        assert "old files are kept, since the clock may be wrong" in told.err
        assert "when `serve` has run for a day" in told.err
        as_json = await run_program("prune", "--json", "--config", config)
        assert orjson.loads(as_json.out)["removed"] == []
        assert "a job ended at" in orjson.loads(as_json.out)["kept_because"]
        listed = await run_program("prune", "--dry-run", "--config", config)
        assert (listed.code, len(listed.out.splitlines())) == (0, 24)
        assert files(drop) == kept
        # The ledger goes on for longer than a day: it was so all the time.
        for job, days in enumerate((450.0, LATER_DAYS - 1.1, LATER_DAYS - 0.01)):
            set_back(drop.at.state, -days, where=f"seq = (SELECT min(seq) + {job} FROM jobs)")
        done = await run_program("prune", "--config", config)
        assert done.code == 0, done.said
        assert len(files(drop)) == 24 - 6, "of the first job only the report is kept"


@pytest.mark.parametrize("days", [60.0, 20_000.0])
async def test_a_job_that_ended_while_the_clock_was_set_back_is_as_old_as_those_before(
    tmp_path: Path, days: float
) -> None:
    async with dropping(tmp_path) as drop:
        kept = await three_jobs(drop)
        set_back(drop.at.state, days, where="seq = (SELECT max(seq) FROM jobs)")
        done = await drop.drain()
        assert done.code == 0, done.said
        assert files(drop) == kept
