"""The figures of a client code at a moment, as the process has them and as they lie on its disk."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.report import Report
from pipeline.core.errors import ExitCode
from pipeline.edges.clock import Clock
from pipeline.edges.host import Host
from pipeline.edges.store.ledger import open_ledger
from pipeline.edges.store.records import JobRecord
from pipeline.jobs.ending import Ending
from pipeline.jobs.runner import Runner, open_runner
from pipeline.service.figures import FiguresOnDisk, LiveFigures, figures_on_disk, live_figures
from pipeline.service.intake import Intake
from pipeline.settings.tenants import Tenant
from tests.tools.support import CLOSED, settings_for

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@dataclass(slots=True)
class Idle:
    """A client code without a job, at a moment that a test moves on."""

    runner: Runner
    intake: Intake

    def figures(self, paused_with: ExitCode | None = None) -> LiveFigures:
        return live_figures(self.runner, self.intake, paused_with)


@asynccontextmanager
async def idle(directory: Path, now_s: list[float], **sections: object) -> AsyncIterator[Idle]:
    settings = settings_for(CLOSED, directory, **sections)  # type: ignore[arg-type]
    tenant, ending = Tenant.of_one(settings), Ending(grace_s=0.0)
    host = Host(Clock(monotonic=lambda: now_s[0], utc_now=lambda: NOON))
    async with open_runner(tenant, host, ending) as runner:
        yield Idle(runner, Intake(runner.state, tenant, ending, []))


async def test_the_silence_of_target(tmp_path: Path) -> None:
    now_s = [1_000.0]
    async with idle(tmp_path, now_s) as at:
        assert at.figures().target_silent_s == 0
        at.runner.calls.silence.note("no connection", now_s[0])
        now_s[0] += 60.0
        assert at.figures().target_silent_s == 60
        at.runner.calls.silence.note(None, now_s[0])
        assert at.figures().target_silent_s == 0


async def test_the_budget_of_calls(tmp_path: Path) -> None:
    now_s = [1_000.0]
    async with idle(tmp_path, now_s, target={"calls_per_minute": 45}) as at:
        async with at.runner.calls.call(), at.runner.calls.call():
            assert (at.figures().calls_used, at.figures().calls_limit) == (2, 45)
        now_s[0] += 59.0
        assert at.figures().calls_used == 2
        now_s[0] += 1.0
        assert at.figures().calls_used == 0


@pytest.mark.parametrize(
    ("window", "paused", "limit"),
    [
        ({"from": "11:00", "to": "13:00", "pause": True}, {"time_window"}, 45),
        ({"from": "11:00", "to": "13:00", "calls_per_minute": 5}, set(), 5),
        ({"from": "01:00", "to": "02:00", "pause": True}, set(), 45),
    ],
)
async def test_a_time_window(tmp_path: Path, window: dict[str, object], paused: set[str], limit: int) -> None:
    windows = [{"days": ["mon"], "time_zone": "UTC", **window}]
    async with idle(tmp_path, [0.0], target={"calls_per_minute": 45}, windows=windows) as at:
        assert at.figures().paused == paused
        assert at.figures().calls_limit == limit


async def test_a_fixed_status_window(tmp_path: Path) -> None:
    async with idle(tmp_path, [0.0], settle={"status_window": 7}) as at:
        assert (at.figures().statuses_awaited, at.figures().status_window) == (0, 7)


async def test_each_reason_of_a_pause(tmp_path: Path) -> None:
    async with idle(tmp_path, [0.0]) as at:
        at.runner.state.is_paused = True
        assert at.figures(ExitCode.DISK_OR_LEDGER).paused == {"requested", "disk_or_ledger"}


async def test_drops_that_are_not_taken_count_by_route(tmp_path: Path) -> None:
    async with idle(tmp_path, [0.0]) as at:
        at.intake.refused = {("crm", "a.csv"), ("crm", "b.csv"), ("web", "a.csv")}
        at.intake.waiting = ["c.csv.ready"]
        assert (at.figures().drops_not_taken, at.figures().drops_waiting) == ({"crm": 2, "web": 1}, 1)


async def test_what_cannot_be_read_is_not_told(tmp_path: Path) -> None:
    told = await anyio.to_thread.run_sync(figures_on_disk, tmp_path / "none", None, {"default"})
    assert told == FiguresOnDisk()
    (tmp_path / "ledger.db").write_text("no ledger")
    told = figures_on_disk(tmp_path, None, {"default"})
    assert (told.unfinished, told.done_at) == (None, {})
    assert told.free_bytes


def test_the_last_export_that_was_done_is_found_by_route(tmp_path: Path) -> None:
    ends = [("crm", "done", None), ("crm", "done", None), ("crm", "failed", None), ("web", "incomplete", None)]
    path = tmp_path / "ledger.db"
    with closing(open_ledger(path, "demo", lambda: NOON.isoformat(), is_new=True)) as ledger:
        for number, (route, state, retry_of) in enumerate([*ends, ("crm", "done", "job0"), ("crm", None, None)]):
            at = f"2026-11-30T0{number}:00:00+00:00"
            entered = JobRecord(0, f"job{number}", Path("/e.csv"), 1, 1, {}, at, retry_of, Checkpoint(), route=route)
            job = ledger.begin_job(entered)
            if state:
                report = Report.from_json({"state": state, "finished_at": at})
                ledger.finish_job(job, report, never_sent=(), released=())
    told = figures_on_disk(tmp_path, None, {"crm", "web"})
    assert (told.unfinished, told.done_at) == (1, {"crm": "2026-11-30T01:00:00+00:00", "web": ""})


def test_of_a_new_ledger_nothing_is_done(tmp_path: Path) -> None:
    open_ledger(tmp_path / "ledger.db", "demo", lambda: NOON.isoformat(), is_new=True).close()
    told = figures_on_disk(tmp_path, None, {"default"})
    assert (told.unfinished, told.done_at) == (0, {"default": ""})
