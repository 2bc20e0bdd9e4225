"""The file of the ledger: who may open it, damage, other processes, and formats of earlier versions."""

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.batches.lifecycle import Begun, SplitUp
from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.exports import Identity, PartFile
from pipeline.edges.store.ledger import Ledger, open_ledger
from pipeline.edges.store.ledger_file import _INDEXES, _WORKED_OUT, SCHEMA_VERSION, Owner, damaged, owner_of, prepare
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.edges.store.memory.catalog import MemoryCatalog
from tests.edges.store.test_ledger import (
    CHECKPOINT,
    FILE,
    REPORT,
    as_format_5,
    as_format_6,
    as_format_7,
    as_format_8,
    batch_of,
    claim_of,
    dump,
    job_of,
    open_ids,
    opened,
    read,
    seal,
    seal_again,
    sealed_once,
    times,
    whole_file,
)
from tests.tools.support import read_only, small_disk


def test_opened_again_it_is_the_same(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = sealed_once(ledger)
        seal_again(ledger, job)
        ledger.add_fact(2, Begun(0))
        salt = ledger.salt
        told = (ledger.jobs(), ledger.batches(), ledger.batches(job=job), ledger.held_rows(job), ledger.overtaken(1))
    before = dump(tmp_path)
    with opened(tmp_path) as ledger:
        again = (ledger.jobs(), ledger.batches(), ledger.batches(job=job), ledger.held_rows(job), ledger.overtaken(1))
        assert (again, ledger.salt) == (told, salt)
    assert dump(tmp_path) == before


def test_every_ledger_has_its_own_salt(tmp_path: Path) -> None:
    salts = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with opened(tmp_path / name) as ledger:
            salts.add(ledger.salt)
    assert len(salts) == 2
    assert all(0 <= salt < 2**64 for salt in salts)


def test_facts_are_on_the_disk_before_they_count(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        # These hold for the connection: no other can tell.
        assert ledger._database.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert ledger._database.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        with closing(sqlite3.connect(tmp_path / FILE)) as other:
            assert other.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_the_files_are_for_the_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(tmp_path) as ledger:
            ledger.begin_job(job_of())
            modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*")}
    finally:
        os.umask(before)
    files = (FILE, f"{FILE}-wal", f"{FILE}-shm", "mark")
    assert modes == {"spool": "0o700", **dict.fromkeys(files, "0o600")}


def test_a_file_with_other_permissions_is_mended(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    whole_file(tmp_path).chmod(0o644)
    with opened(tmp_path):
        assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("is_new", [True, False])
def test_a_ledger_of_another_format_is_left_alone(tmp_path: Path, is_new: bool) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_job(job_of())
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION == 9
        database.execute("PRAGMA user_version = 10")
    before = dump(tmp_path)
    with pytest.raises(FatalError, match="it has format 10, this program knows format 9") as caught:
        open_ledger(tmp_path / FILE, "demo", times(), is_new=is_new)
    assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER
    with pytest.raises(FatalError, match="another format"):
        read_ledger(tmp_path / FILE)
    assert dump(tmp_path) == before


def test_a_ledger_of_another_client_code_is_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_job(job_of())
    before = dump(tmp_path)
    with (
        pytest.raises(FatalError, match="belongs to client code 'demo', not 'acme'") as caught,
        opened(tmp_path, client_code="acme"),
    ):
        pass
    assert caught.value.exit_code == ExitCode.CONFIGURATION
    assert dump(tmp_path) == before


def test_a_missing_ledger_is_not_made_anew_where_there_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="it is missing or empty, while the state directory holds batches") as caught:
        open_ledger(tmp_path / FILE, "demo", times(), is_new=False)
    assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER
    assert list(tmp_path.iterdir()) == []


def overwrite_the_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + b"\xa5" * 6_000 + content[middle + 6_000 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "overwritten in the middle": overwrite_the_middle,
    "overwritten at the start": lambda content: b"\0" * 100 + content[100:],
    "cut in the middle": lambda content: content[: len(content) // 2],
    "cut to a few bytes": lambda content: content[:50],
    "zeros": lambda content: bytes(len(content)),
    "another kind of file": lambda content: b"id,tier\nu1,gold\n" * 1_000,
}


def filled(directory: Path) -> Path:
    """A ledger of some pages."""
    with opened(directory) as ledger:
        job = ledger.begin_job(job_of())
        seal(ledger, job, batch_of(1), held={b"%04d" % number: [(b"x" * 100, number)] for number in range(500)})
    return whole_file(directory)


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_ledger_is_told_of_and_left_alone(
    tmp_path: Path, damage: Callable[[bytes], bytes], is_new: bool
) -> None:
    file = filled(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    before = file.read_bytes()
    with pytest.raises(
        FatalError, match=r"(?s)cannot be used.*Restore the whole state directory from a backup"
    ) as caught:
        open_ledger(file, "demo", times(), is_new=is_new)
    assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER
    assert file.read_bytes() == before


def test_a_ledger_that_another_program_has_locked(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger, closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        ledger._database.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(FatalError, match=r"is locked\)\. Another program has it open") as caught:
            ledger.begin_job(job_of())
        assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER
        other.execute("ROLLBACK")
        assert ledger.begin_job(job_of()).seq == 1


def test_a_ledger_that_may_not_be_written(tmp_path: Path) -> None:
    file = filled(tmp_path)
    with small_disk(4_000_000) as disk:
        (disk / FILE).write_bytes(file.read_bytes())
        with read_only(disk), pytest.raises(FatalError, match=r"cannot be used.*Check the owner") as caught:
            read_ledger(disk / FILE)
    assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "close that program"),
        (sqlite3.SQLITE_LOCKED_SHAREDCACHE, "close that program"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "Check the owner"),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, "Check the owner"),
        (sqlite3.SQLITE_IOERR_FSYNC, "The disk failed"),
        (sqlite3.SQLITE_FULL, "make room"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "Restore the whole state directory"),
        (sqlite3.SQLITE_NOTADB, "Restore the whole state directory"),
    ],
)
def test_what_to_do_depends_on_the_error_not_on_its_words(code: int, advice: str) -> None:
    error = sqlite3.OperationalError("full of words")
    error.sqlite_errorcode = code
    told = damaged(Path("ledger.db"), error)
    assert advice in str(told)
    assert ("Restore" in str(told)) == advice.startswith("Restore")
    assert told.exit_code is ExitCode.DISK_OR_LEDGER


def test_an_emptied_ledger_is_not_made_anew_where_there_must_be_one(tmp_path: Path) -> None:
    file = filled(tmp_path)
    file.write_bytes(b"")
    with pytest.raises(FatalError), opened(tmp_path, is_new=False):
        pass
    assert file.read_bytes() == b""


@pytest.mark.parametrize(
    ("text", "look"),
    [
        (b'"digest_bytes"', lambda ledger: ledger.jobs()),
        (b'"digest_bytes"', lambda ledger: ledger.job("j1")),
        (b'"position":[0', lambda ledger: ledger.jobs()),
        (b'"id_column"', lambda ledger: ledger.jobs(unfinished_only=True)),
        (b'"children"', lambda ledger: ledger.batches()),
        (b"SplitUp", lambda ledger: ledger.batch(1)),
    ],
)
def test_damage_that_sqlite_cannot_see_is_told_of_too(
    tmp_path: Path, text: bytes, look: Callable[[Ledger], object]
) -> None:
    with opened(tmp_path) as ledger:
        seal(ledger, ledger.begin_job(job_of()), batch_of(1))
        ledger.add_fact(1, SplitUp((2, 3)))
    file = whole_file(tmp_path)
    assert text in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(text, b"x" * len(text)))
    # Kept out of the way of the block: what is raised refers to rows that are still being read.
    told: list[tuple[type[Exception], object]] = []
    try:
        with opened(tmp_path) as ledger:
            look(ledger)
    except Exception as error:  # noqa: BLE001 - of which kind it is, is the question
        told.append((type(error), getattr(error, "exit_code", None)))
    assert told == [(FatalError, ExitCode.DISK_OR_LEDGER)]


def test_a_file_of_no_bytes_is_what_a_crash_at_the_very_start_leaves(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    with opened(tmp_path, is_new=True) as ledger:
        assert ledger.jobs() == []


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    for is_new in (True, False):
        with pytest.raises(FatalError) as caught:
            open_ledger(tmp_path / FILE, "demo", times(), is_new=is_new)
        assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER


def test_no_ledger_to_read(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / FILE) is None
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_what_is_written_and_keeps_nobody_from_writing(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger, read(tmp_path) as reader:
        assert reader.salt == ledger.salt
        job = ledger.begin_job(job_of())
        assert reader.jobs() == [job]
        seal(ledger, job, batch_of(1))
        assert open_ids(reader) == [1]
        with ledger._transaction() as database:
            database.execute("DELETE FROM batches")
            assert open_ids(reader) == [1], "what is not finished is not seen"
        assert open_ids(reader) == []


def test_a_reader_writes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        sealed_once(ledger)
        before = dump(tmp_path)
        with read(tmp_path) as reader:
            writer = Ledger(reader._database, tmp_path / FILE, lambda: "")
            with pytest.raises(FatalError):
                writer.add_fact(1, Begun(0))
            with pytest.raises(FatalError):
                writer.pause(is_paused=True)
    assert dump(tmp_path) == before


@pytest.mark.parametrize("name", ["overwritten at the start", "zeros", "another kind of file"])
def test_a_damaged_ledger_cannot_be_read(tmp_path: Path, name: str) -> None:
    file = filled(tmp_path)
    file.write_bytes(DAMAGES[name](file.read_bytes()))
    with pytest.raises(FatalError) as caught:
        read_ledger(file)
    assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER


HELD_UP_TO_FORMAT_3 = """
CREATE TABLE held (
    job INTEGER NOT NULL REFERENCES jobs, profile_id BLOB NOT NULL, place INTEGER NOT NULL, text BLOB NOT NULL,
    line INTEGER NOT NULL, PRIMARY KEY (job, profile_id, place)
) STRICT, WITHOUT ROWID
"""


def without_worked_out(database: sqlite3.Connection) -> None:
    """Make the table of jobs as it was up to format 4."""
    for index in re.findall(r"CREATE INDEX (\w+)", _INDEXES):
        database.execute(f"DROP INDEX IF EXISTS {index}")
    for column in (*_WORKED_OUT, "last_run"):
        database.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
    database.execute("DROP TABLE overtaken_values")


def comparable(line: str) -> str:
    """A line of a dump without what may differ where a column was added: spaces, the order of columns, sums."""
    values = re.sub(r"\s+", "", line) if not re.search("'(transactions|schema_sum)'", line) else ""
    return "".join(sorted(values)) if line.startswith("CREATE TABLE") else re.sub(r",\d+\);$", "", values)


def test_a_ledger_of_format_4_is_taken_over(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        waiting = ledger.begin_job(job_of("waiting", claim=claim_of("waiting")))
        begun = ledger.begin_job(job_of("begun"))
        seal(ledger, begun, batch_of(1), checkpoint=CHECKPOINT, held={b"a": [(b"a,1\n", 4)]})
    before = dump(tmp_path)
    as_format_5(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        without_worked_out(database)
        database.execute("ALTER TABLE jobs DROP COLUMN inode")
        database.execute("PRAGMA user_version = 4")
    with pytest.raises(FatalError, match="the next `load` or `serve` of this version takes it over"):
        read_ledger(tmp_path / FILE)
    with opened(tmp_path) as ledger:
        assert [job.job_id for job in ledger.jobs_in_order(9)] == ["begun", "waiting"]
        assert ledger.untaken_jobs() == [waiting]
        assert ledger.held_rows(begun) == [(b"a", b"a,1\n", 4)]
    # A column that was added stands elsewhere in the lines of the text.
    assert sorted(map(comparable, dump(tmp_path))) == sorted(map(comparable, before))


@pytest.mark.parametrize(("version", "lacking"), [(1, ("claim", "route")), (2, ("route",)), (3, ())])
def test_a_ledger_of_an_earlier_format_is_taken_over(tmp_path: Path, version: int, lacking: tuple[str, ...]) -> None:
    with opened(tmp_path) as ledger:
        job, other = ledger.begin_job(job_of()), ledger.begin_job(job_of("other"))
        ended = ledger.begin_job(job_of("ended"))
        ledger.finish_job(ended, REPORT, never_sent=[], released=[])
    as_format_5(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("DROP TABLE held")
        database.execute(HELD_UP_TO_FORMAT_3)
        held = [(1, b"b", 1, b"b,2\n", 9), (1, b"b", 0, b"b,1\n", 7), (1, b"a%2C", 0, b"a%2C,3\n", 2**33)]
        database.executemany("INSERT INTO held VALUES (?, ?, ?, ?, ?)", held)
        without_worked_out(database)
        for column in (*lacking, "inode"):
            database.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        database.execute(f"PRAGMA user_version = {version}")
        database.commit()
    assert owner_of(tmp_path / FILE) == Owner("demo", 2)
    with opened(tmp_path) as ledger:
        assert ledger.jobs(unfinished_only=True) == [job, other]
        assert ledger.job("ended") == replace(
            ended,
            state=REPORT.state,
            exit_code=REPORT.exit_code,
            sha256=REPORT.export.sha256,
            report=REPORT,
        )
        assert ledger.held_rows(job) == [(b"a%2C", b"a%2C,3\n", 2**33), (b"b", b"b,1\n", 7), (b"b", b"b,2\n", 9)]
        assert ledger.held_rows(other) == []
        seal(ledger, job, held={b"b": []})
        assert ledger.held_rows(job) == [(b"a%2C", b"a%2C,3\n", 2**33)]
        assert job.route == "default"
        entered = ledger.begin_job(job_of("j2", claim=claim_of(), route="crm-eu"))
        assert (entered.claim, entered.route) == (claim_of(), "crm-eu")


def test_a_ledger_of_the_format_before_inodes_is_taken_over(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        seal(ledger, job, held={b"b": [(b"b,1\n", 7)]})
        held = ledger.held_rows(job)
    as_format_5(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        without_worked_out(database)
        database.execute("ALTER TABLE jobs DROP COLUMN inode")
        database.execute("PRAGMA user_version = 4")
        database.commit()
    with opened(tmp_path) as ledger:
        (found,) = ledger.jobs()
        assert (found.job_id, found.inode, ledger.held_rows(job)) == (job.job_id, None, held)
        assert found.identity.agrees_with(Identity(2**40, 2**60, inode=7, device=8)), "what was not noted tells nothing"
        entered = ledger.begin_job(job_of("j2", inode=-(2**63)))
        assert ledger.jobs() == [found, entered]
        assert ledger.set_source(entered, Identity(5, 6, 7, 8)).identity == Identity(5, 6, 7)


def test_the_jobs_of_one_drop_go_on_in_a_ledger_of_the_format_before_parts(tmp_path: Path) -> None:
    """Each file of a drop had a job of its own: one of several may be empty, as a part may; the only one may not."""
    with opened(tmp_path) as ledger:
        several = [job_of(job_id, claim=claim_of("a"), inode=7) for job_id in ("a", "b", "begun")]
        ledger.begin_jobs([*several, job_of("c", claim=claim_of("c"))])
        begun = ledger.job("begun")
        assert begun is not None
        seal(ledger, begun, batch_of(1), checkpoint=CHECKPOINT, held={b"b": [(b"b,1\n", 7)]})
        before, mark = ledger.jobs(), (tmp_path / "spool" / "mark").read_bytes()
    as_format_6(tmp_path)
    with pytest.raises(FatalError, match=r"earlier version of profile-pipeline \(format 6"):
        read_ledger(tmp_path / FILE)
    assert owner_of(tmp_path / FILE) == Owner("demo", 4)
    with opened(tmp_path) as ledger:
        part = PartFile("é 1.csv", Identity(2**40, 2**60, 7))
        parts = {"a": (part,), "b": (part,), "begun": (), "c": ()}
        assert ledger.jobs() == [replace(job, parts=parts[job.job_id]) for job in before]
        assert (tmp_path / "spool" / "mark").read_bytes() == mark
        assert ledger.held_rows(begun) == [(b"b", b"b,1\n", 7)]
        entered = ledger.begin_job(job_of("d", parts=(part, PartFile("2.csv", Identity(5, 6, 7, device=8)))))
        assert entered.parts == (part, PartFile("2.csv", Identity(5, 6, 7)))
    with opened(tmp_path) as ledger:
        assert ledger.jobs()[-1] == entered


def test_a_ledger_of_the_format_before_the_memory_is_taken_over(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        seal(ledger, job, batch_of(1), checkpoint=CHECKPOINT, held={b"b": [(b"b,1\n", 7)]})
        before = ledger.jobs()
    whole = dump(tmp_path)
    as_format_7(tmp_path)
    with pytest.raises(FatalError, match=r"earlier version of profile-pipeline \(format 7"):
        read_ledger(tmp_path / FILE)
    with opened(tmp_path) as ledger:
        assert ledger.jobs() == before
        assert (ledger.memory_catalog(), ledger.remembers) == (MemoryCatalog(), "")
    assert sorted(map(comparable, dump(tmp_path))) == sorted(map(comparable, whole))


@pytest.mark.parametrize("is_large", [True, False])
def test_damage_in_the_format_before_parts_is_not_taken_over_as_right(tmp_path: Path, is_large: bool) -> None:
    with opened(tmp_path) as ledger:
        ended = ledger.begin_job(job_of("ended"))
        ledger.finish_job(ended, REPORT, never_sent=[], released=[])
        ledger.begin_job(job_of())
    as_format_6(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("UPDATE jobs SET sha256 = 'x' WHERE job_id = 'ended'")
    if is_large:
        # As a start takes it over that does not look at what has ended.
        with closing(sqlite3.connect(tmp_path / FILE)) as database:
            prepare(database, tmp_path / FILE, "demo")
    with pytest.raises(FatalError, match="job ended is not as it was written"), opened(tmp_path):
        pass


def test_whose_a_ledger_is(tmp_path: Path) -> None:
    assert owner_of(tmp_path / FILE) is None
    with opened(tmp_path) as ledger:
        assert owner_of(tmp_path / FILE) == Owner("demo", 0)
        job = ledger.begin_job(job_of())
        ledger.begin_job(job_of("j2"))
        ledger.finish_job(job, REPORT, never_sent=[], released=[])
        assert owner_of(tmp_path / FILE) == Owner("demo", 1)
    (tmp_path / FILE).write_bytes(b"x" * 10_000)
    with pytest.raises(FatalError, match="cannot be used") as caught:
        owner_of(tmp_path / FILE)
    assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER
    # As a kill leaves it that came while it was made.
    (tmp_path / "spool" / "mark").unlink()
    (tmp_path / FILE).write_bytes(b"")
    assert owner_of(tmp_path / FILE) is None


def cut_off_in_a_transaction(directory: Path) -> None:
    """Leave what a kill leaves in the middle of a transaction with a rollback journal: half of it is in the file."""
    there, kept = directory / FILE, directory / "kept"
    with closing(sqlite3.connect(there, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN")
        database.execute("CREATE TABLE half (made BLOB)")
        for _ in range(50):
            database.execute("INSERT INTO half VALUES (randomblob(4000))")
        shutil.copytree(directory, kept, ignore=shutil.ignore_patterns("kept"))
        database.execute("ROLLBACK")
    for file in (FILE, f"{FILE}-journal"):
        shutil.copy(kept / file, directory / file)
        assert (kept / file).stat().st_size
    shutil.rmtree(kept)


def test_a_new_file_of_which_a_kill_left_half_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    cut_off_in_a_transaction(tmp_path)
    assert owner_of(tmp_path / FILE) is None
    cut_off_in_a_transaction(tmp_path)
    with opened(tmp_path, is_new=True) as ledger:
        sealed_once(ledger)
    with opened(tmp_path) as ledger:
        assert len(ledger.jobs()) == 1


def test_what_a_kill_left_of_a_transaction_of_another_program_is_taken_back(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        sealed_once(ledger)
    before = dump(tmp_path)
    cut_off_in_a_transaction(tmp_path)
    with opened(tmp_path) as ledger:
        assert len(ledger.jobs()) == 1
    assert dump(tmp_path) == before


def test_a_ledger_of_the_format_before_the_guard_is_taken_over(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job, later = ledger.begin_job(job_of()), ledger.begin_job(job_of("later"))
        ledger.begin_memory("values", "https://target.example")
        ledger.finish_job(job, REPORT, never_sent=[], released=[])
        before = ledger.jobs()
    whole = dump(tmp_path)
    as_format_8(tmp_path)
    with pytest.raises(FatalError, match=r"earlier version of profile-pipeline \(format 8"):
        read_ledger(tmp_path / FILE)
    with opened(tmp_path) as ledger:
        assert (ledger.jobs(), ledger.remembers) == (before, "values")
        assert ledger.latest_done(later.route, 7) == [REPORT]
    assert sorted(map(comparable, dump(tmp_path))) == sorted(map(comparable, whole))
