"""The metrics of a service that really loads: what they say is what its reports say, and nothing of a row."""

import asyncio
import contextlib
import re
import signal
from datetime import UTC, date, datetime
from pathlib import Path

import aiohttp
import pytest

from pipeline.core.display.counts import ROW_CLASSES
from pipeline.core.errors import ExitCode
from pipeline.core.model import Reason
from pipeline.edges.host import Host
from pipeline.edges.store.mailbox import Mailbox
from pipeline.jobs.ending import Ending
from pipeline.service.figures import PAUSE_REASONS, reason_of
from pipeline.service.served import Served
from pipeline.service.web.metric_table import METRICS, OF_PROCESS
from pipeline.service.web.metrics import EXPOSITION, Scrape
from pipeline.settings.sections.web import WebSettings
from pipeline.settings.tenants import Tenant
from tests.service.web.scraping import Measuring, Numbers, measuring, numbers_in
from tests.service.web.site import free_port, of_settings, site
from tests.tools.dropping import dropping
from tests.tools.faults.canaries import MARK
from tests.tools.support import CLOSED, SIX_ROWS, ended, settings_for, until

#: Metrics that have no sample where there is nothing to tell.
ONLY_IF = {"overdue", "last_done_timestamp_seconds", "token_expires_timestamp_seconds", "memory_ids", "memory_bytes"}
HERE = {("client_code", "demo"), ("route", "default")}
MANY_REJECTS = {"max_rejects": 9}


def names_in(text: bytes) -> set[str]:
    """The metrics of which there is a sample, without the prefix; of a histogram its own name."""
    names = {name.removeprefix("profile_pipeline_") for name, _ in numbers_in(text)}
    return {re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", name) for name in names if not name.startswith("proce")}


async def assert_as_reported(at: Measuring) -> None:
    reports = at.drop.reports()
    rows = await at.by("rows_total", "class", route="default")
    expected = {name: sum(report["rows"][name] for report in reports) for name in ROW_CLASSES}
    assert rows == {name: count for name, count in expected.items() if count}
    assert await at.value("rows_read_total", route="default") == sum(report["rows"]["read"] for report in reports)
    by_reason: dict[str, int] = {}
    for report in reports:
        for reason, count in report["rejects"]["by_reason"].items():
            by_reason[reason] = by_reason.get(reason, 0) + count
    assert await at.by("rejects_total", "reason", route="default") == by_reason
    states = [report["state"] for report in reports]
    assert await at.by("runs_total", "state", route="default") == {state: states.count(state) for state in states}


async def test_all_are_there_from_the_beginning(tmp_path: Path) -> None:
    async with measuring(tmp_path) as at:
        text = await at.text()
        assert names_in(text) == {each.name for each in (*METRICS, *OF_PROCESS)} - ONLY_IF
        numbers = numbers_in(text)
        reasons = {dict(having)["reason"] for name, having in numbers if name == "profile_pipeline_rejects_total"}
        assert reasons == {*Reason, "target.refused"}
        counters = [value for (name, _), value in numbers.items() if re.search(r"^profile.*_(total|bucket)$", name)]
        assert len(counters) > 60
        assert not any(counters)
        assert any(name == "process_resident_memory_bytes" for name, _ in numbers)
        assert await at.value("served") == 1
        assert (await at.value("disk_free_bytes") or 0) > 0
        assert 0 <= numbers["profile_pipeline_heartbeat_age_seconds", frozenset()] < 60
        assert (await at.value("calls_used"), await at.value("calls_limit")) == (0, 100_000)
        assert (await at.value("statuses_awaited"), await at.value("status_window")) == (0, 10)


async def test_they_say_what_the_reports_say(tmp_path: Path) -> None:
    async with measuring(tmp_path, export=MANY_REJECTS, batch={"max_rows": 2}) as at:
        done = await at.load("a.csv", *SIX_ROWS, "u0,again,", ",no,id", "u7,,")
        await at.load("b.csv", *(",no,id" for _ in range(12)), state="failed")
        await assert_as_reported(at)
        batches = done["batches"]
        assert await at.by("batches_settled_total", "outcome") == {"complete": len(batches)}
        assert await at.by("posts_total", "outcome") == {"accepted": len(batches)}
        assert await at.value("posted_bytes_total") == sum(batch["bytes"] for batch in batches)
        assert (await at.by("status_calls_total", "outcome"))["complete"] >= len(batches)
        for name in ("upload_seconds", "completion_seconds"):
            assert await at.value(f"{name}_count") == await at.value(f"{name}_bucket", le="+Inf") == len(batches)
            assert (await at.value(f"{name}_sum") or 0) > 0
        finished = datetime.fromisoformat(done["finished_at"]).timestamp()
        assert await at.value("last_done_timestamp_seconds", route="default") == finished


async def test_rows_of_a_running_job_count_as_they_are_settled(tmp_path: Path) -> None:
    never = {"apply_min_s": 600.0, "apply_max_s": 600.0}
    async with measuring(tmp_path, sandbox=never, batch={"max_rows": 2}) as at:
        at.drop.put("a.csv", *SIX_ROWS, "u1,later,", signal_as="a.csv.ready")
        await at.until("batches", 3.0, phase="following")
        assert await at.value("rows_read_total", route="default") == 7
        assert await at.by("rows_total", "class") == {}
        assert await at.by("jobs", "state") == {"running": 1}
        assert await at.value("statuses_awaited") == 3
        assert (await at.value("calls_used") or 0) >= 3
        assert await at.value("held_rows") == 1
        assert (await at.value("oldest_unsettled_seconds") or 0) > 0
        at.drop.at.sandbox.apply_all()
        await at.until("rows_total", 6.0, route="default", **{"class": "confirmed"})
        await at.until("batches", 1.0, phase="following")
        at.drop.at.sandbox.apply_all()
        await until(lambda: at.drop.ends() == {"a.csv": "done"})
        await assert_as_reported(at)
        assert await at.value("oldest_unsettled_seconds") == 0


async def test_a_new_process_counts_from_0_and_knows_what_was_done_last(tmp_path: Path) -> None:
    async with measuring(tmp_path) as at:
        report = await at.load("a.csv", *SIX_ROWS)
    async with measuring(tmp_path) as at:
        assert await at.by("rows_total", "class") == await at.by("runs_total", "state") == {}
        finished = datetime.fromisoformat(report["finished_at"]).timestamp()
        assert await at.value("last_done_timestamp_seconds", route="default") == finished


async def test_nothing_of_a_row_and_no_name_of_a_job_or_file_is_told(tmp_path: Path) -> None:
    async with measuring(tmp_path, export=MANY_REJECTS) as at:
        rows = [f"{MARK}{number},{MARK}gold,{MARK}" for number in range(8)]
        await at.load(f"{MARK}.csv", *rows, f",{MARK},1", f"{MARK}x,{MARK},{MARK},{MARK}")
        at.drop.put(f"{MARK}2.csv", *rows, signal_as=f"{MARK}3.csv.ready")
        (at.drop.directory / f"{MARK}4.csv.ready").symlink_to("/nowhere")
        await at.until("drops_waiting", 1.0)
        await at.until("drops_not_taken", 1.0, route="default")
        text = (await at.text()).decode()
        assert MARK.lower() not in text.lower()
        assert not [report["job"] for report in at.drop.reports() if report["job"] in text]
        labels = {label for _, having in numbers_in(text.encode()) for label, _ in having}
        assert labels == {
            *("client_code", "route", "state", "class", "reason", "outcome", "phase", "found", "le", "version"),
        }


async def test_a_pause_by_request(tmp_path: Path) -> None:
    async with measuring(tmp_path) as at:
        assert await at.by("paused", "reason") == {}
        Mailbox(at.drop.at.state).ask("pause", None)
        await at.until("paused", 1.0, reason="requested")
        Mailbox(at.drop.at.state).ask("resume", None)
        await at.until("paused", 0.0, reason="requested")


async def test_a_job_that_cannot_be_finished(tmp_path: Path) -> None:
    refusing = {"token": "right"}
    async with measuring(tmp_path, sandbox=refusing) as at:
        at.drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
        await at.until("paused", 1.0, reason="refused_by_target")
        assert await at.by("jobs", "state") == {"unfinished": 1}
        assert await at.by("posts_total", "outcome") == {"unauthorized": 1}
        assert await at.by("runs_total", "state") == {"unfinished": 1}
        assert await at.value("rows_read_total", route="default") == 6


@pytest.mark.parametrize("code", ExitCode)
def test_every_pause_has_a_reason_of_the_list(code: ExitCode) -> None:
    assert reason_of(code) in PAUSE_REASONS


async def test_a_client_code_that_is_not_served(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "ledger.db").write_text("no ledger")
    host = Host()
    served = Served(Tenant.of_one(settings_for(CLOSED, state)), host, Ending(grace_s=0.0), None, frozenset())
    await served.open_first(is_only=False)
    numbers = numbers_in(await Scrape(state, [served], host).text())

    def value(name: str, **labels: str) -> float | None:
        return numbers.get((f"profile_pipeline_{name}", frozenset({"client_code": "demo", **labels}.items())))

    assert value("served") == 0
    assert value("paused", reason="disk_or_ledger") == 1
    assert value("calls_limit") is value("jobs", state="running") is None
    assert value("rows_read_total", route="default") == 0


async def test_what_was_read_back(tmp_path: Path) -> None:
    async with measuring(tmp_path, verify={"sample": 4, "after_s": 0}) as at:
        await at.load("a.csv", *SIX_ROWS)
        await at.until("ids_read_back_total", 4.0, found="equal")
        assert await at.by("ids_read_back_total", "found") == {"equal": 4}


async def test_what_is_remembered(tmp_path: Path) -> None:
    async with measuring(tmp_path, memory={"remember": "digests"}) as at:
        assert await at.value("memory_ids") == 0
        await at.load("a.csv", *SIX_ROWS)
        assert await at.value("memory_ids") == 6
        assert (await at.value("memory_bytes") or 0) > 0


async def test_a_token_that_expires(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x")
    target = {"token_file": str(token), "token_expires": "2026-12-24"}
    async with measuring(tmp_path, target=target) as at:
        told = await at.value("token_expires_timestamp_seconds")
        assert told == datetime.combine(date(2026, 12, 24), datetime.min.time(), UTC).timestamp()


async def test_an_export_that_is_overdue(tmp_path: Path) -> None:
    late = {"default": False}
    async with measuring(tmp_path, overdue=lambda: {"demo": late}) as at:
        assert await at.value("overdue", route="default") == 0
        late["default"] = True
        assert await at.value("overdue", route="default") == 1
        late.clear()
        assert await at.value("overdue", route="default") is None


async def test_many_who_ask_at_once_cost_one_look(tmp_path: Path) -> None:
    async with measuring(tmp_path) as at:
        first = await at.text()
        assert await at.scrape.text() is await at.scrape.text() is first
        assert await at.text() is not first


async def test_they_are_told_without_a_token_and_described(tmp_path: Path) -> None:
    (tmp_path / "web-token").write_text("a-token-of-32-random-characters")
    asked = WebSettings(host="0.0.0.0", token_file=tmp_path / "web-token")
    async with measuring(tmp_path) as at:
        async with site(of_settings(tmp_path), web=asked, scrape=at.scrape) as server:
            said, head = await server.get("/metrics"), await server.get("/metrics", method="HEAD")
            assert (said.status, said.headers["Content-Type"]) == (200, EXPOSITION)
            assert numbers_in(said.body)["profile_pipeline_served", frozenset({("client_code", "demo")})] == 1
            assert (head.status, head.body) == (200, b"")
            assert (await server.get("/metrics", method="POST")).status == 405
            assert (await server.get("/status")).status == 401
        async with site(of_settings(tmp_path), scrape=at.scrape) as server:
            described = (await server.get("/openapi.json")).told["paths"]["/metrics"]["get"]
            assert described["security"] == [{}]
            assert [*described["responses"]["200"]["content"]] == [EXPOSITION]
            assert (await server.get("/metrics", Host="elsewhere.example")).status == 421


async def until_told(port: int, name: str, value: float, labels: set[tuple[str, str]] = HERE) -> Numbers:
    """All metrics of a process, as soon as this one has this value."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectorError):
                async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
                    numbers = numbers_in(await response.read())
                if numbers.get((f"profile_pipeline_{name}", frozenset(labels))) == value:
                    return numbers


async def test_the_real_service_tells_them(tmp_path: Path) -> None:
    port = free_port()
    async with dropping(tmp_path) as drop, drop.serving(web={"port": port}) as process:
        drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
        numbers = await until_told(port, "rows_total", 6, {*HERE, ("class", "confirmed")})
        assert numbers["profile_pipeline_heartbeat_age_seconds", frozenset()] < 60
        assert not {name for name, _ in numbers if name == "profile_pipeline_overdue"}
        process.send_signal(signal.SIGTERM)
        assert (await ended(process)).code == 0


async def test_the_real_service_tells_if_an_export_is_overdue(tmp_path: Path) -> None:
    port, days = free_port(), ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    expect = {"by": "00:00", "time_zone": "UTC", "days": days}
    async with dropping(tmp_path) as drop, drop.serving(web={"port": port}, expect=expect):
        # It is expected from now on.
        await until_told(port, "overdue", 0)
