"""A ledger of months: a start checks what is unfinished, and the service all of it while it runs."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.core.batches.lifecycle import Begun
from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.store.ledger_file import CHECKED_WHOLE_BYTES
from pipeline.service.ledger_check import check_ledger
from tests.edges.store.test_ledger import FILE, REPORT, batch_of, job_of, opened, seal
from tests.tools.dropping import dropping
from tests.tools.support import ended, until


def enlarge(path: Path) -> None:
    """Make a ledger too large to be checked whole at a start, by held rows that nobody reads any more."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(
            "INSERT INTO held (job, seal, piece, changes) VALUES (1, 9, 9, ?)", (bytes(CHECKED_WHOLE_BYTES),)
        )
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def alter(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(statement)


def large_ledger(directory: Path) -> Path:
    """The job j1 has ended, with batch 1; j2 has not, with batch 2."""
    with opened(directory) as ledger:
        for number, name in enumerate(("j1", "j2"), 1):
            job = ledger.begin_job(job_of(name))
            seal(ledger, job, batch_of(number))
            ledger.add_fact(number, Begun(number))
            if name == "j1":
                ledger.finish_job(job, REPORT, never_sent=[], released=[1])
    enlarge(directory / FILE)
    return directory / FILE


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE jobs SET export = '/drop/other.csv' WHERE job_id = 'j2'", "job j2 is not as it was written"),
        ("UPDATE batches SET rows = rows + 1 WHERE batch_id = 2", "batch 2 is not as it was written"),
        ("UPDATE batches SET is_open = 0 WHERE batch_id = 2", "batch 2 is not as it was written"),
        ("UPDATE facts SET detail = replace(detail, '2', '4') WHERE batch_id = 2", "a fact of batch 2 is not as"),
        ("UPDATE meta SET value = '1' WHERE key = 'is_paused'", "its is_paused is not as it was written"),
        ("DROP INDEX unfinished_jobs", "the definitions of its tables are not as they were"),
    ],
)
def test_what_is_unfinished_is_checked_at_the_start(tmp_path: Path, statement: str, named: str) -> None:
    alter(large_ledger(tmp_path), statement)
    with pytest.raises(FatalError, match=named), opened(tmp_path):
        pass


ENDED = [
    ("UPDATE jobs SET sha256 = 'other' WHERE job_id = 'j1'", "job j1 is not as it was written"),
    ("UPDATE batches SET rows = rows + 1 WHERE batch_id = 1", "batch 1 is not as it was written"),
    ("UPDATE facts SET at = 'never' WHERE batch_id = 1", "a fact of batch 1 is not as it was written"),
]


@pytest.mark.parametrize(("statement", "named"), ENDED)
async def test_what_has_ended_is_checked_while_the_service_runs(tmp_path: Path, statement: str, named: str) -> None:
    path = large_ledger(tmp_path)
    with opened(tmp_path):
        await check_ledger(path)
    alter(path, statement)
    with opened(tmp_path), pytest.raises(FatalError, match=named) as caught:
        await check_ledger(path)
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


async def test_the_service_ends_over_it_as_over_any_damage(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        async with drop.serving() as process:
            drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
            await until(lambda: drop.ends() == {"a.csv": "done"})
            process.terminate()
            assert (await ended(process)).code == 0
        path = drop.at.state / FILE
        enlarge(path)
        alter(path, "UPDATE facts SET at = 'never'")
        async with drop.serving() as process:
            done = await ended(process)
        assert done.code == ExitCode.DISK_OR_LEDGER
        assert "a fact of batch 1 is not as it was written" in done.said
