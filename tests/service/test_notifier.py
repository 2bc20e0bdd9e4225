"""What lasts is told once, over restarts too, and so is its end: pauses, a Target that is away, overdue exports."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.report import Report
from pipeline.core.errors import ExitCode
from pipeline.edges.host import Host
from pipeline.edges.notify.outbox import Outbox
from pipeline.edges.notify.told_file import read_told
from pipeline.edges.store.ledger import open_ledger
from pipeline.edges.store.notices import HoldUps, Pause, put_up_hold_ups, put_up_pause, take_down_pause
from pipeline.edges.store.records import JobRecord
from pipeline.jobs.status.expected import MissingDay, calendars
from pipeline.jobs.status.notifications import enter_state
from pipeline.jobs.status.overview import histories_of
from pipeline.jobs.status.tenants import Statuses, statuses
from pipeline.service.notifier import STEADY_S, Notifier
from pipeline.settings.routes import load_configuration
from pipeline.settings.tenants import Configuration
from tests.tools.receiving import Receiving, SetClock, receiving
from tests.tools.support import fill, read_only, small_disk

SEQUENCE = count(1)
#: Before the export of this day is due, which is at 05:00.
THREE = datetime(2026, 11, 30, 3, tzinfo=UTC)
HOUR_S = 3_600.0


@dataclass
class Noticed:
    """A state directory, the notifier of its client code, and a clock that the test sets."""

    directory: Path
    receiver: Receiving
    keys: str = ""
    time: SetClock = field(default_factory=lambda: SetClock(THREE))
    untold: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = self.directory / "state"
        self.state.mkdir(parents=True, exist_ok=True)
        self.begin_anew()

    @property
    def configuration(self) -> Configuration:
        file = self.directory / "config.toml"
        keys = self.keys or f'[drop]\ndirectory = "{self.directory}/drop"\n[expect]\nby = "05:00"\n'
        hook = "" if "webhook" in keys else f'[notify]\nwebhook = "{self.receiver.webhook}"\n'
        file.write_text(
            '[target]\nclient_code = "acme"\n[export]\nid_column = "id"\n'
            f'[state]\ndirectory = "{self.state}"\n{hook}{keys}'
        )
        return load_configuration(file, env={})

    def begin_anew(self, keys: str = "") -> None:
        """Another process, with this configuration."""
        self.keys = keys or self.keys
        (tenant,) = self.configuration.tenants
        self.notifier = Notifier(tenant, Host(clock=self.time.clock), limit_s=5.0)

    async def look(self, after_s: float = 0.0) -> list[str]:
        """Look some time later; the events that were told in it."""
        self.time.go_on(after_s)
        before = len(self.receiver.events)
        await self.notifier.look(self.untold)
        return self.receiver.events[before:]

    @contextmanager
    def ledger(self) -> Iterator[Any]:
        with closing(open_ledger(self.state / "ledger.db", "acme", lambda: "", is_new=True, spooled=set())) as ledger:
            yield ledger

    def now(self) -> str:
        return self.time.clock.utc_now().isoformat(timespec="seconds")

    def begin(self, route: str = "default", retry_of: str | None = None) -> JobRecord:
        """A job whose export is taken now."""
        record = JobRecord(
            0, f"job{next(SEQUENCE)}", Path("/drop/e.csv"), 1, 1, {}, self.now(), retry_of, Checkpoint(), route=route
        )
        with self.ledger() as ledger:
            begun: JobRecord = ledger.begin_job(record)
        return begun

    def end(self, job: JobRecord, state: Any = "done") -> Report:
        """Its end, now."""
        report = Report(job=job.job_id, state=state, client_code="acme", finished_at=self.now())
        with self.ledger() as ledger:
            ledger.finish_job(job, report, never_sent=[], released=[], remembered={})
        return report

    def pause(self, code: ExitCode = ExitCode.REFUSED_BY_TARGET) -> Pause:
        pause = Pause(int(code), "the token is refused.", self.now(), "job1")
        assert put_up_pause(self.state, pause)
        return pause


@asynccontextmanager
async def noticed(directory: Path, keys: str = "") -> AsyncIterator[Noticed]:
    async with receiving() as receiver:
        yield Noticed(directory, receiver, keys)


class TestOverdue:
    async def test_it_is_told_once_a_day_and_its_end(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            assert await it.look() == []
            assert await it.look(2 * HOUR_S - 1) == []
            assert it.notifier.overdue == {"default": False}
            with capture_logs() as logs:
                assert await it.look(1) == ["overdue"]
            assert [each["event"] for each in logs] == ["export_overdue", "notification_sent"]
            assert it.notifier.overdue == {"default": True}
            told = it.receiver.told[0]
            assert told["expected"] == {
                "day": "2026-11-30",
                "due_at": "2026-11-30T05:00:00+00:00",
                "why": "none has come",
            }
            assert told["text"] == "acme: overdue: an export had to be done by 2026-11-30 05:00 (UTC): none has come."
            for _ in range(3):
                assert await it.look(HOUR_S) == []
            job = it.begin()
            assert await it.look(60) == []
            it.end(job)
            with capture_logs() as logs:
                assert await it.look(60) == ["recovered"]
            assert "export_no_longer_overdue" in [each["event"] for each in logs]
            assert it.receiver.told[-1]["recovered"] == {"from": "overdue", "since": "2026-11-30T05:00:00+00:00"}
            assert await it.look(HOUR_S) == []

    async def test_the_next_day_is_told_too(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            await it.look()
            assert await it.look(3 * HOUR_S) == ["overdue"]
            assert await it.look(24 * HOUR_S) == ["overdue"]
            assert [each["id"] for each in it.receiver.told] == [
                f"overdue-2026-{day}-default" for day in ("11-30", "12-01")
            ]

    async def test_it_is_told_once_over_restarts(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            await it.look()
            assert await it.look(3 * HOUR_S) == ["overdue"]
            it.begin_anew()
            assert await it.look(1) == []
            it.end(it.begin())
            it.begin_anew()
            assert await it.look(1) == ["recovered"]
            it.begin_anew()
            assert await it.look(1) == []

    async def test_a_service_that_was_down_tells_it_when_it_is_back(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            await it.look()
            it.begin_anew()
            assert await it.look(2 * 24 * HOUR_S + 5 * HOUR_S) == ["overdue"]
            assert it.receiver.told[0]["expected"]["day"] == "2026-12-02"

    async def test_what_came_in_time_is_not(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            await it.look()
            it.end(it.begin(), "incomplete")
            assert await it.look(3 * HOUR_S) == []

    async def test_a_retry_brings_no_export(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            await it.look()
            it.end(it.begin(retry_of="job0"))
            assert await it.look(3 * HOUR_S) == ["overdue"]

    async def test_why(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            await it.look()
            it.end(failed := it.begin(), "failed")
            assert await it.look(3 * HOUR_S) == ["overdue"]
            assert it.receiver.told[-1]["expected"]["why"] == f"job {failed.job_id} ended failed"
            it.time.go_on(20 * HOUR_S)
            begun = it.begin()
            assert await it.look(4 * HOUR_S) == ["overdue"]
            assert it.receiver.told[-1]["expected"]["why"] == f"it has come, and job {begun.job_id} is not done yet"

    async def test_nothing_is_expected_of_the_time_before_it_was(self, tmp_path: Path) -> None:
        """Set at six, by five: the first one is due tomorrow. And so it is when the time is changed."""
        async with noticed(tmp_path) as it:
            assert await it.look(3 * HOUR_S) == []
            drop = f'[drop]\ndirectory = "{tmp_path}/drop"\n[expect]\n'
            it.begin_anew(f'{drop}by = "04:30"\n')
            assert await it.look(HOUR_S) == []
            assert await it.look(22 * HOUR_S) == ["overdue"]

    async def test_routes_by_themselves(self, tmp_path: Path) -> None:
        routes = "".join(
            f'[[routes]]\nname = "{name}"\ndrop.directory = "/{name}"\nexpect.by = "{by}"\n'
            for name, by in (("eu", "05:00"), ("us", "07:00"), ("other", ""))
        )
        async with noticed(tmp_path, routes) as it:
            await it.look()
            it.end(it.begin("us"))
            assert await it.look(5 * HOUR_S) == ["overdue"]
            assert (it.receiver.told[0]["route"], it.receiver.told[0]["id"]) == ("eu", "overdue-2026-11-30-eu")
            assert it.notifier.overdue == {"eu": True, "us": False}
            it.begin_anew(routes.replace('"05:00"', '""'))
            assert await it.look(1) == [], "nobody expects it any more"
            assert read_told(it.state).conditions == {}

    async def test_without_a_drop_directory_nothing_can_come(self, tmp_path: Path) -> None:
        async with noticed(tmp_path, '[expect]\nby = "05:00"\n') as it:
            await it.look()
            assert await it.look(3 * HOUR_S) == []
            assert it.notifier.overdue == {}

    async def test_it_is_told_only_to_who_wants_to_hear(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            drop = f'[drop]\ndirectory = "{tmp_path}/drop"\n[expect]\nby = "05:00"\n'
            it.begin_anew(f'{drop}[notify]\nwebhook = "{it.receiver.webhook}"\nevents = ["failed"]\n')
            await it.look()
            with capture_logs() as logs:
                assert await it.look(3 * HOUR_S) == []
            assert [each["event"] for each in logs] == ["export_overdue"]

    async def test_status_tells_it(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:

            def told() -> Any:
                return statuses(it.configuration, None, it.time.clock.utc_now()).as_json().get("overdue")

            assert told() is None
            await it.look()
            it.time.go_on(3 * HOUR_S)
            (late,) = told()
            assert (late["route"], late["day"], late["why"]) == ("default", "2026-11-30", "none has come")
            it.end(it.begin())
            assert told() is None

    async def test_a_ledger_that_cannot_be_read_says_nothing_of_exports(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            await it.look()
            assert await it.look(3 * HOUR_S) == ["overdue"]
            it.end(it.begin())
            whole = (it.state / "ledger.db").read_bytes()
            (it.state / "ledger.db").write_bytes(b"x" * len(whole))
            (tenant,) = it.configuration.tenants
            enter_state(it.state, tenant.settings, "default", Report(job="job1", state="failed", finished_at=it.now()))
            assert await it.look(60) == []
            assert it.notifier.overdue == {"default": True}
            it.pause(ExitCode.DISK_OR_LEDGER)
            assert await it.look(60) == ["paused"], "that it cannot be read is told all the same"
            (it.state / "ledger.db").write_bytes(whole)
            assert await it.look(60) == ["recovered"]


class TestCalendar:
    async def test_the_last_days_of_each_route(self, tmp_path: Path) -> None:
        routes = "".join(
            f'[[routes]]\nname = "{name}"\ndrop.directory = "/{name}"\nexpect.by = "{by}"\n'
            for name, by in (("eu", "05:00"), ("us", ""))
        )
        async with noticed(tmp_path, routes) as it:
            await it.look()
            it.time.go_on(24 * HOUR_S)
            for route, state in (("eu", "done"), ("us", "failed")):
                it.end(it.begin(route), state)
            it.time.go_on(8 * HOUR_S)
            (tenant,) = it.configuration.tenants
            with it.ledger() as ledger:
                told = calendars(tenant, ledger, read_told(it.state), it.time.clock.utc_now(), days=3)
            states = {route: [each.state for each in days] for route, days in told.items()}
            nothing = ["none", "none", "none"]
            assert states == {"default": nothing, "eu": ["none", "missing", "done"], "us": ["none", "none", "failed"]}
            (told_of,) = statuses(it.configuration, None, it.time.clock.utc_now()).tenants
            assert told_of.missing == (MissingDay("eu", "2026-11-30"),)
            days = histories_of(it.configuration, Statuses((told_of,), ()), it.time.clock.utc_now())["acme", "eu"].days
            assert [day.state for day in days[-3:]] == states["eu"]
            without = calendars(tenant, None, read_told(it.state), it.time.clock.utc_now())
            assert [each.state for each in without["eu"]][-2:] == ["missing", "missing"]


class TestPaused:
    async def test_it_is_told_once_and_its_end_when_it_lasts(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            await it.look()
            pause = it.pause()
            assert await it.look(2) == ["paused"]
            assert it.receiver.told[0]["pause"] == {
                "why": pause.why,
                "since": pause.since,
                "job": "job1",
                "exit_code": 77,
            }
            # It is tried again every now and then, and each time it is put up anew.
            for _ in range(5):
                take_down_pause(it.state)
                assert await it.look(60) == []
                it.pause()
                assert await it.look(60) == []
            take_down_pause(it.state)
            assert await it.look(STEADY_S - 1) == []
            assert await it.look(2) == ["recovered"]
            assert it.receiver.told[-1]["recovered"] == {"from": "paused", "since": pause.since}

    async def test_another_reason_is_told_too(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            it.pause()
            assert await it.look() == ["paused"]
            it.time.go_on(60)
            it.pause(ExitCode.DISK_OR_LEDGER)
            assert await it.look() == ["paused"]

    async def test_over_a_restart(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            it.pause()
            assert await it.look() == ["paused"]
            take_down_pause(it.state)
            it.begin_anew()
            assert await it.look() == []
            assert await it.look(STEADY_S - 1) == [], "by then the job that could not go on has been tried again"
            it.pause()
            assert await it.look() == []
            take_down_pause(it.state)
            assert await it.look(STEADY_S) == ["recovered"]

    async def test_where_the_disk_does_not_take_the_notice(self, tmp_path: Path) -> None:
        """The heartbeat has it, and notifications are kept in memory until they are sent."""
        with small_disk(1_048_576) as disk:
            async with noticed(disk) as it:
                await it.look()
                fill(disk / "ballast")
                it.receiver.answers = [500]
                it.untold = {"pause": asdict(Pause(74, "the disk is full.", it.now(), "job1"))}
                with read_only(disk):
                    assert await it.look() == ["paused"]
                    assert Outbox(it.state).waiting() == []
                    assert await it.look(60) == ["paused"], "refused at first, it is sent again"
                    assert await it.look(60) == []

    async def test_target_is_away_for_long(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            away = HoldUps(away_since=it.now(), last_answer="HTTP 503")
            assert put_up_hold_ups(it.state, away)
            assert await it.look(899) == []
            assert await it.look(1) == ["paused"]
            assert "Target gives no usable answer, the last was: HTTP 503" in it.receiver.told[0]["text"]
            assert put_up_hold_ups(it.state, HoldUps())
            assert await it.look(STEADY_S) == ["recovered"]

    async def test_who_has_one_receiver_for_all_routes_is_told_once(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            hook = f'[notify]\nwebhook = "{it.receiver.webhook}"\n'
            routes = "".join(f'[[routes]]\nname = "{n}"\ndrop.directory = "/{n}"\n' for n in "ab")
            other = f'[[routes]]\nname = "c"\ndrop.directory = "/c"\nnotify.webhook = "{it.receiver.url}/other"\n'
            it.begin_anew(f"{hook}{routes}{other}")
            it.pause()
            assert await it.look() == ["paused", "paused"]
            assert {path for _, path, _, _ in it.receiver.got} == {"/hooks/s3cret", "/other"}


class TestEndsOfJobs:
    async def test_it_is_told_only_when_the_ledger_knows_it(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            settings = it.configuration.tenants[0].settings
            job = it.begin()
            enter_state(it.state, settings, "default", Report(job=job.job_id, state="failed", finished_at=it.now()))
            for _ in range(3):
                it.begin_anew()
                assert await it.look(60) == []
            it.end(job, "failed")
            assert await it.look() == ["failed"]

    async def test_one_that_ended_otherwise_is_not(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            settings = it.configuration.tenants[0].settings
            job = it.begin()
            enter_state(it.state, settings, "default", Report(job=job.job_id, state="failed", finished_at=it.now()))
            it.end(job, "incomplete")
            assert await it.look() == []
            assert Outbox(it.state).waiting() == []

    @pytest.mark.parametrize("state", ["quarantined"])
    async def test_one_that_is_quarantined_has_not_ended(self, tmp_path: Path, state: Any) -> None:
        async with noticed(tmp_path) as it:
            settings = it.configuration.tenants[0].settings
            report = Report(job="j1", state=state, client_code="acme", finished_at=it.now(), error="too few rows.")
            enter_state(it.state, settings, "default", report)
            assert await it.look() == ["quarantined"]

    async def test_one_of_a_ledger_that_is_another_by_now_goes(self, tmp_path: Path) -> None:
        async with noticed(tmp_path) as it:
            settings = it.configuration.tenants[0].settings
            it.begin()
            enter_state(it.state, settings, "default", Report(job="unknown", state="failed", finished_at=it.now()))
            assert await it.look() == []
            assert Outbox(it.state).waiting() == []
