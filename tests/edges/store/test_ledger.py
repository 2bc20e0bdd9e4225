"""The ledger, in real SQLite files: a write is there whole or not at all. `test_ledger_file` is about the file."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.lifecycle import (
    Begun,
    Fact,
    Failed,
    GivenUp,
    InDoubt,
    NeverSent,
    NotTaken,
    RefusedAs,
    Released,
    RowRejected,
    SeenComplete,
    SeenStuck,
    SplitUp,
    Taken,
)
from pipeline.core.batches.report import JobState, LastRun, Report
from pipeline.core.batches.tracker import NO_CHANGES, HeldChanges
from pipeline.core.drop.claim import Claim
from pipeline.core.drop.manifest import Manifest
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.formats.framing import Position
from pipeline.core.model import Batch, Hashes, RowCounts, Rows, Warnings
from pipeline.core.target.status_memory import Learned
from pipeline.edges.store.ledger import Ledger, Overtaken, open_ledger
from pipeline.edges.store.ledger_file import owner_of
from pipeline.edges.store.ledger_reader import LedgerReader, read_ledger
from pipeline.edges.store.records import BatchRecord, EndedJob, JobRecord, SetAside
from pipeline.edges.store.row_sums import _SUMMED, add_function, add_triggers, schema_sum
from tests.core.builders import changes_to
from tests.tools.ordering import in_order

ROOT = Path(__file__).resolve().parents[3]
FILE = "ledger.db"


def times() -> Callable[[], str]:
    ticks = count(1)
    return lambda: f"time {next(ticks)}"


@contextmanager
def opened(directory: Path, *, client_code: str = "demo", is_new: bool | None = None) -> Iterator[Ledger]:
    path = directory / FILE
    ledger = open_ledger(path, client_code, times(), is_new=not path.exists() if is_new is None else is_new)
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def read(directory: Path) -> Iterator[LedgerReader]:
    ledger = read_ledger(directory / FILE)
    assert ledger is not None
    try:
        yield ledger
    finally:
        ledger.close()


def dump(directory: Path) -> list[str]:
    """All that is in the file, read by SQLite alone."""
    with closing(sqlite3.connect(directory / FILE)) as database:
        return [*database.iterdump(), str(database.execute("PRAGMA user_version").fetchone())]


@contextmanager
def edited(directory: Path) -> Iterator[sqlite3.Connection]:
    """The file, to be written to as by another version: what it writes has its sums."""
    with closing(sqlite3.connect(directory / FILE)) as database, database:
        add_function(database)
        add_triggers(database)
        yield database


def as_format_8(directory: Path) -> None:
    """Make the ledger as it was in format 8: it was not asked for the done jobs of a route."""
    with closing(sqlite3.connect(directory / FILE)) as database, database:
        add_function(database)
        database.execute("DROP INDEX done_jobs")
        database.execute("UPDATE meta SET value = ? WHERE key = 'schema_sum'", (schema_sum(database),))
        database.execute("UPDATE meta SET row_sum = sum_of(key, value)")
        database.execute("PRAGMA user_version = 8")


def as_format_7(directory: Path) -> None:
    """Make the ledger as it was in format 7: without a memory."""
    as_format_8(directory)
    with closing(sqlite3.connect(directory / FILE)) as database, database:
        add_function(database)
        database.execute("DROP TABLE memory_partitions")
        database.execute("DROP TABLE memory_files")
        database.execute("UPDATE meta SET value = ? WHERE key = 'schema_sum'", (schema_sum(database),))
        database.execute("UPDATE meta SET row_sum = sum_of(key, value)")
        database.execute("PRAGMA user_version = 7")


def as_format_6(directory: Path) -> None:
    """Make the ledger as it was in format 6: without the parts of jobs."""
    as_format_7(directory)
    with closing(sqlite3.connect(directory / FILE)) as database, database:
        add_function(database)
        database.execute("ALTER TABLE jobs DROP COLUMN parts")
        columns = ", ".join(name for name in _SUMMED["jobs"][0] if name != "parts")
        database.execute(f"UPDATE jobs SET row_sum = sum_of({columns})")
        database.execute("UPDATE meta SET value = ? WHERE key = 'schema_sum'", (schema_sum(database),))
        database.execute("UPDATE meta SET row_sum = sum_of(key, value)")
        database.execute("PRAGMA user_version = 6")


def as_format_5(directory: Path) -> None:
    """Make the ledger as it was in format 5: without sums of rows, digests of `.ids` and `.lines`, and mark."""
    as_format_6(directory)
    (directory / "spool" / "mark").unlink()
    with closing(sqlite3.connect(directory / FILE)) as database, database:
        for table in ("meta", "jobs", "batches", "facts", "held", "overtaken", "overtaken_values"):
            database.execute(f"ALTER TABLE {table} DROP COLUMN row_sum")
        for column in ("ids_sha256", "lines_sha256"):
            database.execute(f"ALTER TABLE batches DROP COLUMN {column}")
        database.execute("DELETE FROM meta WHERE key IN ('transactions', 'schema_sum')")
        database.execute("PRAGMA user_version = 5")


def whole_file(directory: Path) -> Path:
    """The one file of a ledger that nobody has open."""
    assert [path.name for path in directory.iterdir() if path.is_file()] == [FILE]
    return directory / FILE


def job_of(job_id: str = "j1", **values: Any) -> JobRecord:
    record = JobRecord(
        seq=0,
        job_id=job_id,
        export=Path("/drop/é 1.csv"),
        size_bytes=2**40,
        mtime_ns=2**60,
        settings={"id_column": "id", "columns": {"My tier": "tier"}},
        started_at="2026-11-23T02:14:00+00:00",
        retry_of=None,
        checkpoint=Checkpoint(),
    )
    return replace(record, **values)


def batch_of(batch_id: int, *, number: int | None = None, parent: int | None = None) -> Batch:
    return Batch(batch_id, number or batch_id, 10 * batch_id, 2**33 + batch_id, f"sha{batch_id}", parent)


def hashes_of(*hashes: int) -> Hashes:
    return np.array(hashes, dtype=np.uint64)


CHECKPOINT = Checkpoint(
    position=Position(2**40, 2**33, is_skipping=True),
    digest_bytes=7,
    digest="abc",
    read=9,
    superseded=1,
    rejected=1,
    empty=1,
    rejects_bytes=5,
    has_ended=True,
    parameters=("a", "b"),
    columns_sent=("a",),
    warnings=Warnings(bare_quote=2, empty_cells=Counter(a=1)),
    by_reason=Counter({"local.empty_id": 1}),
    first_rejects=[(2, "local.empty_id")],
    seconds=12.5,
    calls=3,
)


def seal(
    ledger: Ledger,
    job: JobRecord,
    batch: Batch | None = None,
    *,
    checkpoint: Checkpoint | None = None,
    held: HeldChanges | dict[bytes, list[tuple[bytes, int]]] = NO_CHANGES,
    released: Iterable[int] = (),
    overtaken: Mapping[int, Hashes | Overtaken] | None = None,
) -> None:
    changes = changes_to(held) if isinstance(held, dict) else held
    ledger.seal(job, checkpoint or Checkpoint(), batch, held=changes, released=released, overtaken=overtaken or {})


def open_ids(ledger: LedgerReader) -> list[int]:
    return [record.batch.batch_id for record in ledger.batches()]


def facts_of(ledger: LedgerReader, batch_id: int) -> tuple[Fact, ...]:
    record = ledger.batch(batch_id)
    assert record is not None
    return record.facts


# Jobs.


def test_jobs_come_back_as_they_were_begun_in_their_order(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        assert (ledger.jobs(), ledger.job("j1")) == ([], None)
        first = ledger.begin_job(job_of("z"))
        second = ledger.begin_job(job_of("a", retry_of="z", checkpoint=CHECKPOINT))
        assert (first, second) == (job_of("z", seq=1), job_of("a", seq=2, retry_of="z", checkpoint=CHECKPOINT))
        assert ledger.jobs() == [first, second]
        assert (ledger.job("z"), ledger.job("a")) == (first, second)


def test_a_job_is_begun_once(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_job(job_of())
        with pytest.raises(FatalError) as caught:
            ledger.begin_job(job_of())
        assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER
        assert len(ledger.jobs()) == 1


REPORT = Report.from_json({"state": "done", "exit_code": 0, "export": {"sha256": "abc"}, "rows": {"read": 9}})


def test_a_finished_job_has_its_report_and_nothing_left_over(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job, other = ledger.begin_job(job_of("j1")), ledger.begin_job(job_of("j2"))
        for batch_id in (1, 2, 3):
            seal(ledger, job, batch_of(batch_id), held={b"u": [(b"u,1\n", 2)]})
        seal(ledger, other, None, held={b"u": [(b"u,2\n", 3)]})
        assert ledger.jobs(unfinished_only=True) == [ledger.job("j1"), ledger.job("j2")]
        ledger.finish_job(job, REPORT, never_sent=[2], released=[2, 3])
        found = ledger.job("j1")
        assert found is not None
        assert (found.state, found.exit_code, found.sha256, found.report) == ("done", 0, "abc", REPORT)
        assert [each.job_id for each in ledger.jobs(unfinished_only=True)] == ["j2"]
        assert (ledger.held_rows(job), ledger.held_rows(other)) == ([], [(b"u", b"u,2\n", 3)])
        assert (facts_of(ledger, 2), facts_of(ledger, 3)) == ((NeverSent(), Released()), (Released(),))
        assert open_ids(ledger) == [1]


def test_a_batch_released_for_one_job_stays_open_as_long_as_another_awaits_it(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job, other = ledger.begin_job(job_of("j1")), ledger.begin_job(job_of("j2"))
        seal(ledger, job, batch_of(1))
        ledger.seal(job, Checkpoint(), None, held=NO_CHANGES, released=[1], overtaken={}, awaited=[1])
        assert (open_ids(ledger), facts_of(ledger, 1)) == ([1], (Released(),))
        (record,) = ledger.batches()
        assert record.is_open
        ledger.seal(other, Checkpoint(), None, held=NO_CHANGES, released=[1], overtaken={})
        # It is released once.
        assert (open_ids(ledger), facts_of(ledger, 1)) == ([], (Released(),))
        record = ledger.batch(1) or record
        assert not record.is_open


def test_an_abandoned_job_stays_so(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_job(job_of("j1"))
        ledger.begin_job(job_of("j2"))
        ledger.abandon_job("j2")
    with opened(tmp_path) as ledger:
        assert [job.is_abandoned for job in ledger.jobs()] == [False, True]


def test_a_pause_stays_until_it_is_ended(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        assert not ledger.is_paused
        ledger.pause(is_paused=True)
        assert ledger.is_paused
    with opened(tmp_path) as ledger:
        assert ledger.is_paused
        ledger.pause(is_paused=False)
    with read(tmp_path) as ledger:
        assert not ledger.is_paused


# Batches and their facts.

FACTS: list[Fact] = [
    Begun(3),
    NotTaken("HTTP 503"),
    Begun(4),
    InDoubt("cut é"),
    Begun(9),
    Taken("https://host/p?a=1&b=2"),
    SeenStuck(),
    RefusedAs("bad"),
    SeenComplete(1, 2, ("u1", "é, 2")),
    GivenUp("lost"),
    RowRejected("bad", 3, "u,1"),
    Failed("budget"),
    SplitUp((8, 9)),
    NeverSent(),
]


def test_facts_come_back_in_their_order_with_their_times(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        for batch_id in (1, 2):
            seal(ledger, job, batch_of(batch_id))
        for fact in FACTS:
            ledger.add_fact(1, fact)
            ledger.add_fact(2, fact)
    with opened(tmp_path) as ledger:
        for batch_id in (1, 2):
            record = ledger.batch(batch_id)
            assert record is not None
            assert record.facts == tuple(FACTS)
            assert record.times == tuple(f"time {2 * place + batch_id}" for place in range(len(FACTS)))
            assert (record.batch, record.job) == (batch_of(batch_id), 1)


def test_the_latest_fact_is_how_a_batch_stands(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        seal(ledger, job, batch_of(1))
        assert [record.latest for record in ledger.batches()] == [None]
        ledger.add_fact(1, GivenUp("lost"))
        seal(ledger, job, None, released=[1])
        assert [(record.facts[-1], record.latest) for record in ledger.batches(job=job)] == [
            (Released(), GivenUp("lost"))
        ]


def test_a_fact_of_a_batch_there_is_not(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger, pytest.raises(FatalError) as caught:
        ledger.add_fact(1, Begun(0))
    assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER


def test_batches_of_a_job_and_those_not_released(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        first, second = ledger.begin_job(job_of("j1")), ledger.begin_job(job_of("j2"))
        seal(ledger, first, batch_of(1))
        seal(ledger, second, batch_of(2, number=1))
        seal(ledger, first, batch_of(3, number=2), released=[1])
        assert [record.batch for record in ledger.batches(job=first)] == [batch_of(1), batch_of(3, number=2)]
        assert [record.batch for record in ledger.batches(job=second)] == [batch_of(2, number=1)]
        assert [(record.batch.batch_id, record.job) for record in ledger.batches()] == [(2, 2), (3, 1)]
        assert ledger.batch(4) is None


def test_a_batch_is_released_once(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        seal(ledger, job, batch_of(1))
        assert open_ids(ledger) == [1]
        for _ in range(2):
            seal(ledger, job, None, released=[1, 1])
            ledger.finish_job(job, REPORT, never_sent=[], released=[1])
            assert (open_ids(ledger), facts_of(ledger, 1)) == ([], (Released(),))


def test_a_split_puts_the_children_in_the_place_of_their_parent(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_job(job_of("j1"))
        job = ledger.begin_job(job_of("j2"))
        seal(ledger, job, batch_of(1))
        children = (batch_of(2, parent=1), batch_of(3, parent=1))
        ledger.split(batch_of(1), children)
        assert [(record.batch, record.job) for record in ledger.batches()] == [(child, 2) for child in children]
        assert facts_of(ledger, 1) == (SplitUp((2, 3)),)


def test_a_split_is_done_whole_or_not_at_all(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        for batch_id in (1, 3):
            seal(ledger, job, batch_of(batch_id))
        before = dump(tmp_path)
        with pytest.raises(FatalError):
            ledger.split(batch_of(1), (batch_of(2, parent=1), batch_of(3, parent=1)))
        assert dump(tmp_path) == before


# The seal.


def test_held_rows_are_those_of_the_latest_seal_with_what_waits_behind_them(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job, other = ledger.begin_job(job_of("j1")), ledger.begin_job(job_of("j2"))
        chain = [(b"b,9\n", 7), (b"b,,\n", 5), (b"b,3\n", 2**33)]
        seal(ledger, job, held={b"b": chain, b"a": [(b"a,1\n", 4)], b"c%FF": [(b"c%FF,1\n", 6)]})
        seal(ledger, other, held={b"b": [(b"b,other\n", 2)]})
        seal(ledger, job, held={b"b": chain[1:], b"a": []})
        seal(ledger, job)
    with opened(tmp_path) as ledger:
        assert ledger.held_rows(job) == [(b"b", b"b,,\n", 5), (b"b", b"b,3\n", 2**33), (b"c%FF", b"c%FF,1\n", 6)]
        assert ledger.held_rows(other) == [(b"b", b"b,other\n", 2)]
        seal(ledger, job, held={b"b": chain})
        assert [row for row in ledger.held_rows(job) if row[0] == b"b"] == [
            (b"b", b"b,9\n", 7),
            (b"b", b"b,,\n", 5),
            (b"b", b"b,3\n", 2**33),
        ]
        seal(ledger, job, held=changes_to({b"d": [(b"d,1\n", 10)]}, is_all=True))
        assert ledger.held_rows(job) == [(b"d", b"d,1\n", 10)]
        assert ledger.held_rows(other) == [(b"b", b"b,other\n", 2)]


@pytest.mark.parametrize("use", [read_ledger, owner_of, lambda path: opened(path.parent).__enter__()])
def test_a_schema_that_is_no_utf8_is_a_damaged_ledger(tmp_path: Path, use: Callable[[Path], object]) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_job(job_of())
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("PRAGMA writable_schema = ON")
        # SQLite quotes it where it says that it cannot read it.
        database.execute("UPDATE sqlite_master SET name = CAST(x'6AFF31' AS TEXT), sql = 'CREATE' WHERE name = 'facts'")
    with pytest.raises(FatalError, match="a text is no UTF-8") as caught:
        use(tmp_path / FILE)
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


@pytest.mark.parametrize("use", [read_ledger, owner_of, lambda path: opened(path.parent).__enter__()])
@pytest.mark.parametrize("value", ["many", "", "1.5"])
def test_a_number_of_transactions_that_is_none_is_a_damaged_ledger(
    tmp_path: Path, value: str, use: Callable[[Path], object]
) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_job(job_of())
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        add_function(database)
        add_triggers(database)
        database.execute("UPDATE meta SET value = ? WHERE key = 'transactions'", (value,))
    with pytest.raises(FatalError, match="the number of its latest transaction is none") as caught:
        use(tmp_path / FILE)
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


def test_held_rows_that_cannot_be_read_are_a_damaged_ledger(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        seal(ledger, job, held={b"a": [(b"a,1\n", 4)]})
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("UPDATE held SET changes = substr(changes, 1, length(changes) - 1)")
    with opened(tmp_path) as ledger, pytest.raises(FatalError, match="held rows of job j1 cannot be read") as caught:
        ledger.held_rows(job)
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


def test_overtaken_ids_are_kept_for_each_batch(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        for batch_id in (1, 2, 3):
            seal(ledger, job, batch_of(batch_id))
        seal(ledger, job, overtaken={1: hashes_of(1, 2**63, 2**64 - 1), 2: hashes_of(5)})
        seal(ledger, job, overtaken={1: hashes_of(1, 7)})
    with opened(tmp_path) as ledger:
        assert [ledger.overtaken(batch_id) for batch_id in (1, 2, 3)] == [{1, 2**63, 2**64 - 1, 7}, {5}, set()]


def test_of_overtaken_ids_the_values_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        seal(ledger, job, batch_of(1))
        # The first as an earlier version noted it: whatever comes later, the whole row is overtaken.
        seal(ledger, job, overtaken={1: hashes_of(7)})
        for names in (frozenset({"b", "a"}), frozenset({"c"}), frozenset({"c"}), frozenset[str]()):
            seal(ledger, job, overtaken={1: {7: names, 2**64 - 1: names}})
    with opened(tmp_path) as ledger:
        assert ledger.overtaken(1) == {7, 2**64 - 1}
        assert ledger.overtaken_values(1) == {2**64 - 1: frozenset({"a", "b", "c", ""})}
        assert ledger.overtaken_values(2) == {}


def test_what_rows_were_filled_in_with_is_kept_beside_what_is_overtaken(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        filled_in = {7: frozenset({"b", "a"}), 2**64 - 1: frozenset({"c"})}
        ledger.seal(job, Checkpoint(), batch_of(1), held=NO_CHANGES, released=[], overtaken={}, filled_in=filled_in)
        seal(ledger, job, overtaken={1: {7: frozenset({"b", "d"})}})
        # Of its rows, the children know nothing themselves.
        ledger.split(batch_of(1), (replace(batch_of(2), parent=1), replace(batch_of(3), parent=1)))
    with opened(tmp_path) as ledger:
        assert ledger.overtaken_values(1) == {7: {"b", "d"}}
        assert ledger.overtaken(1) == {7}
        assert ledger.filled_in(1) == ledger.filled_in(2) == ledger.filled_in(3) == filled_in


def test_what_rows_were_filled_in_with_is_erased_of_batches_that_nothing_needs(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        jobs = [ledger.begin_job(job_of("j1")), ledger.begin_job(job_of("j2"))]
        for batch_id, job in enumerate([*jobs, jobs[0]], start=1):
            names = dict.fromkeys((7, 8, 2**64 - 1), frozenset({"a"}))
            batch = batch_of(batch_id)
            ledger.seal(job, Checkpoint(), batch, held=NO_CHANGES, released=[], overtaken={}, filled_in=names)
        seal(ledger, jobs[0], released=[1, 2], overtaken={1: {7: frozenset({"b"})}})
        ledger.finish_job(jobs[0], REPORT, never_sent=[], released=[])
        ledger.erase_filled_in(hashes_of(7, 2**64 - 1))
        # Batch 2 is of a job that has not ended, and batch 3 is open.
        assert [{*ledger.filled_in(batch_id)} for batch_id in (1, 2, 3)] == [{8}, {*names}, {*names}]
        assert ledger.overtaken_values(1) == {7: {"b"}}


def test_a_seal_keeps_the_checkpoint_of_its_job_only(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job, other = ledger.begin_job(job_of("j1")), ledger.begin_job(job_of("j2"))
        seal(ledger, job, batch_of(1), checkpoint=CHECKPOINT)
        assert [each.checkpoint for each in ledger.jobs()] == [CHECKPOINT, Checkpoint()]
        seal(ledger, other, None, checkpoint=CHECKPOINT)
    with opened(tmp_path) as ledger:
        assert [each.checkpoint for each in ledger.jobs()] == [CHECKPOINT, CHECKPOINT]


def sealed_once(ledger: Ledger) -> JobRecord:
    """A job with two batches and held rows."""
    job = ledger.begin_job(job_of())
    seal(ledger, job, batch_of(1), held={b"a": [(b"a,1\n", 4)], b"b": [(b"b,1\n", 5)]})
    seal(ledger, job, batch_of(2), overtaken={1: hashes_of(9)})
    return job


def seal_again(ledger: Ledger, job: JobRecord, **instead: Any) -> None:
    """A seal that changes everything there is."""
    values: dict[str, Any] = {
        "checkpoint": CHECKPOINT,
        "held": {b"a": [], b"c": [(b"c,2\n", 8)]},
        "released": [1],
        "overtaken": {1: hashes_of(1), 2: hashes_of(2)},
    }
    seal(ledger, job, batch_of(3), **(values | instead))


def interrupted() -> Iterator[int]:
    yield 1
    raise InterruptedError


def cut_off() -> Iterator[Rows]:
    yield from changes_to({b"a": [(b"a,2\n", 8)]}).rows
    raise InterruptedError


CUT_SHORT: list[tuple[dict[str, Any], type[BaseException]]] = [
    ({"held": HeldChanges(cut_off())}, InterruptedError),  # type: ignore[arg-type]
    ({"held": HeldChanges(gone=(b"a", None), is_all=True)}, TypeError),  # type: ignore[arg-type]
    ({"released": interrupted()}, InterruptedError),
    ({"overtaken": {1: hashes_of(1), 99: hashes_of(2)}}, FatalError),
]


@pytest.mark.parametrize(("instead", "error"), CUT_SHORT)
def test_a_seal_is_done_whole_or_not_at_all(
    tmp_path: Path, instead: dict[str, Any], error: type[BaseException]
) -> None:
    with opened(tmp_path) as ledger:
        job = sealed_once(ledger)
        before = dump(tmp_path)
        with pytest.raises(error):
            seal_again(ledger, job, **instead)
        assert dump(tmp_path) == before
        # The ledger can be used after it, and nothing is left of the attempt.
        seal_again(ledger, job)
        assert open_ids(ledger) == [2, 3]
        assert [row[0] for row in ledger.held_rows(job)] == [b"b", b"c"]
    assert dump(tmp_path) != before


def killed() -> Iterator[int]:
    """What is released, as the process ends in the middle of saying so."""
    yield 1
    os.kill(os.getpid(), signal.SIGKILL)


def seal_and_be_killed(directory: str) -> None:
    """More held rows than SQLite keeps in memory, so that some of the transaction are in the file already."""
    ledger = open_ledger(Path(directory) / FILE, "demo", times(), is_new=False)
    job = ledger.jobs()[-1]
    assert job is not None
    many = {b"%06d" % number: [(b"%06d,%0200d\n" % (number, 0), number)] for number in range(20_000)}
    seal_again(ledger, job, held=many, released=killed())


def test_a_seal_that_the_end_of_the_process_cuts_short_never_was(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        sealed_once(ledger)
    before = dump(tmp_path)
    script = f"from {__name__} import seal_and_be_killed as run; run({str(tmp_path)!r})"
    child = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert child.returncode == -signal.SIGKILL
    assert (tmp_path / f"{FILE}-wal").stat().st_size > 1_000_000, "nothing of it had been written"
    with opened(tmp_path) as ledger:
        assert open_ids(ledger) == [1, 2]
    assert dump(tmp_path) == before


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = sealed_once(ledger)
        before = dump(tmp_path)
        pages = ledger._database.execute("PRAGMA page_count").fetchone()[0]
        ledger._database.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(FatalError, match="The disk is full: make room") as caught:
            seal_again(ledger, job, held={b"%d" % number: [(b"x" * 1_000, 1)] for number in range(100)})
        assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER
        assert dump(tmp_path) == before
        seal(ledger, job)


# Numbers that go on when it is opened again.


def test_a_batch_id_is_given_once(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        assert [ledger.allot_batch_id() for _ in range(3)] == [1, 2, 3]
        for batch_id in (1, 2):
            seal(ledger, job, batch_of(batch_id))
        ledger.split(batch_of(2), (batch_of(7, parent=2), batch_of(8, parent=2)))
        ledger.finish_job(job, REPORT, never_sent=[], released=[1, 2, 7, 8])
    with opened(tmp_path) as ledger:
        assert [ledger.allot_batch_id(), ledger.allot_batch_id()] == [9, 10]


def test_post_numbers_go_on(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        assert ledger.next_post_number() == 0
        job = ledger.begin_job(job_of())
        seal(ledger, job, batch_of(1))
        seal(ledger, job, batch_of(2))
        assert ledger.next_post_number() == 0
        for fact in (Begun(0), NotTaken("503"), Begun(10), InDoubt("cut")):
            ledger.add_fact(2, fact)
        ledger.add_fact(1, Begun(9))
        ledger.finish_job(job, REPORT, never_sent=[], released=[1, 2])
    with opened(tmp_path) as ledger:
        assert ledger.next_post_number() == 11


# Drops, commands and ended jobs.


def claim_of(drop: str = "j1", **values: Any) -> Claim:
    claim = Claim(drop, "a.csv", "a.csv.ready", 0, 2**60, Manifest(columns=("id",), sequence=3), as_of="20261123")
    return replace(claim, **values)


def test_the_jobs_of_a_drop_are_entered_together_or_not_at_all(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        first = ledger.begin_jobs([job_of("j1", claim=claim_of()), job_of("j2", claim=claim_of()), job_of("j3")])
        assert [job.seq for job in first] == [1, 2, 3]
        with pytest.raises(FatalError):
            ledger.begin_jobs([job_of("j4"), job_of("j1")])
        assert [job.job_id for job in ledger.jobs()] == ["j1", "j2", "j3"]
    with opened(tmp_path) as ledger:
        assert ledger.jobs() == first
        assert ledger.jobs_of_drop("j1") == first[:2]


def test_a_command_is_entered_and_marked_together_or_not_at_all(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        assert ledger.marks_of_commands() == {}
        entered = ledger.begin_command([job_of("j1"), job_of("j2")], {"j1": False, "j2": False})
        assert [job.seq for job in entered] == [1, 2]
        with pytest.raises(FatalError):
            ledger.begin_command([job_of("j3"), job_of("j1")], {"j3": True, "j1": True})
        assert [job.job_id for job in ledger.jobs()] == ["j1", "j2"]
        assert ledger.marks_of_commands() == {"j1": False, "j2": False}
        # Of another command, of which one job is of the first one too.
        ledger.begin_command([job_of("j3")], {"j2": True, "j3": True}, ["j1"])
        assert ledger.marks_of_commands() == {"j2": True, "j3": True}
    with opened(tmp_path) as ledger:
        ledger.end_command(["j2"])
        assert ledger.marks_of_commands() == {"j3": True}


@pytest.mark.parametrize("value", ["[", "1", '"x"'])
@pytest.mark.parametrize(
    ("key", "look"),
    [("commands", Ledger.marks_of_commands), ("set_aside", Ledger.set_aside), ("approved", Ledger.approved)],
)
def test_damage_of_what_is_kept_by_name_is_told_of(
    tmp_path: Path, key: str, value: str, look: Callable[[Ledger], object]
) -> None:
    with opened(tmp_path):
        pass
    with edited(tmp_path) as database:
        database.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))
    with opened(tmp_path) as ledger, pytest.raises(FatalError, match="cannot be read") as caught:
        look(ledger)
    assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER


def test_a_job_is_in_quarantine_until_it_is_approved_or_given_up(tmp_path: Path) -> None:
    found = Checkpoint(digest_bytes=1, digest="abc", quarantine="it has 1 row")
    with opened(tmp_path) as ledger:
        names = ("approved", "ended", "abandoned", "aside")
        approved, ended, *_ = ledger.begin_jobs([*(job_of(name, checkpoint=found) for name in names), job_of("free")])

        def held() -> list[str]:
            return [job.job_id for job in ledger.jobs() if ledger.is_quarantined(job)]

        assert held() == [*names]
        ledger.approve_job("approved", "anna (uid 7)")
        ledger.abandon_job("abandoned")
        ledger.set_job_aside("aside", SetAside("a bug"))
        ledger.finish_job(ended, REPORT, never_sent=[], released=[])
        assert held() == []
        kept = ledger.approved()
        assert [(job, approval.by) for job, approval in kept.items()] == [("approved", "anna (uid 7)")]
    with opened(tmp_path) as ledger:
        assert (ledger.approved(), held()) == (kept, [])
        ledger.finish_job(approved, REPORT, never_sent=[], released=[])
        assert ledger.approved() == {}
        assert ledger.set_aside() == {"aside": SetAside("a bug")}


def test_the_latest_done_jobs_of_a_route(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        jobs = ledger.begin_jobs(
            [
                *(job_of(f"eu{number}", route="eu") for number in range(5)),
                job_of("us", route="us"),
                job_of("retry", route="eu", retry_of="eu1"),
                job_of("now", route="eu"),
                job_of("later", route="eu"),
            ]
        )
        states: list[JobState] = ["done", "done", "failed", "incomplete", "done", "done", "done"]
        for job, state in zip(jobs, states, strict=False):
            ledger.finish_job(job, replace(REPORT, job=job.job_id, state=state), never_sent=[], released=[])
        ledger.finish_job(jobs[8], replace(REPORT, job="later", state="done"), never_sent=[], released=[])
        assert [report.job for report in ledger.latest_done("eu", 7, before=jobs[7].seq)] == ["eu4", "eu1", "eu0"]
        assert [report.job for report in ledger.latest_done("eu", 2, before=jobs[7].seq)] == ["eu4", "eu1"]
        assert ledger.latest_done("eu", 7, before=jobs[0].seq) == []


def test_what_becomes_of_claims(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_jobs([job_of("j1", claim=claim_of()), job_of("j2", claim=claim_of())])
        ledger.note_claims({"j2": claim_of(is_taken=True)})
        assert [job.claim for job in ledger.jobs()] == [claim_of(), claim_of(is_taken=True)]


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 4), st.none() | st.integers(1, 4), st.booleans()), max_size=12),
    st.integers(1, 13),
)
def test_the_first_jobs_in_order_are_those_of_all(jobs: list[tuple[int | None, int | None, bool]], count: int) -> None:
    """Each has a sequence number or none, a turn if it has begun, and has ended or not."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as ledger:
        for place, (sequence, turn, has_ended) in enumerate(jobs):
            claim = None if sequence is None else claim_of(f"d{place}", manifest=Manifest(sequence=sequence))
            job = ledger.begin_job(job_of(f"j{place}", claim=claim))
            if turn is not None:
                seal(ledger, job, checkpoint=Checkpoint(digest_bytes=9, turn=turn))
            if has_ended:
                ledger.finish_job(job, REPORT, never_sent=[], released=[])
        unfinished = ledger.jobs(unfinished_only=True)
        assert ledger.jobs_in_order(count) == in_order(unfinished)[:count]
        assert ledger.begun_jobs() == in_order([job for job in unfinished if job.has_begun])


def test_the_latest_that_was_claimed(tmp_path: Path) -> None:
    """What only waits, or failed before anything was sent, makes nothing old."""

    def claimed(job_id: str, sequence: int, as_of: str) -> JobRecord:
        manifest = Manifest(sequence=sequence)
        return job_of(job_id, claim=claim_of(job_id, manifest=manifest, as_of=as_of))

    def latest(ledger: Ledger) -> tuple[Any, Any]:
        assert ledger.latest_as_of("other") is None
        return ledger.latest_sequence(), ledger.latest_as_of("default")

    with opened(tmp_path) as ledger:
        ledger.begin_job(job_of("loaded"))
        assert latest(ledger) == (None, None)
        done = ledger.begin_job(claimed("done", 4, "20261101"))
        failed = ledger.begin_job(claimed("failed", 9, "20261109"))
        running = ledger.begin_job(claimed("running", 5, "20261105"))
        ledger.begin_job(claimed("waiting", 8, "20261108"))
        assert latest(ledger) == (None, None)
        for job, state in ((done, "done"), (failed, "failed")):
            report = Report.from_json({"state": state})
            ledger.finish_job(job, report, never_sent=[], released=[])
        assert latest(ledger) == (4, "20261101")
        seal(ledger, running, batch_of(1), checkpoint=CHECKPOINT)
        assert latest(ledger) == (5, "20261105")
        seal(ledger, failed, batch_of(2), checkpoint=CHECKPOINT)
        assert latest(ledger) == (9, "20261109")


def test_jobs_that_ended_before_a_time(tmp_path: Path) -> None:
    """A few at a time, none twice, and none that goes on."""
    with opened(tmp_path) as ledger:
        for number, day in enumerate((3, 1, 1, 2, 5, 1)):
            report = Report.from_json({"state": "done", "finished_at": f"2026-11-0{day}T00:00:00+00:00"})
            ledger.finish_job(ledger.begin_job(job_of(f"j{number}")), report, never_sent=[], released=[])
        ledger.begin_job(job_of("waiting"))
        found: list[EndedJob] = []
        while some := ledger.ended_before("2026-11-04", behind=found[-1] if found else None, count=2):
            found += some
        assert [job.job_id for job in found] == ["j1", "j2", "j5", "j3", "j0"]
        assert found[0] == EndedJob(2, "j1", "default", "2026-11-01T00:00:00+00:00")


def test_the_end_of_a_run_that_left_its_job_unfinished(tmp_path: Path) -> None:
    run = LastRun(
        "2026-11-23T03:00:00+00:00",
        ExitCode.REFUSED_BY_TARGET,
        "refused",
        7.5,
        4,
        RowCounts(read=2, pending=2),
        "sandbox",
        3,
    )
    later = replace(run, finished_at="2026-11-23T04:00:00+00:00", seconds=20.0, calls=9)
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        assert (job.last_run, job.seconds, job.calls) == (None, 0.0, 0)
        assert (job.was_in_sandbox, job.refused_below_share) == (False, 0)
        seal(ledger, job, checkpoint=CHECKPOINT)
        ledger.note_run(job, run)
    with opened(tmp_path) as ledger:
        (found,) = ledger.jobs()
        # The seal of a later run, which was killed, has counted on.
        assert (found.last_run, found.seconds, found.calls) == (run, 12.5, 4)
        assert (found.was_in_sandbox, found.refused_below_share) == (True, 3)
        ledger.note_run(job, later)
        (found,) = ledger.jobs()
        assert (found.last_run, found.seconds, found.calls) == (later, 20.0, 9)
        ledger.finish_job(job, REPORT, never_sent=[], released=[])
        (found,) = ledger.jobs()
        assert found.last_run is None, "the report says all of it"


class TestLearnedStatuses:
    """How many statuses Target keeps is remembered."""

    FAILED_AT = datetime(2026, 11, 23, 12, 30, 15, 250_000, tzinfo=UTC)

    def test_nothing_at_first(self, tmp_path: Path) -> None:
        with opened(tmp_path) as ledger:
            assert ledger.learned_statuses() == Learned()

    @pytest.mark.parametrize(
        "learned",
        [
            Learned(20),
            Learned(10, FAILED_AT),
            Learned(160, FAILED_AT.astimezone(timezone(timedelta(hours=5, minutes=30)))),
        ],
    )
    def test_the_latest_is_what_counts(self, tmp_path: Path, learned: Learned) -> None:
        with opened(tmp_path) as ledger:
            ledger.remember_statuses(Learned(40, self.FAILED_AT))
            ledger.remember_statuses(learned)
            assert ledger.learned_statuses() == learned
        with opened(tmp_path) as ledger:
            assert ledger.learned_statuses() == learned
        with read(tmp_path) as ledger:
            assert ledger.learned_statuses() == learned

    def keep(self, directory: Path, value: str) -> None:
        """What another version may have written."""
        with opened(directory):
            pass
        with edited(directory) as database:
            database.execute("INSERT INTO meta (key, value) VALUES ('learned_statuses', ?)", (value,))

    @pytest.mark.parametrize(
        ("value", "learned"),
        [
            ('{"size": 320, "failed_at": null}', Learned(320)),
            ('{"size": 5, "failed_at": null}', Learned(5)),
            ('{"size": 25, "failed_at": null, "more": [1]}', Learned(25)),
            ('{"size": 20, "failed_at": "2026-11-23T12:30:15.25Z"}', Learned(20, FAILED_AT)),
        ],
    )
    def test_what_another_version_may_have_learned(self, tmp_path: Path, value: str, learned: Learned) -> None:
        self.keep(tmp_path, value)
        with opened(tmp_path) as ledger:
            assert ledger.learned_statuses() == learned
            ledger.remember_statuses(Learned(80))
            assert ledger.learned_statuses() == Learned(80)

    @pytest.mark.parametrize(
        "value",
        [
            *("", "no JSON", "[]", "7", "null", "{}"),
            *('{"size": 20}', '{"failed_at": null}', '{"size": 20, "failed_at": 7}'),
            *('{"size": 0, "failed_at": null}', '{"size": -1, "failed_at": null}', '{"size": null, "failed_at": null}'),
            *('{"size": 20, "failed_at": "yesterday"}', '{"size": 20, "failed_at": "2026-11-23T12:30:15"}'),
        ],
    )
    def test_what_cannot_be_is_a_damaged_ledger(self, tmp_path: Path, value: str) -> None:
        self.keep(tmp_path, value)
        with opened(tmp_path) as ledger, pytest.raises(FatalError, match="what was learned of statuses") as caught:
            ledger.learned_statuses()
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


def test_when_a_batch_was_accepted(tmp_path: Path) -> None:
    """The last time, if it was stuck and was sent again."""
    facts = (Begun(1), Taken("first"), SeenStuck(), Begun(2), Taken("second"), SeenComplete(0, 0))
    times = tuple(f"2026-11-23T12:00:0{second}+00:00" for second in range(len(facts)))
    batch = Batch(batch_id=1, number=1, rows=1, size_bytes=1, sha256="", parent=None)
    assert BatchRecord(batch, 1, facts, times).accepted_at == datetime(2026, 11, 23, 12, 0, 4, tzinfo=UTC)
    assert BatchRecord(batch, 1, facts[:1], times[:1]).accepted_at is None


class TestErasure:
    SECRET = "Secret77"

    def holds(self, directory: Path) -> bool:
        return any(self.SECRET.encode() in file.read_bytes() for file in directory.glob(f"{FILE}*"))

    def test_nothing_deleted_is_left_in_the_file(self, tmp_path: Path) -> None:
        with opened(tmp_path) as ledger:
            # Some builds of SQLite overwrite what is deleted at once, and others do not.
            ledger._database.execute("PRAGMA secure_delete = OFF")
            ledger.begin_command([], {f"{self.SECRET * 2_000}-{number}": True for number in range(3)})
            ledger.end_command(ledger.marks_of_commands())
            assert self.holds(tmp_path)
            assert ledger.compact()
            assert not self.holds(tmp_path)
            # What is written behind it has its sums and its place in the mark.
            ledger.begin_job(job_of("j1"))
        with opened(tmp_path) as ledger:
            assert ledger.job("j1") is not None

    def test_the_ids_of_a_batch(self, tmp_path: Path) -> None:
        with opened(tmp_path) as ledger:
            job = ledger.begin_job(job_of("j1"))
            seal(ledger, job, batch_of(1))
            seal(ledger, job, batch_of(2), overtaken={1: hashes_of(7, 8)})
            row = RowRejected("no", 3, f"{self.SECRET},x")
            for fact in (Begun(1), RefusedAs("no"), row):
                ledger.add_fact(1, fact)
            assert ledger.batches_with_ids() == [1]
            less = replace(batch_of(1), rows=1, sha256="less")
            ledger.erase(1, hashes_of(8), lambda fact: replace(row, row="") if fact == row else fact, less)
            assert facts_of(ledger, 1) == (Begun(1), RefusedAs("no"), replace(row, row=""))
            assert list(ledger.overtaken(1)) == [7]
            assert ledger.compact()
            assert not self.holds(tmp_path)
        with opened(tmp_path) as ledger:
            record = ledger.batch(1)
            assert record is not None
            assert (record.batch.rows, record.batch.sha256) == (1, "less")
