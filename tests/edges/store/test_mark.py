"""The mark beside the ledger, and the sums of its rows: what is older, another one, or altered is refused."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.core.batches.lifecycle import Begun, SplitUp
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.target.status_memory import Learned
from pipeline.edges.store.ledger import Ledger, open_ledger
from pipeline.edges.store.ledger_file import owner_of
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.edges.store.mark import Mark, mark_of, read_mark
from tests.edges.store.test_ledger import (
    CHECKPOINT,
    FILE,
    REPORT,
    as_format_5,
    batch_of,
    claim_of,
    job_of,
    opened,
    read,
    seal,
    times,
)
from tests.tools.support import fill, small_disk


def number_in(directory: Path) -> int:
    mark = read_mark(mark_of(directory / FILE))
    assert mark is not None
    return mark.number


#: Each transaction of a ledger with the jobs j1 and j2 and the batches 1 to 3, in an order in which they can happen.
TRANSACTIONS: list[Callable[[Ledger], object]] = [
    lambda ledger: ledger.begin_jobs([job_of("j1", claim=claim_of("j1")), job_of("j2", claim=claim_of("j1"))]),
    lambda ledger: ledger.begin_command([job_of("j3")], {"j3": False}),
    lambda ledger: ledger.end_command(["j3"]),
    lambda ledger: ledger.note_claims({"j1": claim_of("j1", is_taken=True)}),
    lambda ledger: ledger.note_checkpoint(ledger.jobs()[0], CHECKPOINT),
    lambda ledger: seal(ledger, ledger.jobs()[0], batch_of(1), held={b"u": [(b"u,1\n", 2)]}),
    lambda ledger: ledger.add_fact(1, Begun(0)),
    lambda ledger: ledger.split(batch_of(1), (batch_of(2, parent=1), batch_of(3, parent=1))),
    lambda ledger: ledger.pause(is_paused=True),
    lambda ledger: ledger.remember_statuses(Learned(20)),
    lambda ledger: ledger.abandon_job("j2"),
    lambda ledger: ledger.finish_job(ledger.jobs()[0], REPORT, never_sent=[2], released=[3]),
    lambda ledger: ledger.withdraw_jobs(["j2"]),
]


def test_each_transaction_is_in_the_mark_when_it_ends(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        for count, transaction in enumerate(TRANSACTIONS, 1):
            transaction(ledger)
            assert number_in(tmp_path) == count
    with opened(tmp_path):
        assert number_in(tmp_path) == len(TRANSACTIONS), "to look is no transaction"


@pytest.mark.parametrize("lost", range(1, len(TRANSACTIONS) + 1))
def test_a_ledger_that_lacks_its_last_transactions(tmp_path: Path, lost: int) -> None:
    """Of whatever kind the last one is."""
    before = tmp_path / "before"
    with opened(tmp_path) as ledger:
        for transaction in TRANSACTIONS[: lost - 1]:
            transaction(ledger)
    shutil.copytree(tmp_path, before, ignore=shutil.ignore_patterns("before"))
    with opened(tmp_path) as ledger:
        TRANSACTIONS[lost - 1](ledger)
    shutil.copy(before / FILE, tmp_path / FILE)
    assert_refused(tmp_path, "older than the spool beside it")
    # The transaction that a crash came behind is ahead of its mark.
    shutil.copy(before / "spool" / "mark", tmp_path / "spool" / "mark")
    with opened(tmp_path) as ledger:
        TRANSACTIONS[lost - 1](ledger)


def assert_refused(directory: Path, why: str, *, is_new: bool = False) -> None:
    """By who writes and by who looks, with what to do; and nothing is changed."""
    before = {file.name: file.read_bytes() for file in directory.rglob("*") if file.is_file()}
    with pytest.raises(FatalError, match=why) as caught, opened(directory, is_new=is_new):
        pass
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
    assert "estore the whole state directory" in str(caught.value)
    for look in (owner_of, read_ledger):
        with pytest.raises(FatalError) as caught:
            look(directory / FILE)
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
    after = {file.name: file.read_bytes() for file in directory.rglob("*") if file.is_file()}
    assert {name: content for name, content in after.items() if name in before} == before


def filled(directory: Path) -> None:
    with opened(directory) as ledger:
        job = ledger.begin_job(job_of())
        seal(ledger, job, batch_of(1), checkpoint=CHECKPOINT, held={b"u": [(b"u,1\n", 2)]})
        ledger.add_fact(1, SplitUp((2, 3)))


def test_a_ledger_without_its_mark(tmp_path: Path) -> None:
    filled(tmp_path)
    mark_of(tmp_path / FILE).unlink()
    assert_refused(tmp_path, "its mark, spool/mark, is missing")


@pytest.mark.parametrize("content", [b"", b"x", b"0123456789abcdef 00000000000000000001 00000000\n", bytes(60)])
def test_a_mark_that_is_damaged(tmp_path: Path, content: bytes) -> None:
    filled(tmp_path)
    mark_of(tmp_path / FILE).write_bytes(content)
    assert_refused(tmp_path, "spool/mark is damaged")


def test_one_bit_of_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    content = Mark("0123456789abcdef", 7).as_bytes()
    path.write_bytes(content)
    assert read_mark(path) == Mark("0123456789abcdef", 7)
    for place in range(8 * len(content)):
        altered = bytearray(content)
        altered[place // 8] ^= 1 << place % 8
        path.write_bytes(bytes(altered))
        with pytest.raises(FatalError, match="is damaged"):
            read_mark(path)


def test_a_new_ledger_of_which_the_mark_was_not_written_yet(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    mark_of(tmp_path / FILE).unlink()
    with opened(tmp_path, is_new=False) as ledger:
        ledger.begin_job(job_of())
    assert number_in(tmp_path) == 1


def test_the_tables_of_a_new_ledger_are_in_the_file_itself(tmp_path: Path) -> None:
    with opened(tmp_path):
        copied = shutil.copy(tmp_path / FILE, tmp_path / "copied.db")
        with closing(sqlite3.connect(copied)) as database:
            assert database.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_ledger_without_tables_beside_a_spool(tmp_path: Path, is_new: bool) -> None:
    """As it is when its log is lost before any of it came into the file. A mark tells of it where nothing else does."""
    filled(tmp_path)
    (tmp_path / FILE).unlink()
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    if not is_new:
        mark_of(tmp_path / FILE).unlink()
        with pytest.raises(FatalError, match="it has no tables"), opened(tmp_path, is_new=False):
            pass
        return
    with pytest.raises(FatalError, match="it has no tables"), opened(tmp_path, is_new=True):
        pass
    with pytest.raises(FatalError, match="it has no tables"):
        owner_of(tmp_path / FILE)


@pytest.mark.parametrize("spooled", [[3, 4, 5], [4], [3, 5], [2]])
def test_an_earlier_format_with_batches_that_it_does_not_know(tmp_path: Path, spooled: list[int]) -> None:
    """It has no mark, so it may know all but what one transaction makes known."""
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        seal(ledger, job, batch_of(2))
    as_format_5(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    known = spooled == [2]
    if not known:
        with pytest.raises(FatalError, match="it is older than the spool beside it, which holds batches"):
            open_ledger(tmp_path / FILE, "demo", times(), is_new=False, spooled=spooled)
        assert (tmp_path / FILE).read_bytes() == before
    for left in ([], [2], [2, 3], [3, 4]):
        copy = Path(shutil.copytree(tmp_path, tmp_path.with_name(f"copy{len(left)}{sum(left)}{sum(spooled)}")))
        open_ledger(copy / FILE, "demo", times(), is_new=False, spooled=left).close()


def test_a_ledger_of_an_earlier_format_beside_a_mark(tmp_path: Path) -> None:
    """It was put back: the mark is of what it became later."""
    filled(tmp_path)
    mark = mark_of(tmp_path / FILE).read_bytes()
    as_format_5(tmp_path)
    mark_of(tmp_path / FILE).write_bytes(mark)
    assert_refused(tmp_path, "older than the spool beside it")


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE jobs SET export = '/drop/other.csv'", "job j1"),
        ("UPDATE jobs SET settings = replace(settings, 'tier', 'tjer')", "job j1"),
        ("UPDATE jobs SET checkpoint = replace(checkpoint, '\"read\":0', '\"read\":5')", "job j1"),
        ("UPDATE batches SET rows = rows + 1", "batch 1"),
        ("UPDATE batches SET is_open = 0", "batch 1"),
        ("UPDATE facts SET detail = replace(detail, '2', '4')", "a fact of batch 1"),
        ("UPDATE facts SET kind = 'Released'", "a fact of batch 1"),
        ("UPDATE meta SET value = '1' WHERE key = 'is_paused'", "its is_paused"),
        ("UPDATE meta SET value = '99' WHERE key = 'transactions'", "its transactions"),
        ("UPDATE overtaken SET hash = hash + 1", "an overtaken row of batch 1"),
        ("UPDATE overtaken_values SET parameters = 'b'", "an overtaken row of batch 1"),
        ("DROP INDEX unfinished_jobs", "the definitions of its tables"),
    ],
)
def test_a_value_that_was_altered_is_found_at_the_start(tmp_path: Path, statement: str, named: str) -> None:
    filled(tmp_path)
    with opened(tmp_path) as ledger:
        seal(ledger, ledger.jobs()[0], overtaken={1: {7: frozenset("a")}})
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as database:
        database.execute(statement)
    told = f"{named}.* not as it was|{named} .*are not as they were"
    with pytest.raises(FatalError, match=told) as caught, opened(tmp_path):
        pass
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
    assert "Restore the whole state directory" in str(caught.value)


def test_a_job_of_which_the_json_was_altered_is_named(tmp_path: Path) -> None:
    """SQLite only says that some JSON is malformed, whatever it is asked for."""
    filled(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    assert b'{"position":' in content
    (tmp_path / FILE).write_bytes(content.replace(b'{"position":', b'x"position":'))
    with pytest.raises(FatalError, match="job j1 is not as it was written"), opened(tmp_path):
        pass
    with read(tmp_path) as reader, pytest.raises(FatalError, match="the row of a job is not as it was written"):
        reader.jobs()


@pytest.mark.parametrize("column", ["checkpoint", "settings", "export"])
def test_who_only_looks_finds_an_altered_value_too(tmp_path: Path, column: str) -> None:
    filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as database:
        database.execute(f"UPDATE jobs SET {column} = replace({column}, '1', '2')")
        database.execute(f"UPDATE jobs SET {column} = replace({column}, 'tier', 'tjer')")
    with (
        read(tmp_path) as reader,
        pytest.raises(FatalError, match="job j1 cannot be read: it is not as it was written"),
    ):
        reader.jobs()


def test_held_rows_that_were_altered(tmp_path: Path) -> None:
    filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as database:
        (changes,) = database.execute("SELECT changes FROM held").fetchone()
        assert changes.count(b"u,1\n") == 1
        database.execute("UPDATE held SET changes = ?", (changes.replace(b"u,1\n", b"u,2\n"),))
    with opened(tmp_path) as ledger, pytest.raises(FatalError, match="held rows of job j1 cannot be read"):
        ledger.held_rows(ledger.jobs()[0])


def test_a_ledger_of_format_5_is_taken_over(tmp_path: Path) -> None:
    filled(tmp_path)
    with opened(tmp_path) as ledger:
        seal(ledger, ledger.jobs()[0], overtaken={1: {7: frozenset("a")}})
        told = (ledger.jobs(), ledger.batches(), ledger.held_rows(ledger.jobs()[0]), ledger.overtaken_values(1))
    as_format_5(tmp_path)
    for _ in range(2):
        with opened(tmp_path) as ledger:
            again = (ledger.jobs(), ledger.batches(), ledger.held_rows(ledger.jobs()[0]), ledger.overtaken_values(1))
        assert again == told
    with opened(tmp_path) as ledger:
        ledger.add_fact(1, Begun(0))
    assert number_in(tmp_path) == 1


def test_what_only_the_mark_did_not_take_has_happened_and_nothing_follows_before_it_does(tmp_path: Path) -> None:
    """A step that says it failed is done again by the same process: a drop would be entered twice."""
    with small_disk(100_000) as disk:
        (tmp_path / "spool").symlink_to(disk)
        with opened(tmp_path, is_new=True) as ledger:
            ledger.begin_job(job_of("j1"))
            # It needs a new block from here on, and there is none.
            os.truncate(disk / "mark", 0)
            fill(disk / "ballast")
            ledger.begin_job(job_of("j2"))
            for _ in range(2):
                with pytest.raises(FatalError, match=r"cannot write .*/mark: The disk is full") as caught:
                    ledger.begin_job(job_of("j3"))
                assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
            assert [job.job_id for job in ledger.jobs()] == ["j1", "j2"]
            (disk / "ballast").unlink()
            ledger.begin_job(job_of("j3"))
            assert number_in(tmp_path) == 3
        with opened(tmp_path) as ledger:
            assert [job.job_id for job in ledger.jobs()] == ["j1", "j2", "j3"]


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mark")
    with pytest.raises(FatalError, match="it is not a file") as failure:
        read_mark(tmp_path / "mark")
    assert failure.value.exit_code is ExitCode.DISK_OR_LEDGER
