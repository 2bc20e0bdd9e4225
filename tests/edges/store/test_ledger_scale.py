"""The work of SQLite for what the service asks for each job: it must not grow with the jobs that wait or have ended.

Work is counted in instructions of SQLite's virtual machine, so it is the same on every machine.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.batches.lifecycle import Begun
from pipeline.core.batches.report import Report
from pipeline.edges.store.ledger import Ledger
from tests.edges.store.test_ledger import CHECKPOINT, batch_of, claim_of, job_of, opened, seal

#: Instructions between two calls of the counter.
STEP = 10


def filled(directory: Path, *, waiting: int, ended: int) -> None:
    """A ledger with jobs that have ended, one that has begun, and others that wait, all of them dropped."""
    with opened(directory) as ledger:
        jobs = ledger.begin_jobs(
            [job_of(f"j{number}", claim=claim_of(f"j{number}", is_taken=True)) for number in range(ended + 1 + waiting)]
        )
        for number, job in enumerate(jobs[: ended + 1]):
            seal(ledger, job, batch_of(number + 1), checkpoint=CHECKPOINT, released=[number] if number else [])
            ledger.add_fact(number + 1, Begun(number))
            if number < ended:
                report = Report.from_json({"state": "done", "finished_at": f"2026-11-23T02:14:00+00:00{number}"})
                ledger.finish_job(job, report, never_sent=[], released=[])


def work(directory: Path, ask: Callable[[Ledger], object]) -> int:
    """The instructions that a question takes, in steps of `STEP`."""
    with opened(directory) as ledger:
        steps = 0

        def note() -> int:
            nonlocal steps
            steps += 1
            return 0

        ledger._database.set_progress_handler(note, STEP)
        ask(ledger)
        return steps


ASKED: dict[str, Callable[[Ledger], object]] = {
    "the next job": lambda ledger: ledger.jobs_in_order(2),
    "jobs not taken": Ledger.untaken_jobs,
    "jobs that have begun": Ledger.begun_jobs,
    "jobs with open batches": Ledger.unfinished_with_open_batches,
    "if it can be read": Ledger.check,
    "the latest sequence number": Ledger.latest_sequence,
    "the latest date": lambda ledger: ledger.latest_as_of("default"),
    "the jobs of a drop": lambda ledger: ledger.jobs_of_drop("j1"),
    "the next POST": Ledger.next_post_number,
    "open batches": Ledger.batches,
    "a job": lambda ledger: ledger.job("j3"),
    "what is overdue": lambda ledger: ledger.ended_before("2026-11-23", behind=None, count=1_000),
    "the latest done jobs of a route": lambda ledger: ledger.latest_done("default", 7),
    "what waits for its approval": lambda ledger: ledger.is_quarantined(ledger.begun_jobs()[0]),
    "entering a job": lambda ledger: ledger.begin_job(job_of("new", claim=claim_of("new"))),
    "ending a job": lambda ledger: ledger.finish_job(
        next(iter(ledger.begun_jobs())), Report.from_json({"state": "done"}), never_sent=[], released=[]
    ),
}


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a ledger of few jobs and one of many: `few` and `many`, to be copied."""
    made = tmp_path_factory.mktemp("ledgers")
    for name, factor in (("few", 1), ("many", 40)):
        (made / name).mkdir()
        filled(made / name, waiting=10 * factor, ended=10 * factor)
    return made


@pytest.mark.parametrize("asked", ASKED)
def test_it_does_not_grow_with_the_queue(ledgers: Path, tmp_path: Path, asked: str) -> None:
    few, many = (shutil.copytree(ledgers / name, tmp_path / name) for name in ("few", "many"))
    assert work(many, ASKED[asked]) <= 1.5 * work(few, ASKED[asked]) + 5
