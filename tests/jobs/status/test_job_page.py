"""A job as its page shows it, read beside the process that writes it: running, waiting, stopped and ended."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.core.errors import PipelineError
from pipeline.edges.views.frame import Site
from pipeline.edges.views.job_view import JobView
from pipeline.edges.views.page import job_page
from pipeline.edges.views.verdict import verdict
from pipeline.jobs.job import Job
from pipeline.jobs.status.job_page import job_view
from pipeline.jobs.status.overview import overview
from pipeline.jobs.status.tenants import statuses
from pipeline.sandbox import Fault, FaultPlan
from pipeline.settings.tenants import Configuration
from tests.edges.views.pages import Seen, what_is_wrong
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually
from tests.tools.support import CLOSED, settings_for

ONE_BY_ONE = {"max_rows": 1}
MENDABLE = {"max_rejects": "100%"}


def view(stage: Stage, job: str) -> JobView:
    now = datetime.now(UTC) + timedelta(days=400)
    return job_view(Configuration.of_one(stage.settings()), job, now)


def text_of(shown: JobView) -> str:
    page = job_page(shown, Site(is_overview=False))
    assert what_is_wrong(page) == []
    assert "canary" not in page, "no value and no id is on a page"
    return Seen(page).text


@virtually
async def test_a_job_that_has_ended_shows_its_report(tmp_path: Path) -> None:
    async with staged(tmp_path, faults=FaultPlan(posts={1: Fault.HTTP_500_TAKEN})) as stage:
        report = await stage.load("u1,canary1,1", "u2,canary2,2", ",canary3,3", export=MENDABLE, batch=ONE_BY_ONE)
        shown = view(stage, report["job"])
        assert shown.report.as_json() == report
        assert (shown.state, shown.has_ended, shown.waits_for) == ("done", True, ())
        assert [track.state for track in shown.tracks] == ["complete", "complete"]
        assert [track.attempts for track in shown.tracks] == [2, 1]
        assert all(track.settled_at for track in shown.tracks)
        assert any("mend the rejected rows" in task for task in shown.tasks)
        assert "line 4" in text_of(shown)


@virtually
async def test_a_job_that_was_stopped_shows_what_its_report_would_say(tmp_path: Path) -> None:
    async with staged(tmp_path, apply_min_s=60.0, apply_max_s=60.0) as stage:
        report = await stage.load(
            *("u1,canary1,1", ",canary2,2", "u3,canary3,3"),
            stop_when=lambda job: job.progress.batches_under_way == 2,
            export=MENDABLE,
            batch=ONE_BY_ONE,
        )
        shown = view(stage, report["job"])
        assert (shown.state, shown.has_ended) == ("unfinished", False)
        assert [track.state for track in shown.tracks] == ["accepted", "accepted"]
        rows = shown.report.rows
        assert (rows.read, rows.rejected, rows.pending, rows.confirmed) == (3, 1, 2, 0)
        assert shown.report.rejects.first_lines == {"local.empty_id": 3}
        assert shown.report.calls == report["calls"]
        assert shown.waits_for[0].startswith("Target to apply 2 batches")
        text = text_of(shown)
        assert "profile-pipeline serve --config FILE goes on with it" in text
        assert "Its run ended unfinished" in text


@virtually
async def test_a_job_that_runs(tmp_path: Path) -> None:
    async with staged(tmp_path, apply_min_s=60.0, apply_max_s=60.0) as stage:
        seen: list[JobView] = []

        def is_seen(job: Job) -> bool:
            if job.progress.batches_under_way == 2:
                seen.append(view(stage, job.record.job_id))
            return bool(seen)

        await stage.load("u1,canary1,1", "u2,canary2,2", stop_when=is_seen, batch=ONE_BY_ONE)
        (shown,) = seen
        assert shown.state == "running"
        assert shown.tasks == ()
        text = text_of(shown)
        assert "Target has applied 0 of 2 rows read so far, 2 are on the way." in text
        assert "serve" not in text, "a process is at it"


@virtually
async def test_a_job_in_quarantine_says_why_and_what_to_type(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        report = await stage.load("u1,canary1,1", "u2,canary2,2", guard={"min_rows": 5}, may_fail=True)
        shown = view(stage, report["job"])
        assert (report["state"], shown.state, shown.has_ended) == ("quarantined", "quarantined", False)
        text = text_of(shown)
        assert "in quarantine, nothing sent" in text
        assert "it has 2 rows, fewer than [guard] min_rows = 5" in text
        assert f"If it is right, profile-pipeline approve {report['job']} --config FILE sends all of it" in text
        assert "to be sent, once the job is approved" in text
        found = statuses(Configuration.of_one(stage.settings()), None, datetime.now(UTC))
        (urgent,) = verdict(overview(found, datetime.now(UTC), {})).urgent
        assert urgent.told == "export.csv is in quarantine, nothing of it was sent."
        assert urgent.to_do.startswith(
            "It has 2 rows, fewer than [guard] min_rows = 5. If it is right, `profile-pipeline"
        )


def test_an_unknown_job(tmp_path: Path) -> None:
    settings = settings_for(CLOSED, tmp_path / "state")
    with pytest.raises(PipelineError, match="there is no job"):
        job_view(Configuration.of_one(settings), "20261123T021400Z-none-0000", datetime.now(UTC))
