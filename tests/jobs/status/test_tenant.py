"""What `status` says of a job: the classes its report will have, and what is waited for, until when at the latest."""

import io
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.cli.print_status import print_status
from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.lifecycle import Begun, Fact, Failed, GivenUp, InDoubt, RefusedAs, SeenComplete, Taken
from pipeline.core.batches.report import LastRun, Report
from pipeline.core.batches.tracker import NO_CHANGES
from pipeline.core.errors import ExitCode
from pipeline.core.model import Batch, RowCounts
from pipeline.edges.store.ledger import Ledger, open_ledger
from pipeline.edges.store.notices import Pause, put_up_pause
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.row_sums import add_function, add_triggers
from pipeline.jobs.status.tenant import Status, status
from pipeline.settings.settings import Settings
from tests.core.builders import changes_to
from tests.tools.support import CLOSED, settings_for

NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)
TEN = NINE + timedelta(hours=1)
HOLD_H = 24
IN_DOUBT: tuple[Fact, ...] = (Begun(0), InDoubt("HTTP 500"))
CONFIRMED_WITH_A_COPY: tuple[Fact, ...] = (*IN_DOUBT, Begun(1), Taken("/1"), SeenComplete(0, 0))


@dataclass
class Told:
    """A ledger whose facts are written down at `now`, and what is told of it then."""

    directory: Path
    ledger: Ledger
    now: datetime = NINE
    printed: str = ""

    def begin(self, job_id: str, *, held: int = 0) -> JobRecord:
        started_at = self.now.isoformat(timespec="seconds")
        job = self.ledger.begin_job(
            JobRecord(0, job_id, Path("/drop/e.csv"), 1, 1, {"id_kind": "pcId"}, started_at, None, Checkpoint())
        )
        rows = {b"u%d" % number: [(b"u%d,1\n" % number, 2)] for number in range(held)}
        self.ledger.seal(job, Checkpoint(), None, held=changes_to(rows), released=(), overtaken={})
        return job

    def seal(self, job: JobRecord, *facts: Fact) -> Batch:
        batch_id = self.ledger.allot_batch_id()
        batch = Batch(batch_id, batch_id, 4, 100, "")
        self.ledger.seal(job, Checkpoint(), batch, held=NO_CHANGES, released=(), overtaken={})
        return self.add(batch, *facts)

    def add(self, batch: Batch, *facts: Fact) -> Batch:
        for fact in facts:
            self.ledger.add_fact(batch.batch_id, fact)
        return batch

    def end(self, job: JobRecord, **values: Any) -> None:
        finished_at = self.now.isoformat(timespec="seconds")
        report = Report.from_json({"state": "done", "finished_at": finished_at, **values})
        self.ledger.finish_job(job, report, never_sent=(), released=())

    def of(self, job: JobRecord, *, taken_at: datetime | None = None) -> dict[str, Any]:
        """What is told of a job while a process is at work that took the directory then; None: there is none."""
        if taken_at is not None:
            lock = self.directory / "lock"
            lock.touch()
            os.utime(lock, (taken_at.timestamp(), taken_at.timestamp()))
        told = status(self.ledger, job.job_id, self.settings, self.now, "7" if taken_at else None)
        (only,) = told.as_json()["jobs"]
        self.show(told)
        return dict(only)

    def of_all(self, **asked: Any) -> dict[str, Any]:
        """What is told of all jobs."""
        told = status(self.ledger, None, self.settings, self.now, None, **asked)
        self.show(told)
        return told.as_json()

    def show(self, told: Status) -> None:
        text = io.StringIO()
        print_status(told, Console(file=text, width=200))
        self.printed = text.getvalue()

    @property
    def settings(self) -> Settings:
        settle = {"ambiguous_hold_s": HOLD_H * 3_600.0, "deadline_s": 3_600.0}
        return settings_for(CLOSED, self.directory, settle=settle)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    path = tmp_path / "ledger.db"
    ledger = open_ledger(path, "demo", lambda: it.now.isoformat(timespec="milliseconds"), is_new=True)
    it = Told(tmp_path, ledger)
    with closing(ledger):
        yield it


def test_a_hold_counts_from_its_fact(told: Told) -> None:
    job = told.begin("j1", held=2)
    told.now = TEN
    told.seal(job, *CONFIRMED_WITH_A_COPY)
    held, until = told.of(job, taken_at=NINE)["waits_for"]
    assert "2 rows are held" in held
    assert until.startswith("1 batch that Target may have twice")
    assert until.endswith("at the latest at 2026-11-24 10:01 UTC")


def test_a_hold_counts_anew_from_a_restart(told: Told) -> None:
    job = told.begin("j1", held=2)
    told.seal(job, *CONFIRMED_WITH_A_COPY)
    assert told.of(job, taken_at=TEN)["waits_for"][1].endswith("at the latest at 2026-11-24 10:01 UTC")


def test_a_hold_counts_anew_from_the_end_of_the_job_before(told: Told) -> None:
    first, second = told.begin("j1"), told.begin("j2", held=2)
    told.seal(first, *CONFIRMED_WITH_A_COPY)
    assert told.of(second, taken_at=NINE)["waits_for"][1].endswith("24 h after a process goes on with the job")
    told.now = TEN
    told.end(first)
    assert told.of(second, taken_at=NINE)["waits_for"][1].endswith("at the latest at 2026-11-24 10:01 UTC")


def test_when_a_hold_ends_is_not_known_while_no_process_is_at_work(told: Told) -> None:
    job = told.begin("j1", held=2)
    told.seal(job, *CONFIRMED_WITH_A_COPY)
    told.seal(job, Begun(2), Taken("/2"))
    following, _, until = told.of(job)["waits_for"]
    assert following.endswith("(given up 60 min after a process goes on with the job)")
    assert until.endswith("at the latest 24 h after a process goes on with the job")


def test_a_deadline_counts_anew_from_a_restart(told: Told) -> None:
    job = told.begin("j1")
    told.seal(job, Begun(2), Taken("/2"))
    assert told.of(job, taken_at=TEN)["waits_for"][0].endswith("(given up at 2026-11-23 11:01 UTC)")


def test_rows_that_wait_for_the_batches_of_an_earlier_job(told: Told) -> None:
    first = told.begin("j1")
    told.seal(first, *CONFIRMED_WITH_A_COPY)
    told.seal(first, Begun(2), Taken("/2"), GivenUp("lost"))
    told.seal(first, Begun(3), Taken("/3"), SeenComplete(0, 0))
    told.end(first)
    second = told.begin("j2", held=1)
    _, until = told.of(second, taken_at=NINE)["waits_for"]
    assert until.startswith("2 batches that Target may have twice, or may apply yet, at the latest at 2026-11-24 09:01")


def test_the_parts_of_a_split_batch_have_its_open_attempts(told: Told) -> None:
    """As in the report: Target may have the copy of the whole, so the rows of a part are not certain to have failed."""
    job = told.begin("j1", held=1)
    whole = told.seal(job, *IN_DOUBT, Begun(1), RefusedAs("no"))
    numbers = count(whole.batch_id + 1)
    halves = Batch(next(numbers), 2, 2, 50, "", whole.batch_id), Batch(next(numbers), 3, 2, 50, "", whole.batch_id)
    told.ledger.split(whole, halves)
    told.add(halves[0], Begun(2), RefusedAs("no"), Failed("refused: no"))
    told.add(halves[1], Begun(3), Taken("/3"), SeenComplete(0, 0))
    of_job = told.of(job, taken_at=NINE)
    assert (of_job["rows"]["failed"], of_job["rows"]["unconfirmed"], of_job["rows"]["confirmed"]) == (0, 2, 2)
    assert of_job["waits_for"][1].startswith("2 batches that Target may have twice")


def test_an_abandoned_job(told: Told) -> None:
    """Nothing is sent any more, not even what Target may have: it is given up when a process goes on with the job."""
    job = told.begin("j1", held=1)
    told.seal(job)
    told.seal(job)
    told.seal(job, *IN_DOUBT)
    assert told.of(job)["waits_for"][0] == "3 batches to be sent"
    assert "will not be sent" not in told.printed
    told.ledger.abandon_job("j1")
    of_job = told.of(job)
    assert (of_job["is_abandoned"], of_job["waits_for"]) == (True, [])
    assert "what Target may have is followed to its end, the rest will not be sent" in told.printed


def test_when_a_job_was_entered_and_ended_and_how_long_it_was_worked_on(told: Told) -> None:
    job = told.begin("j1")
    assert (told.of(job)["finished_at"], told.of(job)["seconds"]) == (None, 0.0)
    assert "entered 2026-11-23 09:00 UTC, not worked on yet" in told.printed
    told.ledger.seal(job, Checkpoint(seconds=90.0), None, held=NO_CHANGES, released=(), overtaken={})
    assert told.of(job)["seconds"] == 90.0
    assert "entered 2026-11-23 09:00 UTC, worked on for 90 s" in told.printed
    told.now = TEN
    told.end(job, seconds=720.0)
    of_job = told.of(job)
    assert (of_job["started_at"], of_job["finished_at"], of_job["seconds"]) == (
        "2026-11-23T09:00:00+00:00",
        "2026-11-23T10:00:00+00:00",
        720.0,
    )
    assert "entered 2026-11-23 09:00 UTC, ended 2026-11-23 10:00 UTC, worked on for 12 min" in told.printed


class TestARunThatEndedUnfinished:
    RUN = LastRun(
        finished_at="2026-11-23T09:30:00+00:00",
        exit_code=ExitCode.REFUSED_BY_TARGET,
        why="Target refuses the token (HTTP 401). Check [target] token_file.",
        rows=RowCounts(read=9, rejected=2, pending=7),
    )

    def test_its_reason_is_told_with_its_time(self, told: Told) -> None:
        job = told.begin("j1")
        told.ledger.note_run(job, self.RUN)
        assert told.of(job)["last_run"] == {
            "finished_at": "2026-11-23T09:30:00+00:00",
            "exit_code": 77,
            "why": self.RUN.why,
        }
        assert f"its run ended unfinished at 2026-11-23 09:30 UTC (77): {self.RUN.why}" in told.printed
        told.end(job)
        assert told.of(job)["last_run"] is None
        assert "unfinished" not in told.printed

    def test_its_rows_are_told_until_the_ledger_knows_more(self, told: Told) -> None:
        """The report counts all rows that were read, the ledger those up to the last seal."""
        job = told.begin("j1")
        told.ledger.note_run(job, self.RUN)
        rows = told.of(job)["rows"]
        assert (rows["read"], rows["rejected"], rows["pending"]) == (9, 2, 7)
        assert "rows: 9 read, 2 rejected, 7 pending" in told.printed
        told.ledger.seal(job, Checkpoint(read=10, rejected=2), None, held=NO_CHANGES, released=(), overtaken={})
        rows = told.of(job)["rows"]
        assert (rows["read"], rows["rejected"], rows["pending"]) == (10, 2, 8)

    def test_its_rows_are_told_until_a_batch_has_an_outcome(self, told: Told) -> None:
        job = told.begin("j1")
        batch = Batch(told.ledger.allot_batch_id(), 1, 4, 100, "")
        told.ledger.seal(job, Checkpoint(read=4), batch, held=NO_CHANGES, released=(), overtaken={})
        told.ledger.note_run(job, self.RUN)
        assert told.of(job)["rows"]["read"] == 9
        told.add(batch, Begun(0), Taken("/0"), SeenComplete(0, 0))
        rows = told.of(job)["rows"]
        assert (rows["read"], rows["confirmed"], rows["pending"]) == (4, 4, 0)


class TestManyJobs:
    def test_the_latest_are_told_and_the_others_counted(self, told: Told) -> None:
        for number in range(12):
            told.now = NINE + timedelta(hours=number)
            told.end(told.begin(f"e{number:02}"))
        for number in range(22):
            told.begin(f"w{number:02}")
        of_all = told.of_all()
        names = [job["job"] for job in of_all["jobs"]]
        assert names == [f"e{number:02}" for number in range(2, 12)] + [f"w{number:02}" for number in range(20)]
        assert (of_all["older_jobs"], of_all["waiting_jobs"]) == (2, 2)
        assert "\n2 older jobs: --all shows all" in told.printed
        assert "\n2 more jobs wait behind these: --all shows all." in told.printed
        of_all = told.of_all(is_all=True)
        assert (len(of_all["jobs"]), of_all["older_jobs"], of_all["waiting_jobs"]) == (34, 0, 0)
        of_all = told.of_all(since=NINE + timedelta(hours=10))
        assert [job["job"] for job in of_all["jobs"]][:2] == ["e10", "e11"]
        assert (len(of_all["jobs"]), of_all["older_jobs"]) == (22, 10)

    def test_one_older_job(self, told: Told) -> None:
        for number in range(11):
            told.end(told.begin(f"e{number:02}"))
        told.of_all()
        assert "\n1 older job: --all" in told.printed

    def test_a_job_that_waits_for_its_turn(self, told: Told) -> None:
        jobs = [told.begin(f"j{number:02}") for number in range(23)]
        assert told.of(jobs[0])["waits_for"] == []
        assert told.of(jobs[1])["waits_for"] == ["its turn, behind 1 job"]
        assert told.of(jobs[22])["waits_for"] == ["its turn, behind 20 jobs or more"]

    def test_what_it_costs_does_not_grow_with_their_number(self, told: Told) -> None:
        """No report is read but those that are shown: another one may be damaged."""
        told.end(told.begin("shown"))
        with closing(sqlite3.connect(told.directory / "ledger.db")) as database, database:
            add_function(database)
            add_triggers(database)
            database.executemany(
                "INSERT INTO jobs (job_id, export, size_bytes, mtime_ns, settings, started_at, checkpoint, state,"
                " exit_code, sha256, report) SELECT ?, export, 1, 1, settings, started_at, checkpoint, state, 0, '',"
                """ '{"finished_at": "2026-11-22T09:00:00+00:00", "rows": 7}' FROM jobs WHERE job_id = 'shown'""",
                [(f"old{number}",) for number in range(2_000)],
            )
            database.execute("UPDATE jobs SET checkpoint = '{}' WHERE job_id != 'shown'")
        told.now = TEN
        for number in range(9):
            told.end(told.begin(f"e{number}"))
        of_all = told.of_all()
        assert (len(of_all["jobs"]), of_all["older_jobs"]) == (10, 2_000)


def test_an_abandoned_job_behind_a_pause_of_the_service(told: Told) -> None:
    job = told.begin("j1")
    told.ledger.abandon_job("j1")
    put_up_pause(told.directory, Pause(74, "the disk is full", "2026-11-23T08:00:00+00:00", "j0"))
    assert told.of(job, taken_at=NINE)["waits_for"] == [
        "the service, which itself waits since 2026-11-23 08:00:00 UTC: it ends then"
    ]
    assert told.of(job)["waits_for"] == [], "nobody serves"


def test_batches_under_way_are_counted(told: Told) -> None:
    job = told.begin("j1")
    told.seal(job, Begun(0), Taken("/0"))
    told.seal(job, Begun(1), Taken("/1"))
    told.seal(job, *IN_DOUBT)
    assert told.of_all()["statuses_under_way"] == 2
    assert "2 batches are being applied by Target." in told.printed
