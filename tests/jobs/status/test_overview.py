"""The overview, from the status of real state directories: what is urgent, what is good to know, and the last days."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ExitCode
from pipeline.edges.notify.outbox import GivenUp, NotTakenYet
from pipeline.edges.store.notices import HoldUps, NotTaken, Pause
from pipeline.edges.views.overview_page import overview_page
from pipeline.edges.views.overview_view import OverviewView
from pipeline.edges.views.verdict import verdict
from pipeline.jobs.status.drop import DropStatus, LyingExport, RouteStatus
from pipeline.jobs.status.expected import OverdueExport
from pipeline.jobs.status.job import JobStatus
from pipeline.jobs.status.not_sent import NotificationStatus
from pipeline.jobs.status.overview import histories_of, overview
from pipeline.jobs.status.tenant import MemoryStatus, Status, StatusWindowStatus, TimeWindowStatus
from pipeline.jobs.status.tenants import LeftStatus, Statuses, statuses
from pipeline.sandbox import Fault, FaultPlan
from pipeline.settings.tenants import Configuration
from tests.edges.views.pages import Seen, what_is_wrong
from tests.jobs.test_retry_job import lost, send_again
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually
from tests.tools.support import CLOSED, settings_for

NOW = datetime(2026, 11, 30, 3, 2, 11, tzinfo=UTC)
SINCE = "2026-11-30T02:14:00+00:00"


def told(stage: Stage, now: datetime) -> OverviewView:
    configuration = Configuration.of_one(stage.settings())
    found = statuses(configuration, None, now)
    return overview(found, now, histories_of(configuration, found, now))


def text_of(shown: OverviewView) -> str:
    page = overview_page(shown)
    assert what_is_wrong(page) == []
    assert "canary" not in page, "no value and no id is on a page"
    return Seen(page).text


@virtually
async def test_the_state_directory_of_a_service(tmp_path: Path) -> None:
    async with staged(
        tmp_path, faults=FaultPlan(posts={2: Fault.FAIL_ROWS}, failing_ids=frozenset(["canary-2"]))
    ) as stage:
        first = await stage.load("canary-1,canary,1", ",canary,2", name="a.csv", export={"max_rejects": "100%"})
        second = await stage.load("canary-2,canary,2", name="b.csv")
        now = datetime.fromisoformat(second["finished_at"]) + timedelta(minutes=7)
        shown = told(stage, now)
        assert [(line.job, line.state, line.export) for line in shown.jobs] == [
            (second["job"], "incomplete", "b.csv"),
            (first["job"], "done", "a.csv"),
        ]
        (tenant,) = shown.tenants
        (route,) = tenant.routes
        assert route.latest is not None
        assert route.latest.job == second["job"]
        assert len(route.days) == 30
        assert route.days[-1].state == "incomplete", "the worst of the day"
        text = text_of(shown)
        assert "b.csv lost 1 row." in text
        assert f"profile-pipeline retry {second['job']} --config FILE sends them again." in text
        assert "0 days of 30 done. Not so:" in text


@virtually
async def test_the_last_job_of_a_route_is_known_though_it_is_not_listed(tmp_path: Path) -> None:
    async with staged(tmp_path, faults=FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_ids=frozenset(["u2"]))) as stage:
        lost = await stage.load("u2,gold,2", name="b.csv")
        now = datetime.fromisoformat(lost["finished_at"])
        configuration = Configuration.of_one(stage.settings())
        found = statuses(configuration, None, now)
        unlisted = Statuses((replace(found.tenants[0], jobs=()),), ())
        histories = histories_of(configuration, unlisted, now)
        latest = histories["demo", "default"].latest
        assert latest is not None
        assert (latest.job, latest.state, latest.is_sent_again) == (lost["job"], "incomplete", False)
        assert text_of(overview(unlisted, now, histories)).count("b.csv lost rows.") == 1


@virtually
async def test_what_was_lost_and_sent_again_is_no_news(tmp_path: Path) -> None:
    async with lost(tmp_path) as (stage, job_id):
        before = told(stage, datetime.now(UTC) - timedelta(days=1))
        assert verdict(before).headline == "lost.csv lost 2 rows."
        _, (again,) = await send_again(stage, job_id)
        assert again["state"] == "done"
        after = told(stage, datetime.now(UTC))
        assert verdict(after).headline == "All is well."
        (tenant,) = after.tenants
        (route,) = tenant.routes
        assert route.latest is not None
        assert route.latest.job == job_id, "a retry brings no export"


@virtually
async def test_a_job_that_nobody_is_at(tmp_path: Path) -> None:
    async with staged(tmp_path, apply_min_s=60.0, apply_max_s=60.0) as stage:
        await stage.load("u1,gold,1", stop_when=lambda job: job.progress.batches_under_way == 1)
        shown = told(stage, datetime.now(UTC))
        assert [line.state for line in shown.jobs] == ["unfinished"]
        assert "export.csv is not finished, and no process is at it." in text_of(shown)


def job(job_id: str, state: str = "unfinished", **changes: Any) -> JobStatus:
    line = JobStatus(
        *(job_id, state, None, f"/drop/{job_id}.csv", SINCE, None, 7.0, None, None),
        rows={"read": 0, "confirmed": 0},
        batches={},
        is_abandoned=False,
        set_aside=None,
        quarantine=None,
        waits_for=[],
        retry_of=None,
        came_back={},
        route="default",
    )
    return replace(line, **changes)


def status_of(*jobs: JobStatus, **changes: Any) -> Status:
    one = Status(
        client_code="acme",
        state_directory="/state",
        held_by=4711,
        is_paused=False,
        statuses_under_way=3,
        status_window=StatusWindowStatus(10, is_learned=False, more_failed_at=None),
        window=None,
        paused_by_itself=None,
        held_up=HoldUps(),
        drop=None,
        jobs=jobs,
        older_jobs=0,
        waiting_jobs=0,
    )
    return replace(one, **changes)


def shown(*jobs: JobStatus, **changes: Any) -> OverviewView:
    return overview(Statuses((status_of(*jobs, **changes),), ()), NOW, {})


def test_the_first_job_runs_and_those_behind_it_wait() -> None:
    begun = job("c", batches={"is being sent": 1})
    jobs = shown(job("a"), job("b"), begun, job("d", "done", finished_at=SINCE)).jobs
    assert [line.state for line in jobs] == ["running", "waiting", "running", "done"]
    assert [line.state for line in shown(job("a"), is_paused=True).jobs] == ["waiting"]
    assert [line.state for line in shown(job("a"), held_by=None).jobs] == ["unfinished"]


@pytest.mark.parametrize(
    ("changes", "headline", "to_do"),
    [
        ({"is_paused": True}, "Sending is paused.", "`profile-pipeline resume --config FILE` goes on."),
        (
            {
                "paused_by_itself": Pause(
                    ExitCode.REFUSED_BY_TARGET, "the token is refused: put a new one there.", SINCE, "j"
                )
            },
            "The service waits since 2026-11-30 02:14:00 UTC.",
            "The token is refused: put a new one there.",
        ),
        (
            {"token_expires": "2026-12-04", "token_days_left": 4},
            "The token expires in 4 days, on 2026-12-04.",
            "Put a new one into [target] token_file",
        ),
        (
            {"held_up": HoldUps(SINCE, "HTTP 503")},
            "Target gives no usable answer since 2026-11-30 02:14:00 UTC, the last was: HTTP 503.",
            "nothing is lost",
        ),
        (
            {"overdue": (OverdueExport("crm", "2026-11-30", SINCE, "2026-11-30 05:00 (UTC)", "none has come"),)},
            "An export of route crm had to be done by 2026-11-30 05:00 (UTC): none has come.",
            "",
        ),
        ({"drop": DropStatus("/drop", "cannot be read: No such file")}, "The drop directory /drop cannot be read", ""),
        (
            {"drop": DropStatus("/drop", None, not_taken=(NotTaken("a.ready", "cannot be moved", SINCE),))},
            "a.ready is not taken since 2026-11-30 02:14:00 UTC: cannot be moved.",
            "",
        ),
    ],
)
def test_what_somebody_has_to_act_on(changes: dict[str, Any], headline: str, to_do: str) -> None:
    view = shown(**changes)
    found = verdict(view)
    assert found.headline.startswith(headline)
    assert to_do in found.urgent[0].to_do
    assert text_of(view)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"held_up": HoldUps(calls_from=SINCE)}, "The budget of calls is used up, the next call begins at"),
        (
            {"window": TimeWindowStatus(True, None, None, None, None, "no sending until 06:00", "as usual")},
            "then as usual.",
        ),
        ({"memory": MemoryStatus("values", 7, is_behind=True)}, "The memory is behind"),
        ({"memory": MemoryStatus("values", why="it is damaged")}, "It is damaged"),
        (
            {"notifications": NotificationStatus(3, {"crm webhook": NotTakenYet(SINCE, "HTTP 500")}, ())},
            "Notifications are not taken by crm webhook since 2026-11-30 02:14:00 UTC: HTTP 500; 3 wait.",
        ),
        (
            {"notifications": NotificationStatus(0, {}, (GivenUp("default", "done", "webhook", SINCE, "HTTP 500"),))},
            "1 notification was given up in the last week, the last at 2026-11-30 02:14:00 UTC.",
        ),
        ({"log_lines_dropped": 3}, "The log lacks 3 lines"),
    ],
)
def test_what_is_good_to_know(changes: dict[str, Any], said: str) -> None:
    view = shown(**changes)
    found = verdict(view)
    assert found.headline == "All is well."
    assert [notice for notice in found.others if said in notice.told]


def test_routes_and_what_lies_in_their_drop_directories() -> None:
    lying = DropStatus("/drop/crm", None, unsignalled=(LyingExport("a.csv", 1_000.0, None),))
    view = shown(routes=(RouteStatus("crm", lying), RouteStatus("vip", None)))
    (tenant,) = view.tenants
    assert [(route.name, route.directory) for route in tenant.routes] == [("crm", "/drop/crm"), ("vip", "")]
    assert "Not signalled: a.csv" in text_of(view)


def test_facts_of_a_client_code() -> None:
    memory = MemoryStatus("values", 12_104_220, 1_400_000_000)
    (tenant,) = shown(memory=memory, token_expires="2027-02-21", token_days_left=83).tenants
    assert dict(tenant.facts) == {
        "Process": "4711 is at work",
        "Token": "expires in 83 days, on 2027-02-21",
        "Memory": "12,104,220 ids (values), 1.4 GB",
        "Status window": "10; 3 batches are being applied by Target",
        "State directory": "/state",
    }


def test_a_client_code_that_the_configuration_does_not_have_any_more(tmp_path: Path) -> None:
    """It was taken anew since the status was read."""
    configuration = Configuration.of_one(settings_for(CLOSED, tmp_path / "state"))
    assert histories_of(configuration, Statuses((status_of(),), ()), NOW) == {}


def test_unfinished_jobs_without_a_route() -> None:
    left = LeftStatus("old", "/state/clients/old", 2)
    found = verdict(overview(Statuses((status_of(),), (left,)), NOW, {}))
    assert found.headline == "2 unfinished jobs of client code old, which has no route any more, in /state/clients/old."
