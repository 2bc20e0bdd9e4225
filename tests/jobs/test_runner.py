"""Other settings, taken while a job runs: those of [settle] and the budget of calls count at once."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack

import anyio

from pipeline.core.batches.report import Report
from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.target.call_queue import CallQueue
from pipeline.jobs.command import Command
from pipeline.jobs.ending import Ending
from pipeline.jobs.job import Job
from pipeline.jobs.one_shot import Loads
from pipeline.jobs.runner import Runner, open_runner
from pipeline.settings.tenants import DEFAULT_ROUTE, Tenant
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

#: Longer than any of these jobs takes (seconds).
LONG_S = 50_000.0
SETTLE = {"deadline_s": LONG_S, "ambiguous_hold_s": LONG_S, "poll_first_s": 1.0, "poll_max_s": 5.0}


def tenant(stage: Stage, **settle: float) -> Tenant:
    """A batch of one row, followed and held for long but for what is given here."""
    return Tenant.of_one(stage.settings(batch={"max_rows": 1}, settle={**SETTLE, **settle}))


async def load_and_take(
    stage: Stage, *lines: str, when: Callable[[Job], object] | None, then: Tenant
) -> tuple[Report, float]:
    """Load these lines, and take other settings as soon as that holds, or before the job begins; how long it took."""
    host, ending = stage.host, Ending()
    taken = anyio.Event()
    runners: list[Runner] = []
    reports: list[Report] = []

    async def watch(job: Job, _: CallQueue) -> None:
        if when is not None and not taken.is_set():
            await job.ending.changed.until(lambda: when(job))
            runners[0].take(then)
            taken.set()
        await anyio.sleep_forever()

    began = asyncio.get_running_loop().time()
    async with open_runner(tenant(stage), host, ending, watch) as runner:
        runners.append(runner)
        if when is None:
            runner.take(then)
        command = Command((stage.export("export.csv", *lines),), DEFAULT_ROUTE, again=False)
        loads = Loads(runner, command, reports.append)
        assert await runner.run_jobs(loads.next_job, loads.note_ended) is None
    (report,) = reports
    return report, asyncio.get_running_loop().time() - began


def is_followed(job: Job) -> bool:
    return bool(job.progress.batches_under_way)


#: The second row of an id waits until the batch with the first is released.
HELD = ("u1,gold,1", "u2,gold,1", "u1,silver,2")
#: A sandbox that never applies anything.
NEVER: dict[str, Any] = {"apply_min_s": 10 * LONG_S, "apply_max_s": 10 * LONG_S}


@virtually
async def test_another_deadline_counts_for_what_is_followed_now_and_is_what_is_told(tmp_path: Path) -> None:
    async with staged(tmp_path, **NEVER) as stage:
        report, seconds = await load_and_take(
            stage, "u1,gold,1", when=is_followed, then=tenant(stage, deadline_s=300.0)
        )
        (batch,) = report.batches
        assert batch.why == "not complete 300 s after it was accepted"
        assert report.rows.unconfirmed == 1
        assert 300.0 <= seconds < 400.0


@virtually
async def test_one_that_is_taken_before_a_job_counts_for_it(tmp_path: Path) -> None:
    async with staged(tmp_path, **NEVER) as stage:
        report, seconds = await load_and_take(stage, "u1,gold,1", when=None, then=tenant(stage, deadline_s=300.0))
        assert [batch.why for batch in report.batches] == ["not complete 300 s after it was accepted"]
        assert 300.0 <= seconds < 400.0


@virtually
async def test_another_hold_counts_for_what_is_settled_from_now_on(tmp_path: Path) -> None:
    """Each batch is given up, and may be applied all the same: so it holds its ids."""
    async with staged(tmp_path, **NEVER) as stage:
        then = tenant(stage, deadline_s=300.0, ambiguous_hold_s=1_000.0)
        report, seconds = await load_and_take(stage, *HELD, when=is_followed, then=then)
        assert [batch.state for batch in report.batches] == ["unconfirmed"] * 3
        # Followed, held, followed.
        assert 1_600.0 <= seconds < 1_800.0


@virtually
async def test_a_hold_that_is_taken_before_a_job_counts_for_it(tmp_path: Path) -> None:
    async with staged(tmp_path, **NEVER) as stage:
        then = tenant(stage, deadline_s=300.0, ambiguous_hold_s=1_000.0)
        _, seconds = await load_and_take(stage, *HELD, when=None, then=then)
        assert 1_600.0 <= seconds < 1_800.0


@virtually
async def test_a_hold_that_is_taken_while_a_job_takes_up_what_is_in_flight_counts_for_it(tmp_path: Path) -> None:
    then: list[Tenant] = []
    runners: list[Runner] = []

    async with staged(tmp_path, **NEVER) as stage:

        async def run_blocking(function: Callable[[Unpack[Arguments]], T], /, *args: *Arguments) -> T:
            if then and getattr(getattr(function, "func", None), "__name__", "") == "next_post_number":
                runners[0].take(then.pop())
            return await stage.host.run_blocking(function, *args)

        then.append(tenant(stage, deadline_s=300.0, ambiguous_hold_s=1_000.0))
        reports: list[Report] = []
        began = asyncio.get_running_loop().time()
        host = replace(stage.host, run_blocking=run_blocking)
        async with open_runner(tenant(stage), host, Ending()) as runner:
            runners.append(runner)
            command = Command((stage.export("export.csv", *HELD),), DEFAULT_ROUTE, again=False)
            loads = Loads(runner, command, reports.append)
            assert await runner.run_jobs(loads.next_job, loads.note_ended) is None
        assert not then
        assert 1_600.0 <= asyncio.get_running_loop().time() - began < 1_800.0


async def run_until(stage: Stage, runner: Runner, name: str, *lines: str) -> list[Report]:
    """Run what is unfinished in this process, and then an export of these lines."""
    reports: list[Report] = []
    loads = Loads(runner, Command((stage.export(name, *lines),), DEFAULT_ROUTE, again=False), reports.append)
    await runner.run_jobs(loads.next_job, loads.note_ended)
    return reports


@virtually
async def test_the_hold_of_a_job_that_has_ended_goes_on_over_the_runs_of_a_process(tmp_path: Path) -> None:
    settings, time = {"deadline_s": 300.0, "ambiguous_hold_s": 1_000.0}, asyncio.get_running_loop().time
    async with staged(tmp_path, **NEVER) as stage, open_runner(tenant(stage, **settings), stage.host, Ending()) as run:
        (lost,) = await run_until(stage, run, "first.csv", "u1,gold,1")
        assert lost.rows.unconfirmed == 1
        settled_at = time()
        await asyncio.sleep(600.0)
        (second,) = await run_until(stage, run, "second.csv", "u1,silver,2")
        assert second.rows.unconfirmed == 1
        # The rest of the hold, and the deadline of the second batch.
        assert 1_250.0 <= time() - settled_at < 1_400.0


@virtually
async def test_a_job_that_is_stopped_again_and_again_does_not_begin_its_hold_anew(tmp_path: Path) -> None:
    """Another one, which Target refuses, stops it long before its hold is over."""
    settings, time = {"deadline_s": 300.0, "ambiguous_hold_s": 1_000.0}, asyncio.get_running_loop().time

    async def stop(job: Job, _: CallQueue) -> None:
        await asyncio.sleep(400.0)
        raise FatalError("refused", exit_code=ExitCode.REFUSED_BY_TARGET)

    async with staged(tmp_path, **NEVER) as stage:
        opened = open_runner(tenant(stage, **settings), stage.host, Ending(), stop)
        async with opened as runner:
            runs = 0
            while (report := (await run_until(stage, runner, "export.csv", *HELD))[-1]).state == "unfinished":
                runs += 1
                assert runs < 20, "it makes no progress"
        assert report.rows.unconfirmed == 3
        # Followed, held, followed, in pieces of 400 s.
        assert 1_600.0 <= time() < 2_500.0


@virtually
async def test_another_plan_says_when_statuses_are_asked_for(tmp_path: Path) -> None:
    async with staged(tmp_path, apply_min_s=20.0, apply_max_s=20.0) as stage:
        then = tenant(stage, poll_first_s=3_000.0, poll_max_s=3_000.0)
        report, seconds = await load_and_take(stage, "u1,gold,1", when=is_followed, then=then)
        assert report.rows.confirmed == 1
        assert seconds >= 2_900.0


@virtually
async def test_whoever_waits_is_told(tmp_path: Path) -> None:
    """A pause by a time window that is no more holds nobody up until it is looked at the time of day again."""
    async with staged(tmp_path) as stage, open_runner(tenant(stage), stage.host, ending := Ending()) as runner:
        told: list[bool] = []

        async def wait() -> None:
            await ending.changed.next(within_s=LONG_S)
            told.append(True)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(1.0)
            runner.take(tenant(stage))
        assert told
        assert asyncio.get_running_loop().time() < 10.0
