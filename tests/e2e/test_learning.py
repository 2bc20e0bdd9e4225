"""How many statuses Target keeps is learned by whole loads, kept, shown, and never paid for with a lost status."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from pipeline.core.target.status_memory import Learned
from pipeline.edges.host import Host
from pipeline.edges.store.ledger import open_ledger
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.jobs.one_shot import load_export
from pipeline.sandbox import Fault, FaultPlan
from tests.simulation.loop import run_virtually
from tests.simulation.staged import deliver, staged
from tests.simulation.virtually import virtually
from tests.tools.support import (
    Delivery,
    answering,
    bench,
    loop_clock,
    profiles_after,
    run_fast,
    run_program,
    settings_for,
    until,
    write_export,
)

AT_ONCE: dict[str, Any] = {"apply_min_s": 0.0, "apply_max_s": 0.0}
ONE_ROW = {"max_rows": 1}
DAY = timedelta(days=1)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def rows(count: int, name: str = "u") -> tuple[str, ...]:
    return tuple(f"{name}{number},gold,{number}" for number in range(count))


def learned_in(directory: Path) -> Learned:
    ledger = read_ledger(directory / "state" / "ledger.db")
    assert ledger is not None
    with closing(ledger):
        return ledger.learned_statuses()


def accepted_in(directory: Path) -> int:
    """Batches of which it is written down that Target accepted them."""
    ledger = read_ledger(directory / "state" / "ledger.db")
    assert ledger is not None
    with closing(ledger):
        return sum(batch.accepted_at is not None for batch in ledger.batches())


def load(directory: Path, *lines: str, options: Mapping[str, Any], **sections: Any) -> tuple[Delivery, list[int]]:
    """A load of a batch for each line, and the sizes that were learned, in order."""
    with capture_logs() as logs:
        delivery = deliver(directory, *lines, options=options, batch=ONE_ROW, **sections)
    return delivery, [log["size"] for log in logs if log["event"] == "status_window_learned"]


@pytest.mark.parametrize(
    ("kept", "batches", "sizes"),
    [(10, 30, [10]), (40, 60, [20, 20]), (50, 60, [20, 40]), (100_000, 95, [20, 40, 80])],
)
def test_what_target_keeps_is_learned_and_no_status_is_lost(
    tmp_path: Path, kept: int, batches: int, sizes: list[int]
) -> None:
    options = {**AT_ONCE, "statuses_kept": kept}
    delivery, learned = load(tmp_path, *rows(batches), options=options, upload={"concurrency": 1})
    assert delivery.rows["confirmed"] == batches
    assert delivery.profiles == profiles_after(*rows(batches))
    assert learned == sizes
    assert learned_in(tmp_path).size == sizes[-1]
    assert (learned_in(tmp_path).failed_at is not None) == (kept <= 40)
    # Every batch is complete when it is first asked for.
    assert delivery.sandbox.calls == {"posts": batches, "statuses": batches + len(sizes)}


def test_no_status_is_lost_while_batches_take_their_time(tmp_path: Path) -> None:
    options = {"statuses_kept": 41, "apply_min_s": 0.0, "apply_max_s": 20.0, "seed": 7}
    delivery, sizes = load(tmp_path, *rows(100), options=options, upload={"concurrency": 8})
    assert delivery.rows["confirmed"] == 100
    assert sizes[0] == 20


@virtually
async def test_what_failed_is_not_tried_again_that_day(tmp_path: Path) -> None:
    async with staged(tmp_path, **AT_ONCE, statuses_kept=10) as stage:
        with capture_logs() as logs:
            await stage.load(*rows(30), name="first.csv", batch=ONE_ROW)
            failed, asked = learned_in(tmp_path), stage.sandbox.calls["statuses"]
            await stage.load(*rows(30, "v"), name="second.csv", batch=ONE_ROW)
        assert [log["size"] for log in logs if log["event"] == "status_window_learned"] == [10]
        assert stage.sandbox.calls["statuses"] - asked == 30
        assert failed.failed_at is not None
        assert learned_in(tmp_path) == failed


def test_the_next_run_starts_with_what_was_learned(tmp_path: Path) -> None:
    """Batches that take their time: as many are under way at once as the window lets."""
    load(tmp_path, *rows(40), options={**AT_ONCE, "statuses_kept": 30})
    slow = {"apply_min_s": 200.0, "apply_max_s": 200.0, "statuses_kept": 30}
    delivery, _ = load(tmp_path, *rows(24, "v"), options=slow)
    assert delivery.rows["confirmed"] == 24
    accepted: list[Any] = [post["accepted_s"] for post in delivery.posts]
    assert accepted[19] - accepted[0] < 200.0 <= accepted[20] - accepted[0], "twenty at once"


def test_a_fixed_window_asks_for_nothing_more_than_needed(tmp_path: Path) -> None:
    delivery, sizes = load(tmp_path, *rows(40), options=AT_ONCE, settle={"status_window": 10})
    assert sizes == []
    assert delivery.sandbox.calls["statuses"] == 40
    assert learned_in(tmp_path) == Learned()


async def test_status_shows_it(tmp_path: Path) -> None:
    async with bench(tmp_path, statuses_kept=25) as at:
        window: dict[str, Any] = {}
        for name in "uvw":
            # On a busy machine a load may end before it has asked for more statuses than it knows are kept.
            assert (await at.load(*rows(60, name), batch=ONE_ROW)).code == 0
            told = await run_program("status", "--config", tmp_path / "config.toml", "--json")
            window = orjson.loads(told.out)["status_window"]
            if window["size"] == 20:
                break
        assert (window["size"], window["is_learned"]) == (20, True)
        failed_at = datetime.fromisoformat(window["more_failed_at"])
        assert timedelta(0) < datetime.now(UTC) - failed_at < timedelta(minutes=5)
        told = await run_program("status", "--config", tmp_path / "config.toml")
        assert "Target keeps at least 20 statuses" in told.out


class Forgetting:
    """Answers the second question for a status, and all after it, in a way of its own."""

    def __init__(self, second: web.Response | None) -> None:
        self.asked: Counter[str] = Counter()
        self._second = second
        self._posts = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        if request.method == "POST":
            self._posts += 1
            url = f"http://{request.host}/m2/demo/profile/batchStatus?batchId=b{self._posts}"
            return web.Response(text=f"<response><success>true</success><batchStatus>{url}</batchStatus></response>")
        batch = request.query["batchId"]
        self.asked[batch] += 1
        if self.asked[batch] == 1:
            return web.Response(text="<response><status>complete</status><batchSize>1</batchSize></response>")
        if self._second is None:
            await asyncio.sleep(1_000.0)
            return web.Response(status=500)
        return web.Response(status=self._second.status, text=self._second.text)


def load_from(
    directory: Path, second: web.Response | None, batches: int, *more: str
) -> tuple[dict[str, Any], Counter[str]]:
    async def run() -> tuple[dict[str, Any], Counter[str]]:
        target = Forgetting(second)
        async with answering(target.answer) as base_url:
            settings = settings_for(base_url, directory / "state", batch=ONE_ROW, export={"max_rejects": 0})
            export = write_export(directory / "export.csv", *rows(batches), *more)
            return (await load_export(export, settings, host=Host(loop_clock()))).as_json(), target.asked

    return run_fast(run())


class TestLooksThatGoWrong:
    @pytest.mark.parametrize(
        "second",
        [
            web.Response(status=500),
            web.Response(status=302),
            web.Response(status=401),
            web.Response(text="<html>Sorry"),
            web.Response(text="<response></response>"),
        ],
        ids=["500", "302", "401", "garbage", "empty"],
    )
    def test_no_answer_changes_nothing_and_is_seldom_asked_for(self, tmp_path: Path, second: web.Response) -> None:
        report, asked = load_from(tmp_path, second, 50)
        assert report["rows"]["confirmed"] == 50
        assert learned_in(tmp_path) == Learned()
        assert sum(asked.values()) - 50 in (1, 2), "one for every twenty batches"

    @pytest.mark.parametrize("status", ["incomplete", "expired", "stuck"])
    def test_what_is_not_complete_any_more_is_not_kept(self, tmp_path: Path, status: str) -> None:
        second = web.Response(text=f"<response><status>{status}</status></response>")
        report, asked = load_from(tmp_path, second, 30)
        assert report["rows"]["confirmed"] == 30
        learned = learned_in(tmp_path)
        assert learned.size == 10
        assert learned.failed_at is not None
        assert sum(asked.values()) == 31

    def test_one_that_hangs_does_not_keep_the_job_from_ending(self, tmp_path: Path) -> None:
        report, asked = load_from(tmp_path, None, 40)
        assert report["rows"]["confirmed"] == 40
        assert sum(asked.values()) == 41, "there was one"
        assert report["seconds"] < 20.0, "it would wait half a minute for the answer"

    def test_nor_from_being_given_up(self, tmp_path: Path) -> None:
        """The export turns out to be unusable far behind, so that much was sent, and some batches never are."""
        long = tuple(f"v{number},{'x' * 10_000},1" for number in range(60))
        report, asked = load_from(tmp_path, None, 30, *long, ",no id,1")
        assert report["exit_code"] == 65
        assert report["rows"]["confirmed"] > 30
        assert sum(asked.values()) == 1 + report["rows"]["confirmed"], "there was one"
        assert report["seconds"] < 20.0


class TestALostStatus:
    def lose_one(self, directory: Path) -> Delivery:
        faults = FaultPlan(statuses={1: Fault.STATUS_LOST})
        return deliver(directory, *rows(8), faults=faults, batch=ONE_ROW)

    def learn(self, directory: Path, size: int) -> None:
        (directory / "state").mkdir()
        ledger = open_ledger(directory / "state" / "ledger.db", "demo", NOW.isoformat, is_new=True)
        ledger.remember_statuses(Learned(size))
        ledger.close()

    def test_what_was_learned_is_not_certain_any_more(self, tmp_path: Path) -> None:
        self.learn(tmp_path, 80)
        delivery = self.lose_one(tmp_path)
        assert delivery.rows["unconfirmed"] == 1
        learned = learned_in(tmp_path)
        assert learned.size == 10
        assert learned.failed_at is not None

    @pytest.mark.parametrize(("after", "size"), [(timedelta(hours=1), 10), (2 * DAY, 80), (-DAY, 10)])
    def test_of_a_batch_accepted_long_before_it_tells_nothing(
        self, tmp_path: Path, after: timedelta, size: int
    ) -> None:
        """By a process that ended; the clock may have been set back since."""
        self.learn(tmp_path, 80)
        export = write_export(tmp_path / "export.csv", *rows(4))

        async def run() -> dict[str, Any]:
            async with staged(tmp_path, apply_min_s=500.0, apply_max_s=500.0) as stage:
                settings, clock = stage.settings(batch=ONE_ROW), stage.host.clock
                then = replace(stage.host, clock=replace(clock, utc_now=lambda: NOW))
                first = asyncio.create_task(load_export(export, settings, host=then))
                await until(lambda: accepted_in(tmp_path) == 4, within_s=1_000.0)
                first.cancel()
                await asyncio.wait([first])
                stage.sandbox.faults = FaultPlan(status_chances={Fault.STATUS_LOST: 1.0})
                later = replace(stage.host, clock=replace(clock, utc_now=lambda: NOW + after))
                return (await load_export(export, settings, host=later)).as_json()

        report = run_virtually(run())
        assert report["rows"]["unconfirmed"] == 4
        assert learned_in(tmp_path).size == size


def test_how_long_a_batch_took_that_an_earlier_process_sent_is_not_known(tmp_path: Path) -> None:
    """It is complete when it is first asked for, 200 s after the restart; that is no reason to ask others earlier."""

    async def run() -> dict[str, Any]:
        async with staged(tmp_path, apply_min_s=0.5, apply_max_s=20.0) as stage:
            settings = stage.settings(settle={"poll_first_s": 200.0, "poll_max_s": 200.0})
            export = write_export(tmp_path / "export.csv", *rows(4))
            first = asyncio.create_task(load_export(export, settings, host=stage.host))
            await until(lambda: stage.sandbox.calls["posts"] and accepted_in(tmp_path) == 1, within_s=1_000.0)
            first.cancel()
            await asyncio.wait([first])
            other = write_export(tmp_path / "other.csv", *rows(4, "v"))
            return (await load_export(other, settings, host=stage.host)).as_json()

    report = run_virtually(run())
    assert report["rows"]["confirmed"] == 4
    assert report["seconds"] >= 200.0
