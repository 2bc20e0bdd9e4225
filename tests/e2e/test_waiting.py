"""Rows that wait for an earlier batch, over restarts and from one job to the next: no older value ever wins."""

from pathlib import Path
from typing import Any

from pipeline.core.batches.lifecycle import Begun, InDoubt, Released, SplitUp
from pipeline.edges.store.mailbox import Request
from pipeline.edges.store.state import open_state
from pipeline.jobs.control import carry_out
from pipeline.jobs.job import Job
from pipeline.sandbox import Fault, FaultPlan, MistakeKind
from tests.simulation.loop import run_virtually
from tests.simulation.staged import Stage, staged
from tests.tools.support import ONE_BY_ONE, names_in, profiles_after

HOLD_S = 60.0
HOLDING: dict[str, Any] = {"settle": {"ambiguous_hold_s": HOLD_S}}
ONE_AT_A_TIME: dict[str, Any] = {"upload": {"concurrency": 1}}
#: Two batches, and a row that waits for the first of them.
WAITING_FOR_THE_FIRST = ("a,old,1", "b,1,1", "c,1,1", "a,new,")


def some_row_waits(job: Job) -> bool:
    """All batches are settled, and what is held waits for a hold only."""
    progress = job.progress
    is_settled = len(progress.book) > 0 and progress.book.is_all_settled
    return progress.reading_is_done and progress.held_rows > 0 and is_settled


def assert_nothing_wrong(stage: Stage, *lines: str) -> None:
    stage.sandbox.apply_all()
    assert stage.sandbox.profiles() == profiles_after(*lines)
    # A repeat of the same bytes, which is none of an older value.
    assert {mistake.kind for mistake in stage.sandbox.mistakes} <= {MistakeKind.CLASH}


def test_a_later_job_waits_for_what_an_earlier_one_left_in_doubt(tmp_path: Path) -> None:
    """The copy that was cut off may be applied until the hold ends, long after the job has ended."""

    async def run() -> None:
        faults = FaultPlan(posts={1: Fault.RESET_AFTER_BODY_TAKEN})
        async with staged(tmp_path, faults=faults) as stage:
            first = await stage.load("a,old,1", name="first.csv", **HOLDING)
            assert (first["state"], first["rows"]["confirmed"]) == ("done", 1)
            second = await stage.load("a,new,", name="second.csv", **HOLDING)
            assert second["rows"]["confirmed"] == 1
            *_, before, last = stage.posts
            assert last["accepted_s"] - before["accepted_s"] >= HOLD_S
            assert_nothing_wrong(stage, "a,old,1", "a,new,")

    run_virtually(run())


def test_a_job_that_ended_keeps_what_is_held(tmp_path: Path) -> None:
    """Its batch was confirmed, and yet a copy of it may be applied: it is not released, and its body is kept."""

    async def run() -> None:
        faults = FaultPlan(posts={1: Fault.RESET_AFTER_BODY_TAKEN})
        async with staged(tmp_path, faults=faults) as stage:
            await stage.load("a,old,1", "b,1,1", "c,1,1", batch={"max_rows": 2}, **ONE_AT_A_TIME, **HOLDING)
            with stage.ledger() as ledger:
                (job,) = ledger.jobs()
                held, free = ledger.batches(job=job)
                assert Released() not in held.facts
                assert Released() in free.facts
                assert [record.batch.batch_id for record in ledger.batches()] == [held.batch.batch_id]
            kept = {name.partition(".")[0] for name in names_in(stage.state / "spool")}
            assert kept == {f"{held.batch.batch_id:08d}", "mark"}

    run_virtually(run())


def test_an_attempt_that_was_cut_off_is_in_doubt_once(tmp_path: Path) -> None:
    """However often the process starts anew before it is sent again."""

    async def run() -> None:
        async with staged(tmp_path, faults=FaultPlan(posts={1: Fault.HANG_TAKEN})) as stage:
            await stage.load("a,old,1", stop_when=lambda _: stage.sandbox.calls["posts"], **HOLDING)
            async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
                await carry_out(Request("", "pause", None), state, running=None)
            for _ in range(2):
                await stage.load(stop_when=lambda _: True, **HOLDING)
                with stage.ledger() as ledger:
                    (record,) = ledger.batches()
                assert [type(fact) for fact in record.facts] == [Begun, InDoubt]

    run_virtually(run())


def split_with_a_copy_under_way() -> FaultPlan:
    """The first attempt is taken and nobody knows, the second is refused: its halves have its open attempt."""
    return FaultPlan(posts={1: Fault.HTTP_500_TAKEN, 2: Fault.REFUSE})


def test_halves_have_the_open_attempt_of_the_whole_after_a_restart(tmp_path: Path) -> None:
    lines = ("a,old,1", "b,old,1", "c,1,1", "a,new,", "b,new,")

    async def run() -> None:
        async with staged(tmp_path, faults=split_with_a_copy_under_way()) as stage:
            sections = {"batch": {"max_rows": 2}, **ONE_AT_A_TIME, **HOLDING}
            await stage.load(*lines, stop_when=some_row_waits, **sections)
            with stage.ledger() as ledger:
                assert any(isinstance(record.latest, SplitUp) for record in ledger.batches(job=ledger.jobs()[0]))
            before = stage.posts[-1]["accepted_s"]
            report = await stage.load(**sections)
            assert report["rows"]["confirmed"] == 5
            assert stage.posts[-1]["accepted_s"] - before >= HOLD_S
            assert_nothing_wrong(stage, *lines)

    run_virtually(run())


def test_halves_have_the_open_attempt_of_the_whole_in_a_later_job(tmp_path: Path) -> None:
    async def run() -> None:
        async with staged(tmp_path, faults=split_with_a_copy_under_way()) as stage:
            first = await stage.load("a,old,1", "b,old,1", name="first.csv", **ONE_AT_A_TIME, **HOLDING)
            assert [batch["state"] for batch in first["batches"]] == ["split", "complete", "complete"]
            before = stage.posts[-1]["accepted_s"]
            await stage.load("a,new,", "b,new,", name="second.csv", **ONE_AT_A_TIME, **HOLDING)
            assert stage.posts[-1]["accepted_s"] - before >= HOLD_S
            assert_nothing_wrong(stage, "a,old,1", "b,old,1", "a,new,", "b,new,")

    run_virtually(run())


def test_a_row_carries_what_an_export_of_other_columns_set(tmp_path: Path) -> None:
    """Should Target replace a profile by its latest row, nothing is missing, and every value is in its own column."""

    async def run() -> None:
        faults = FaultPlan(posts={1: Fault.RESET_AFTER_BODY_TAKEN})
        async with staged(tmp_path, faults=faults, override="replace") as stage:
            await stage.load("a,gold,1", name="first.csv", **HOLDING)
            await stage.load("a,Rome,silver", name="second.csv", header="id,city,tier", **HOLDING)
            stage.sandbox.apply_all()
            assert stage.sandbox.profiles() == {"a": {"city": "Rome", "tier": "silver", "ltv": "1"}}

    run_virtually(run())


def test_max_bytes_lowered_below_a_row_that_waits(tmp_path: Path) -> None:
    """It says so, and the job goes on when it is set back."""
    long = "x" * 1_500
    lines = (*WAITING_FOR_THE_FIRST[:3], f"a,{long},")

    async def run() -> None:
        faults = FaultPlan(posts={1: Fault.RESET_AFTER_BODY_TAKEN})
        async with staged(tmp_path, faults=faults) as stage:
            sections = {**ONE_BY_ONE, **HOLDING, "settle": {**ONE_BY_ONE["settle"], **HOLDING["settle"]}}
            await stage.load(*lines, stop_when=some_row_waits, **sections)
            lowered = await stage.load(may_fail=True, **{**sections, "batch": {"max_rows": 2, "max_bytes": 1_100}})
            assert (lowered["state"], lowered["exit_code"]) == ("unfinished", 78)
            assert "max_bytes = 1,100 was lowered below a row that waits" in lowered["error"]
            report = await stage.load(**sections)
            assert (report["exit_code"], report["rows"]["confirmed"]) == (0, 4)
            assert_nothing_wrong(stage, *lines)

    run_virtually(run())
