"""Loads that are asked to end, in virtual time: POSTs under way get their grace, and what is complete stays so."""

import asyncio
import signal
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from pipeline.core.batches.report import Report
from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.drop.claim import Claim
from pipeline.core.drop.manifest import Manifest
from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.exports import Identity, Parts, identify
from pipeline.edges.store.records import JobRecord
from pipeline.edges.target.call_queue import CallQueue
from pipeline.jobs.ending import Ending
from pipeline.jobs.job import Job
from pipeline.jobs.runner import open_runner
from pipeline.sandbox import Fault, FaultPlan
from pipeline.settings.tenants import Tenant
from tests.simulation.exports import File, TextExport
from tests.simulation.staged import staged
from tests.simulation.virtually import virtually
from tests.tools.support import profiles_after


@virtually
async def test_rows_that_are_held_when_the_process_ends_are_sent_by_the_next_run(tmp_path: Path) -> None:
    """All batches are settled, and nothing but the hold of the first one is waited for."""
    lines = ("u1,gold,1", "u2,gold,2", "u3,gold,3", "u1,silver,4")
    one_by_one = {"max_rows": 1}
    async with staged(tmp_path, faults=FaultPlan(posts={1: Fault.HTTP_500_TAKEN})) as stage:
        export = stage.export("export.csv", *lines)
        holding = {"ambiguous_hold_s": 3_600.0}
        asyncio.get_running_loop().call_later(1_000.0, signal.raise_signal, signal.SIGTERM)
        (stopped,) = await stage.load_all(export, batch=one_by_one, settle=holding)
        assert (stopped["state"], stopped["error"]) == ("unfinished", "stopped by SIGTERM.")
        (done,) = await stage.load_all(export, batch=one_by_one, settle=holding)
        assert (done["job"], done["state"], done["rows"]["confirmed"]) == (stopped["job"], "done", 4)
        stage.sandbox.apply_all()
        assert stage.sandbox.profiles() == profiles_after(*lines)


@virtually
async def test_a_signal_ends_a_command_that_still_looks_if_its_export_was_loaded(tmp_path: Path) -> None:
    """The digest of a large export takes minutes; no job was entered, and the next run begins."""

    @asynccontextmanager
    async def never(path: Path, _encoding: str | None = None, _parts: Parts = (), /) -> AsyncIterator[TextExport]:
        await anyio.sleep_forever()
        yield TextExport(path, [File(path, "", Identity(0, 0))])

    async with staged(tmp_path) as stage:
        export = stage.export("export.csv", "u1,gold,1")
        await stage.load_all(export)
        asyncio.get_running_loop().call_later(5.0, signal.raise_signal, signal.SIGTERM)
        slow = replace(stage, host=replace(stage.host, open_export=never))
        with pytest.raises(FatalError, match="stopped by SIGTERM") as caught:
            await slow.load_all(export)
        assert caught.value.exit_code is ExitCode.UNFINISHED
        assert asyncio.get_running_loop().time() < 100.0
        (report,) = await stage.load_all(export)
        assert report["state"] == "skipped"


@virtually
async def test_a_time_limit_that_passes_in_the_grace_of_a_signal_cuts_off_no_post(tmp_path: Path) -> None:
    """A second signal does; but nobody asks for anything when `--wait` is over."""
    slow = FaultPlan(posts={1: Fault.SLOW}, slow_bytes_s=2.0)
    async with staged(tmp_path, faults=slow, apply_min_s=1_000.0, apply_max_s=1_000.0) as stage:
        asyncio.get_running_loop().call_later(5.0, signal.raise_signal, signal.SIGTERM)
        export = stage.export("export.csv", "u1,gold,1")
        (report,) = await stage.load_all(export, wait_s=10.0, service={"grace_s": 25.0})
        assert (report["state"], report["exit_code"]) == ("unfinished", 75)
        assert len(stage.posts) == 1
        with stage.ledger() as ledger:
            (record,) = ledger.batches()
        assert record.accepted_at is not None
        assert 15.0 < report["seconds"] < 25.0


@virtually
async def test_a_dry_run_that_is_complete_when_the_process_ends_was_not_abandoned(tmp_path: Path) -> None:
    ending, reports = Ending(), []

    async def stop_at_the_end(job: Job, calls: CallQueue) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ending.raise_to(EndStage.LET_POSTS_END, FatalError("stopped", exit_code=ExitCode.UNFINISHED))

    async with staged(tmp_path) as stage:
        export = stage.export("export.csv", "u1,gold,1")
        claim = Claim("drop", "export.csv", "export.ready", 0, 0, Manifest(dry_run=True), is_taken=True)
        settings = stage.settings()
        values = settings.export.model_dump(mode="json")
        now = datetime(2026, 11, 23, tzinfo=UTC)
        left = [JobRecord.new("job", export, await identify(export), values, now, claim=claim)]

        async with open_runner(Tenant.of_one(settings), stage.host, ending, stop_at_the_end) as runner:

            async def next_job(_: Collection[int]) -> JobRecord | None:
                return await runner.state.in_turn(runner.state.ledger.begin_job, left.pop()) if left else None

            async def note_ended(_: JobRecord, report: Report) -> None:
                reports.append(report)

            assert await runner.run_jobs(next_job, note_ended) is None
        assert [(report.state, report.error, report.rows.unsent) for report in reports] == [("skipped", None, 1)]
