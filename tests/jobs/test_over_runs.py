"""What the report of a job counts over all of its runs."""

import asyncio
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from pipeline.cli.watch import what_it_waits_for
from pipeline.edges.target.call_queue import CallQueue
from pipeline.jobs.delivery.send_limits import hold_ups
from pipeline.jobs.job import Job
from tests.simulation.staged import staged
from tests.simulation.virtually import virtually


@virtually
async def test_calls_that_were_refused_below_our_share(tmp_path: Path) -> None:
    rows = [f"u{number},gold,{number}" for number in range(120)]
    sections: dict[str, Any] = {"target": {"calls_per_minute": 45}, "batch": {"max_rows": 2}}
    async with staged(tmp_path, calls_per_minute=50, neighbour_calls=40) as stage:
        with capture_logs() as logged:
            first = await stage.load(*rows, stop_when=lambda job: len(job.progress.book.settled) > 20, **sections)
        of_first = sum(line["event"] == "budget_shared" for line in logged)
        with capture_logs() as logged:
            done = await stage.load(**sections)
        of_second = sum(line["event"] == "budget_shared" for line in logged)
    assert first["warnings"] == {"budget_shared": of_first}
    assert of_first
    assert done["warnings"] == {"budget_shared": of_first + of_second}


@virtually
async def test_a_shared_budget_is_told_while_calls_go_on(tmp_path: Path) -> None:
    """`status` and the progress line say so, and the latter says what goes on besides."""
    rows = [f"u{number},gold,{number}" for number in range(120)]
    sections: dict[str, Any] = {"target": {"calls_per_minute": 45}, "batch": {"max_rows": 2}}
    words = "fewer calls are made, since somebody else uses the budget of the account too"
    told: set[str] = set()

    async def watch(job: Job, calls: CallQueue) -> None:
        while True:
            if hold_ups(calls, job.clock).is_slowed_only:
                told.add(what_it_waits_for(job, calls))
            await asyncio.sleep(0.5)

    async with staged(tmp_path, calls_per_minute=50, neighbour_calls=40) as stage:
        await stage.load_all(stage.export("export.csv", *rows), watch=watch, **sections)
    assert told
    assert all(each.endswith(words) for each in told)
    assert any(each.startswith("Target is applying") for each in told)
