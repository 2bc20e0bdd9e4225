"""What a process counts of its loads is what their reports say, and what the sandbox got."""

from pathlib import Path
from typing import Any

from pipeline.core.display.counts import ROW_CLASSES, Counts
from pipeline.sandbox import Fault, FaultPlan
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually
from tests.tools.support import ONE_BY_ONE, SIX_ROWS

SLOWLY: dict[str, Any] = ONE_BY_ONE


def assert_counted(counts: Counts, *reports: dict[str, Any]) -> None:
    """The rows of these reports, each of them once."""
    for name in ROW_CLASSES:
        assert counts.rows["default", name] == sum(report["rows"][name] for report in reports), name
    assert counts.read == {"default": sum(report["rows"]["read"] for report in reports)}


def counts_of(stage: Stage) -> Counts:
    return stage.host.counts["demo"]


@virtually
async def test_a_load(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        report = await stage.load(*SIX_ROWS, ",no,id", "u1,again,", export={"max_rejects": 1}, **SLOWLY)
        counts = counts_of(stage)
        assert_counted(counts, report)
        assert counts.rejects == {("default", "local.empty_id"): 1}
        assert counts.runs == {("default", "done"): 1}
        assert counts.done_at == {"default": report["finished_at"]}
        assert counts.settled == {"complete": len(stage.posts)}
        assert counts.posts == {"accepted": len(stage.posts)}
        assert counts.posted_bytes == sum(batch["bytes"] for batch in report["batches"])
        assert counts.statuses["complete"] >= len(stage.posts)
        assert counts.posts.total() + counts.statuses.total() == report["calls"]
        for durations in (counts.upload_s, counts.completion_s):
            assert durations.up_to[-1][1] == len(stage.posts)


@virtually
async def test_runs_of_one_process(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        first = await stage.load(*SIX_ROWS, stop_when=lambda job: job.progress.book.settled, **SLOWLY)
        assert 0 < first["rows"]["confirmed"] < 6
        assert counts_of(stage).unfinished == {first["job"]: "unfinished"}
        last = await stage.load(*SIX_ROWS, **SLOWLY)
        assert last["job"] == first["job"]
        assert_counted(counts_of(stage), last)
        assert counts_of(stage).runs == {("default", "unfinished"): 1, ("default", "done"): 1}
        assert counts_of(stage).unfinished == {}


@virtually
async def test_another_process_counts_only_what_it_did(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        first = await stage.load(*SIX_ROWS, stop_when=lambda job: job.progress.book.settled, **SLOWLY)
        before = counts_of(stage).rows["default", "confirmed"]
        assert before == first["rows"]["confirmed"]
        del stage.host.counts["demo"]
        last = await stage.load(*SIX_ROWS, **SLOWLY)
        assert counts_of(stage).rows == {("default", "confirmed"): last["rows"]["confirmed"] - before}


@virtually
async def test_answers_that_are_none(tmp_path: Path) -> None:
    faults = FaultPlan(posts={1: Fault.HTTP_500, 2: Fault.THROTTLE_503})
    async with staged(tmp_path, faults=faults) as stage:
        report = await stage.load(*SIX_ROWS)
        counts = counts_of(stage)
        assert_counted(counts, report)
        assert (counts.posts["ambiguous"], counts.posts["throttled"]) == (1, 1)
        assert counts.upload_s.up_to[-1][1] == counts.posts["accepted"]


@virtually
async def test_an_export_that_fails(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        report = await stage.load("u1,gold,1", ",no,id", ",no,id", may_fail=True, export={"max_rejects": 0})
        assert report["state"] == "failed"
        assert_counted(counts_of(stage), report)
        assert counts_of(stage).runs == {("default", "failed"): 1}
        assert counts_of(stage).done_at == {}
