"""What `status` says of a job: the classes its report will have, and what is waited for, until when at the latest."""

import io
import os
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
from pipeline.cli.status import status
from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.lifecycle import Begun, Fact, Failed, GivenUp, InDoubt, RefusedAs, SeenComplete, Taken
from pipeline.core.batches.report import Report
from pipeline.core.batches.tracker import NO_CHANGES
from pipeline.core.model import Batch
from pipeline.edges.store.ledger import Ledger, open_ledger
from pipeline.edges.store.records import JobRecord
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

    def end(self, job: JobRecord) -> None:
        report = Report.from_json({"state": "done", "finished_at": self.now.isoformat(timespec="seconds")})
        self.ledger.finish_job(job, report, never_sent=(), released=())

    def of(self, job: JobRecord, *, taken_at: datetime | None = None) -> dict[str, Any]:
        """What is told of a job while a process is at work that took the directory then; None: there is none."""
        if taken_at is not None:
            lock = self.directory / "lock"
            lock.touch()
            os.utime(lock, (taken_at.timestamp(), taken_at.timestamp()))
        settings = settings_for(
            CLOSED, self.directory, settle={"ambiguous_hold_s": HOLD_H * 3_600.0, "deadline_s": 3_600.0}
        )
        told = status(self.ledger, job.job_id, settings, self.now, "7" if taken_at else None)
        (only,) = told.as_json()["jobs"]
        text = io.StringIO()
        print_status(told, Console(file=text, width=200))
        self.printed = text.getvalue()
        return dict(only)


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
