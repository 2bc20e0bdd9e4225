"""Retries: values that no later row has overtaken, each once, and no other job beside them; in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.edges.store.state import open_state
from pipeline.jobs.one_shot import load_exports
from pipeline.jobs.retries.lost_rows import Retry, begin_retry
from pipeline.sandbox import Fault, FaultPlan
from pipeline.settings.tenants import Tenant
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually

SETTLE = {"poll_first_s": 0.05, "poll_max_s": 0.2, "ambiguous_hold_s": 2.0}


async def retry(stage: Stage, job: str) -> Retry:
    async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
        return await begin_retry(state, job)


async def go_on(stage: Stage, **sections: Any) -> list[dict[str, Any]]:
    """What the command runs behind the request."""
    tenant = Tenant.of_one(stage.settings(settle=SETTLE, **sections))
    return [report.as_json() async for report in load_exports([], tenant, host=stage.host, only_retries=True)]


async def send_again(stage: Stage, job: str) -> tuple[str, list[dict[str, Any]]]:
    """Ask for a retry and run it."""
    answer = await retry(stage, job)
    return answer.told, [] if answer.job is None else await go_on(stage)


@asynccontextmanager
async def lost(directory: Path, *posts: int) -> AsyncIterator[tuple[Stage, str]]:
    """A job with a row of `u1` and one of `u2` that Target failed; it fails the POSTs of these numbers too."""
    faults = FaultPlan(posts=dict.fromkeys((1, *posts), Fault.FAIL_ROWS), failing_rows=2)
    async with staged(directory, faults=faults) as stage:
        report = await stage.load("u1,gold,1", "u2,silver,2", name="lost.csv", settle=SETTLE)
        assert report["rows"]["failed"] == 2
        yield stage, report["job"]


@virtually
@pytest.mark.parametrize(
    ("later", "header", "rows", "told"),
    [
        # What a later export says of u1, and what is left of it.
        ("u1,bronze,9", "id,tier,ltv", [("u2", "silver", "2")], "overtaken by later rows and left alone: u1"),
        ("u1,bronze,", "id,tier,ltv", [("u1", "", "1"), ("u2", "silver", "2")], "of those, 1 row has values"),
        ("u1,bronze", "id,tier", [("u1", "", "1"), ("u2", "silver", "2")], "of those, 1 row has values"),
        ("u1,7,bronze", "id,ltv,tier", [("u2", "silver", "2")], "left alone: u1"),
        ("u1,x", "id,other", [("u1", "gold", "1"), ("u2", "silver", "2")], "2 rows of job"),
        ("u3,x,3", "id,tier,ltv", [("u1", "gold", "1"), ("u2", "silver", "2")], "2 rows of job"),
    ],
)
async def test_values_that_no_later_row_has_are_sent(
    tmp_path: Path, later: str, header: str, rows: list[tuple[str, str, str]], told: str
) -> None:
    async with lost(tmp_path) as (stage, job):
        await stage.load(later, name="later.csv", header=header, settle=SETTLE)
        answer = await retry(stage, job)
        assert told in answer.told
        assert answer.job is not None
        export = stage.state / "jobs" / answer.job / "retry.csv"
        quoted = [",".join(f'"{cell}"' for cell in row) for row in rows]
        assert export.read_text().splitlines()[1:] == quoted
        (report,) = await go_on(stage)
        assert (report["state"], report["rows"]["confirmed"]) == ("done", len(rows))
        stage.sandbox.apply_all()
        names = header.split(",")[1:]
        newer = {name: cell for name, cell in zip(names, later.split(",")[1:], strict=False) if cell}
        expected = {"u1": {"tier": "gold", "ltv": "1"}, "u2": {"tier": "silver", "ltv": "2"}}
        expected.setdefault(later.split(",")[0], {}).update(newer)
        assert stage.sandbox.profiles() == expected


@virtually
async def test_what_a_later_row_carried_is_sent_already(tmp_path: Path) -> None:
    """It waited for the lost one, of which nobody knows, and took its values along."""
    async with staged(tmp_path, faults=FaultPlan(statuses={1: Fault.STATUS_LOST})) as stage:
        report = await stage.load("u1,gold,1", name="lost.csv", settle=SETTLE)
        assert report["rows"]["unconfirmed"] == 1
        await stage.load("u1,bronze,", name="later.csv", settle=SETTLE)
        told, reports = await send_again(stage, report["job"])
        assert (reports, "left alone: u1" in told) == ([], True)
        stage.sandbox.apply_all()
        assert stage.sandbox.profiles() == {"u1": {"tier": "bronze", "ltv": "1"}}


@virtually
async def test_values_overtaken_one_after_the_other_add_up(tmp_path: Path) -> None:
    async with lost(tmp_path) as (stage, job):
        for number, (later, header) in enumerate([("u1,bronze", "id,tier"), ("u1,9", "id,ltv")]):
            await stage.load(later, name=f"later{number}.csv", header=header, settle=SETTLE)
        told, _ = await send_again(stage, job)
        assert "1 row of job" in told
        assert "left alone: u1" in told


@virtually
async def test_what_a_retry_has_sent_is_not_sent_by_the_next(tmp_path: Path) -> None:
    async with lost(tmp_path) as (stage, job):
        _, (first,) = await send_again(stage, job)
        assert first["rows"]["confirmed"] == 2
        for each in (job, first["job"]):
            told, reports = await send_again(stage, each)
            assert "nothing to send again" in told
            assert "overtaken" not in told
            assert reports == []


@virtually
async def test_what_a_retry_has_lost_is_sent_by_the_next(tmp_path: Path) -> None:
    """Its rows are no later ones: they overtake nothing. It does not matter which of both jobs is named."""
    for named in ("first", "latest"):
        (tmp_path / named).mkdir()
        async with lost(tmp_path / named, 2, 3) as (stage, job):
            _, (first,) = await send_again(stage, job)
            assert first["rows"]["failed"] == 2
            told, (second,) = await send_again(stage, job if named == "first" else first["job"])
            assert "overtaken" not in told
            assert second["rows"]["failed"] == 2
            _, (third,) = await send_again(stage, job if named == "first" else second["job"])
            assert third["rows"]["confirmed"] == 2


@virtually
async def test_what_comes_between_two_retries_overtakes_both(tmp_path: Path) -> None:
    async with lost(tmp_path, 2) as (stage, job):
        _, (first,) = await send_again(stage, job)
        assert first["rows"]["failed"] == 2
        await stage.load("u1,bronze,9", name="later.csv", settle=SETTLE)
        told, (second,) = await send_again(stage, job)
        assert "left alone: u1" in told
        assert second["rows"]["read"] == 1
        stage.sandbox.apply_all()
        assert stage.sandbox.profiles()["u1"] == {"tier": "bronze", "ltv": "9"}


@virtually
async def test_a_retry_of_an_older_job_overtakes_nothing_of_a_newer_one(tmp_path: Path) -> None:
    """It sends older values than those, though it comes behind them."""
    async with lost(tmp_path, 2) as (stage, older):
        newer = await stage.load("u1,bronze,", name="newer.csv", settle=SETTLE)
        assert newer["rows"]["failed"] == 1
        await send_again(stage, older)
        told, (report,) = await send_again(stage, newer["job"])
        assert "overtaken" not in told
        assert report["rows"]["confirmed"] == 1


@virtually
async def test_values_are_sent_as_they_were(tmp_path: Path) -> None:
    """What the configuration does to cells was done to them once."""
    faults = FaultPlan(statuses={1: Fault.STATUS_LOST})
    export = {"trim": "none", "null_values": [], "id_placeholders": [], "number_ids": "send", "on_delimiter": "encode"}
    async with staged(tmp_path, faults=faults) as stage:
        line = 'null," a, b ",\\N'
        report = await stage.load(line, settle=SETTLE, export=export)
        assert report["rows"]["unconfirmed"] == 1
        _, (again,) = await send_again(stage, report["job"])
        assert again["rows"]["confirmed"] == 1, again


class TestBesideOtherJobs:
    @virtually
    async def test_it_is_entered_and_waits_for_those_before_it(self, tmp_path: Path) -> None:
        async with lost(tmp_path) as (stage, job):
            stopped = await stage.load("u5,x,1", name="other.csv", stop_when=lambda _: True, settle=SETTLE)
            answer = await retry(stage, job)
            assert answer.waits_for == (stopped["job"],)
            assert f"before it have ended, with `load` or `serve`: {stopped['job']}." in answer.told
            assert await go_on(stage) == []
            with stage.ledger() as ledger:
                assert [each.job_id for each in ledger.jobs(unfinished_only=True)] == [stopped["job"], answer.job]

    @virtually
    async def test_nothing_to_send_is_said_and_nothing_is_run(self, tmp_path: Path) -> None:
        async with lost(tmp_path) as (stage, job):
            await send_again(stage, job)
            stopped = await stage.load("u5,x,1", name="other.csv", stop_when=lambda _: True, settle=SETTLE)
            answer = await retry(stage, job)
            assert (answer.job, answer.waits_for) == (None, ())
            with stage.ledger() as ledger:
                assert [each.job_id for each in ledger.jobs(unfinished_only=True)] == [stopped["job"]]

    @virtually
    async def test_one_that_was_cut_off_is_gone_on_with_and_not_entered_twice(self, tmp_path: Path) -> None:
        async with lost(tmp_path) as (stage, job):
            first = await retry(stage, job)
            await stage.load("u5,x,1", name="other.csv", stop_when=lambda _: True, may_fail=True, settle=SETTLE)
            again = await retry(stage, job)
            assert (again.job, again.waits_for) == (first.job, ())
            assert "already" in again.told
            reports = await go_on(stage)
            # And the other one, which comes behind it, is left alone.
            assert [report["job"] for report in reports] == [first.job]

    @virtually
    async def test_one_that_was_abandoned_makes_room_for_another(self, tmp_path: Path) -> None:
        async with lost(tmp_path) as (stage, job):
            first = await retry(stage, job)
            assert first.job is not None
            async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
                state.ledger.abandon_job(first.job)
            second = await retry(stage, job)
            assert second.job not in (None, first.job)
