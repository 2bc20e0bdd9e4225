"""An unexpected error of one batch or one job ends that batch or job: it is not met again, and all others go on."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.core.errors import ExitCode
from pipeline.edges.store.records import SetAside
from pipeline.edges.store.state import open_state
from pipeline.jobs.job import Job
from pipeline.jobs.retries.lost_rows import begin_retry
from pipeline.sandbox import Fault, FaultPlan
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually
from tests.tools.drawn import share
from tests.tools.poison import ALWAYS, POISONED, SECRET, Poison, Twice
from tests.tools.support import ONE_BY_ONE

#: Of the steps of a job at which a bug may be met, so many in a run; all in `make full-test`.
SHARE = 8
ERRORS = (ValueError, RuntimeError, RecursionError, MemoryError, KeyError, TypeError, UnicodeError, AssertionError)


IDS = [f"u{number}" for number in range(6)]


def lines_of(value: str) -> list[str]:
    return [f"{each},{value},{number}" for number, each in enumerate(IDS)]


async def load_three(stage: Stage, poison: Poison | None, *names: str) -> list[dict[str, Any]]:
    """Load three exports of the same ids in one command; the one in the middle is poisoned."""
    asked = names or ("first.csv", f"{POISONED}.csv", "last.csv")
    exports = [stage.export(name, *lines_of(name.partition(".")[0])) for name in asked]
    on = stage if poison is None else replace(stage, host=poison.on(stage.host))
    return await on.load_all(*exports, watch=None, again=False, wait_s=None, **ONE_BY_ONE)


def told(reports: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(report["state"], report["exit_code"]) for report in reports]


def assert_says_nothing_of_rows(said: object) -> None:
    assert SECRET not in repr(said)
    assert "secret" not in repr(said)


@pytest.mark.parametrize("error", ERRORS)
@virtually
async def test_a_job_that_cannot_be_read_for_a_bug_is_set_aside_and_the_others_go_on(
    error: type[Exception], tmp_path: Path
) -> None:
    async with staged(tmp_path) as stage:
        with capture_logs() as logs:
            reports = await load_three(stage, Poison("open", error, ALWAYS))
        assert told(reports) == [("done", 0), ("failed", 70), ("done", 0)]
        assert "a bug in profile-pipeline, please report it" in reports[1]["error"]
        assert ("not enough memory" if error is MemoryError else error.__name__) in reports[1]["error"]
        assert [each["event"] for each in logs if each["log_level"] == "error"] == ["unexpected_error", "job_set_aside"]
        # As each next start does.
        for number in range(3):
            again = await load_three(stage, Poison("open", error, ALWAYS), f"later{number}.csv")
            assert told(again) == [("done", 0)]
        stage.sandbox.apply_all()
        assert {each["tier"] for each in stage.sandbox.profiles().values()} == {"later2"}
        assert_says_nothing_of_rows(reports)


@virtually
async def test_what_a_job_had_sent_is_followed_to_its_end_and_the_rest_is_unsent(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        # The first block is read, and nothing behind it.
        reports = await load_three(stage, Poison("sync_rejects", times=1, skips=2))
        rows = reports[1]["rows"]
        assert told(reports) == [("done", 0), ("failed", 70), ("done", 0)]
        assert rows["confirmed"] > 0
        assert rows["confirmed"] + rows["unsent"] == rows["read"] < len(IDS) + 1
        assert len(reports[1]["batches"]) == rows["confirmed"] // 2


@virtually
async def test_a_batch_whose_post_meets_a_bug_is_unconfirmed_and_the_rest_of_its_job_goes_on(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        with capture_logs() as logs:
            reports = await load_three(stage, Poison("post", times=1, is_done_first=True))
        assert told(reports) == [("done", 0), ("incomplete", 76), ("done", 0)]
        assert (reports[1]["rows"]["confirmed"], reports[1]["rows"]["unconfirmed"]) == (4, 2)
        (batch,) = (each for each in reports[1]["batches"] if each["state"] == "unconfirmed")
        assert "an unexpected ValueError in " in batch["why"]
        assert_says_nothing_of_rows((reports, logs))
        stage.sandbox.apply_all()
        assert {each["tier"] for each in stage.sandbox.profiles().values()} == {"last"}


@virtually
async def test_its_open_attempt_is_held_as_that_of_any_unconfirmed_batch(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        reports = await load_three(stage, Poison("post", times=1, is_done_first=True))
        # The same ids come again in the last export, which has to wait for that.
        assert reports[2]["seconds"] >= stage.settings().settle.ambiguous_hold_s


@virtually
async def test_a_bug_in_each_status_is_met_once_a_batch(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        poison = Poison("status", times=ALWAYS)
        reports = await load_three(stage, poison)
        assert told(reports) == [("done", 0), ("incomplete", 76), ("done", 0)]
        assert reports[1]["rows"]["unconfirmed"] == 6
        assert poison.met == 3
        assert told(await load_three(stage, poison, "later.csv")) == [("done", 0)]
        assert poison.met == 3


@virtually
async def test_a_job_that_cannot_be_followed_for_a_bug_either_ends_without(tmp_path: Path) -> None:
    async with staged(tmp_path, apply_min_s=50.0, apply_max_s=60.0) as stage:
        # One batch is sent. From the time when it is to be followed on, no batch of the job can be looked at.
        reports = await load_three(stage, Poison("batches", times=2, skips=0))
        assert told(reports) == [("done", 0), ("failed", 70), ("done", 0)]
        stopped = await load_three(stage, Poison("seal", times=1, skips=1), f"{POISONED}.csv")
        assert stopped[-1]["rows"]["confirmed"] == 2
        again = await load_three(stage, Twice("seal", skips=1, then="connect"), f"{POISONED}.csv", "end.csv")
        rows = again[0]["rows"]
        assert told(again) == [("failed", 70), ("done", 0)]
        assert (rows["confirmed"], rows["unconfirmed"], rows["unsent"], rows["read"]) == (0, 2, 0, 2)
        assert "could not be followed, and is unconfirmed" in again[0]["error"]
        # It is held as long as Target may apply it.
        assert again[1]["seconds"] >= stage.settings().settle.ambiguous_hold_s
        stage.sandbox.apply_all()
        assert {each["tier"] for each in stage.sandbox.profiles().values()} == {"end"}


@virtually
async def _steps(tmp_path: Path) -> Counter[str]:
    async with staged(tmp_path) as stage:
        poison = Poison()
        await load_three(stage, poison)
        return poison.counts


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    return _steps(tmp_path_factory.mktemp("steps"))


@pytest.mark.parametrize(("times", "is_done_first"), [(1, False), (1, True), (ALWAYS, False)])
def test_whatever_step_of_a_job_meets_a_bug(
    steps: Counter[str], tmp_path: Path, times: int, *, is_done_first: bool
) -> None:
    assert len(steps) > 20
    places = [(step, skips) for step, count in steps.items() for skips in ({0, count - 1} if times == 1 else {0})]
    for step, skips in share(places, SHARE):
        directory = tmp_path / f"{step}-{skips}"
        directory.mkdir()
        _assert_others_go_on(directory, Poison(step, times=times, is_done_first=is_done_first, skips=skips))


@virtually
async def _assert_others_go_on(directory: Path, poison: Poison) -> None:
    async with staged(directory) as stage:
        with capture_logs() as logs:
            reports = await load_three(stage, poison)
        assert_says_nothing_of_rows((reports, logs))
        assert poison.met, "the step is met"
        told_of = f"{poison}: {told(reports)}, {reports[1]['error'] if len(reports) > 1 else ''}"
        codes = [report["exit_code"] for report in reports]
        if ExitCode.OUR_BUG in codes and any(report["state"] == "unfinished" for report in reports):
            # It cannot even be ended: no job of the client code goes on, until the program is mended.
            assert poison.times == ALWAYS, told_of
            assert told(await load_three(stage, None))[-1] == ("done", 0), told_of
        else:
            assert [report["state"] for report in reports[::2]] == ["done", "done"], told_of
            assert reports[1]["state"] in ("done", "incomplete", "failed"), told_of
        # The next start meets nothing of it.
        assert told(await load_three(stage, replace(poison, of_job="none"), "later.csv")) == [("done", 0)], told_of
        stage.sandbox.apply_all()
        assert {each["tier"] for each in stage.sandbox.profiles().values()} == {"later"}, told_of
        with stage.ledger() as ledger:
            assert not ledger.set_aside()
            assert not ledger.jobs(unfinished_only=True), told_of


@virtually
async def test_two_jobs_that_meet_bugs_are_both_set_aside(tmp_path: Path) -> None:
    async with staged(tmp_path, apply_min_s=2.0, apply_max_s=3.0) as stage:
        names = ("first.csv", f"{POISONED}-1.csv", f"{POISONED}-2.csv", "last.csv")
        with capture_logs() as logs:
            reports = await load_three(stage, Poison("seal", times=ALWAYS, skips=1), *names)
        assert told(reports) == [("done", 0), ("failed", 70), ("failed", 70), ("done", 0)]
        assert sum(each["event"] == "job_set_aside" for each in logs) == 2
        stage.sandbox.apply_all()
        assert {each["tier"] for each in stage.sandbox.profiles().values()} == {"last"}


@virtually
async def test_what_a_job_lost_that_could_not_even_be_followed_is_sent_again_unless_overtaken(tmp_path: Path) -> None:
    async with staged(tmp_path, apply_min_s=50.0, apply_max_s=60.0) as stage:
        (report,) = await load_three(stage, Twice("seal", skips=1, then="connect"), f"{POISONED}.csv")
        assert (report["state"], report["rows"]["unconfirmed"]) == ("failed", 2)
        lost = IDS[:2]
        await stage.load(f"{lost[0]},newer,1", name="newer.csv")
        async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
            retry = await begin_retry(state, report["job"])
        assert retry.job is not None, retry.told
        reports = await load_three(stage, None, "end.csv")
        assert told(reports) == [("done", 0), ("done", 0)]
        assert reports[0]["rows"]["confirmed"] == 1
        sent = {each["tier"] for each in stage.sandbox.profiles().values()}
        assert sent == {"end"}


@virtually
async def test_to_abandon_a_job_that_is_to_be_set_aside_is_to_end_it_once(tmp_path: Path) -> None:
    async with staged(tmp_path, apply_min_s=50.0, apply_max_s=60.0) as stage:
        one_by_one: dict[str, Any] = ONE_BY_ONE
        stopped = await stage.load(*lines_of("gold"), name=f"{POISONED}.csv", stop_when=_has_sent, **one_by_one)
        async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
            state.ledger.abandon_job(stopped["job"])
            state.ledger.set_job_aside(stopped["job"], SetAside("a bug."))
        reports = await load_three(stage, None, "end.csv")
        assert told(reports) == [("failed", 70), ("done", 0)]
        assert reports[0]["rows"]["confirmed"] == 2
        with stage.ledger() as ledger:
            assert not ledger.set_aside()


def _has_sent(job: Job) -> bool:
    book = job.progress.book
    return any(book.life(batch.batch_id).status_url for batch in book)


@pytest.mark.parametrize("skips", range(9))
@virtually
async def test_rows_whose_loss_was_written_down_just_before_the_bug_can_be_sent_again(
    skips: int, tmp_path: Path
) -> None:
    faults = FaultPlan(posts=dict.fromkeys((1, 2, 3), Fault.FAIL_ROWS), failing_rows=1)
    async with staged(tmp_path, faults=faults) as stage:
        (report,) = await load_three(stage, Poison("add_fact", skips=skips, is_done_first=True), f"{POISONED}.csv")
        lost = report["rows"]["failed"] + report["rows"]["unconfirmed"]
        async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
            retry = await begin_retry(state, report["job"])
        assert (retry.job is not None) == (lost > 0), retry.told
