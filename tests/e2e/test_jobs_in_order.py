"""Several jobs in one state directory: unfinished ones and retries run in their order, so that nothing overtakes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio

from pipeline.core.batches.lifecycle import GivenUp, InDoubt
from pipeline.edges.store.mailbox import Request
from pipeline.edges.store.state import open_state
from pipeline.jobs.control import carry_out
from pipeline.jobs.one_shot import load_exports
from pipeline.sandbox import Fault, FaultPlan
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Tenant
from tests.simulation.holder import ask
from tests.simulation.host import virtual_clock
from tests.simulation.nobody import to_nobody
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually
from tests.tools.support import until, write_export

#: Long enough for rows to be held while a load is paused for half a second.
QUICK = {"ambiguous_hold_s": 2.0, "poll_first_s": 0.05, "poll_max_s": 0.2}


@dataclass(frozen=True, slots=True)
class Jobs:
    """Loads into one state directory, beside which things are asked for."""

    at: Stage
    settings: Settings

    async def load(self, *names: str) -> list[dict[str, Any]]:
        exports = [self.at.directory / f"{name}.csv" for name in names]
        loading = load_exports(exports, Tenant.of_one(self.settings), host=self.at.host)
        return [report.as_json() async for report in loading]

    def are_entered(self) -> bool:
        """Are there jobs that have not ended?"""
        with self.at.ledger() as ledger:
            return bool(ledger.jobs(unfinished_only=True))

    async def do(self, command: str, job: str | None = None) -> str:
        """Where nobody holds the directory."""
        state = self.settings.state
        async with open_state(state.directory, "demo", self.at.host, min_free_bytes=0) as opened:
            return await carry_out(Request("", command, job), opened, running=None)

    async def ask(self, command: str, job: str | None = None) -> str:
        """The holder."""
        return await ask(self.settings.state.directory, command, job)

    async def stop_before_anything_is_sent(self, name: str) -> None:
        await self.do("pause")
        with anyio.move_on_after(0.5):
            await self.load(name)
        await self.do("resume")


@asynccontextmanager
async def jobs_with_one_lost(directory: Path, **sections: dict[str, Any]) -> AsyncIterator[tuple[Jobs, str]]:
    """A job of which the row of `u1` is unconfirmed, because its status was lost; and exports to come."""
    async with staged(directory, faults=FaultPlan(statuses={1: Fault.STATUS_LOST})) as at:
        jobs = Jobs(at, at.settings(settle=QUICK, **sections))
        write_export(directory / "lost.csv", "u1,OLD,1")
        write_export(directory / "newer.csv", "u1,NEW,2")
        write_export(directory / "other.csv", "u7,z,1")
        (report,) = await jobs.load("lost")
        assert report["rows"]["unconfirmed"] == 1
        yield jobs, report["job"]


@virtually
async def test_a_retry_leaves_alone_what_an_unfinished_job_overtakes(tmp_path: Path) -> None:
    async with jobs_with_one_lost(tmp_path) as (jobs, lost):
        await jobs.stop_before_anything_is_sent("newer")
        assert "1 row of job" in await jobs.do("retry", lost)
        newer, retry = await jobs.load()
        jobs.at.sandbox.apply_all()
        assert (newer["rows"]["confirmed"], retry["rows"]["read"]) == (1, 0)
        assert jobs.at.sandbox.profiles()["u1"] == {"tier": "NEW", "ltv": "2"}


@virtually
async def test_a_retry_that_was_asked_for_during_a_run_leaves_alone_what_its_exports_overtake(tmp_path: Path) -> None:
    async with jobs_with_one_lost(tmp_path, batch={"max_rows": 1}, upload={"concurrency": 1}) as (jobs, lost):
        # With so many batches it is not read to its end, and the next export waits for that. The retry is asked for
        # before anything of that one is read, and comes behind it all the same.
        write_export(tmp_path / "other.csv", *(f"v{number},z,1" for number in range(9)))
        await jobs.do("pause")

        async def retry_and_resume() -> None:
            with anyio.fail_after(10):
                await until(jobs.are_entered)
                await jobs.ask("retry", lost)
                await jobs.ask("resume")

        reports: list[dict[str, Any]] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(retry_and_resume)
            reports += await jobs.load("other", "newer")
        jobs.at.sandbox.apply_all()
        assert [report["export"]["name"] for report in reports] == ["other.csv", "newer.csv", "retry.csv"]
        assert [report["rows"]["read"] for report in reports] == [9, 1, 0]
        assert jobs.at.sandbox.profiles()["u1"] == {"tier": "NEW", "ltv": "2"}


@virtually
async def test_a_retry_is_gone_on_with_before_an_export_that_comes_after_it(tmp_path: Path) -> None:
    async with jobs_with_one_lost(tmp_path) as (jobs, lost):
        await jobs.do("retry", lost)
        await jobs.stop_before_anything_is_sent("newer")
        reports = await jobs.load("newer")
        assert [report["export"]["name"] for report in reports] == ["retry.csv", "newer.csv"]
        assert [report["state"] for report in reports] == ["done", "done"]
        assert await jobs.load() == []
        assert jobs.at.sandbox.profiles()["u1"] == {"tier": "NEW", "ltv": "2"}


@virtually
async def test_a_job_that_is_abandoned_while_it_waits_is_not_sent(tmp_path: Path) -> None:
    async with jobs_with_one_lost(tmp_path) as (jobs, lost):
        told = await jobs.do("retry", lost)
        retry = told.split("again as job ")[1].rstrip(".").split(";")[0]
        await jobs.do("abandon", retry)
        (report,) = await jobs.load()
        assert (report["job"], report["state"], report["rows"]["confirmed"]) == (retry, "failed", 0)


async def stop_after_the_first_attempt(at: Stage, export: Path, settings: Settings) -> None:
    """The next one would come a minute later."""
    async with anyio.create_task_group() as tasks:

        async def load() -> None:
            host = replace(at.host, clock=virtual_clock(random=lambda: 0.9))
            _ = [report async for report in load_exports([export], Tenant.of_one(settings), host=host)]

        tasks.start_soon(load)
        await until(lambda: at.sandbox.calls["posts"])
        # Until what came of it is written down.
        await anyio.sleep(1.0)
        tasks.cancel_scope.cancel()


@virtually
async def test_target_away_after_an_attempt_in_doubt_ends_the_run_too(tmp_path: Path) -> None:
    """The attempt is open, and stays so: the next run goes on."""
    export = write_export(tmp_path / "export.csv", "u1,a,1")
    async with staged(tmp_path, faults=FaultPlan(posts={1: Fault.RESET_AFTER_BODY_LOST})) as at:
        begun = at.settings(settle=QUICK, upload={"backoff_s": 60.0, "backoff_max_s": 60.0})
        await stop_after_the_first_attempt(at, export, begun)
        settings = at.settings(settle=QUICK, upload={"give_up_after_s": 0.5, "backoff_s": 0.1})
        away = replace(at.host, connect=to_nobody)
        (report,) = [report.as_json() async for report in load_exports([], Tenant.of_one(settings), host=away)]
        assert (report["state"], report["exit_code"], report["rows"]["pending"]) == ("unfinished", 69, 1)
        async with open_state(at.state, "demo", at.host, min_free_bytes=0) as state:
            (batch,) = state.ledger.batches()
        assert any(isinstance(fact, InDoubt) for fact in batch.facts)
        assert not any(isinstance(fact, GivenUp) for fact in batch.facts)


@virtually
async def test_an_abandoned_job_does_not_repeat_an_attempt_in_doubt(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export.csv", "u1,a,1")
    async with staged(tmp_path, faults=FaultPlan(posts={1: Fault.RESET_AFTER_BODY_LOST})) as at:
        begun = at.settings(settle=QUICK, upload={"backoff_s": 60.0, "backoff_max_s": 60.0})
        jobs = Jobs(at, begun)
        await stop_after_the_first_attempt(at, export, begun)
        async with open_state(at.state, "demo", at.host, min_free_bytes=0) as state:
            (job,) = state.ledger.jobs()
        await jobs.do("abandon", job.job_id)
        (report,) = await jobs.load()
        assert (report["rows"]["unconfirmed"], at.sandbox.calls["posts"]) == (1, 1)
        assert report["state"] != "unfinished"
