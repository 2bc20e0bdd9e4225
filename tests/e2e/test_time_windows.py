"""Whole loads under time windows: in this process on a fast clock, and as a process."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from pipeline.cli.print_status import print_status
from pipeline.edges.target.call_queue import CallQueue
from pipeline.jobs.job import Job
from pipeline.jobs.one_shot import load_export
from pipeline.jobs.status.tenant import status
from tests.simulation.loop import run_virtually
from tests.simulation.nobody import to_nobody
from tests.simulation.staged import Stage, staged
from tests.tools.dropping import dropping
from tests.tools.support import (
    SIX_ROWS,
    assert_every_row_is_in_one_class,
    bench,
    ended,
    profiles_after,
    run_program,
    settings_for,
    started,
    until,
    write_export,
)

#: A Monday, half a minute before nine in Berlin.
BEFORE_NINE = datetime(2026, 11, 23, 7, 59, 30, tzinfo=UTC)
BERLIN = {"days": ["mon"], "from": "09:00", "to": "09:02", "time_zone": "Europe/Berlin"}
PAUSE: list[dict[str, Any]] = [{**BERLIN, "pause": True}]
#: Seconds after `BEFORE_NINE` at which the pause begins and ends.
BEGINS_S, ENDS_S = 30.0, 150.0
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ALWAYS: dict[str, Any] = {"days": DAYS, "from": "00:00", "to": "24:00", "time_zone": "UTC"}

ALWAYS_PAUSED: dict[str, Any] = {"windows": [{**ALWAYS, "pause": True}]}


async def load(
    stage: Stage, *lines: str, watch: Any = None, at: datetime = BEFORE_NINE, host: Any = None, **sections: Any
) -> Any:
    """Load an export of these lines, at a time of day that goes as fast as the loop's."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    clock = replace(stage.host.clock, utc_now=lambda: at + timedelta(seconds=loop.time() - begun))
    export = write_export(stage.directory / "export.csv", *lines)
    there = replace(host or stage.host, clock=clock)
    report = (await load_export(export, stage.settings(**sections), host=there, watch=watch)).as_json()
    assert_every_row_is_in_one_class(report)
    return report


def calls_by_time(stage: Stage, seen: list[tuple[float, int]]) -> Any:
    """What notes now and then how many calls there were."""

    async def watch(job: Job, _: CallQueue) -> None:
        while True:
            calls, at_s = stage.sandbox.calls, (job.clock.utc_now() - BEFORE_NINE).total_seconds()
            seen.append((at_s, calls["posts"] + calls["statuses"]))
            await job.clock.sleep(1.0)

    return watch


def test_a_pause_in_the_middle(tmp_path: Path) -> None:
    """What is accepted before it is followed behind it, for as long as its deadline says without it."""

    async def run() -> tuple[Any, list[tuple[float, int]], int]:
        async with staged(tmp_path, apply_min_s=160.0, apply_max_s=160.0) as stage:
            seen: list[tuple[float, int]] = []
            report = await load(
                stage, *SIX_ROWS, watch=calls_by_time(stage, seen), windows=PAUSE, settle={"deadline_s": 60.0}
            )
            return report, seen, len(stage.sandbox.mistakes)

    report, seen, mistakes = run_virtually(run())
    assert (report["state"], report["rows"]["confirmed"], mistakes) == ("done", 6, 0), report
    in_it = {count for at, count in seen if BEGINS_S + 40.0 < at < ENDS_S}
    assert len(in_it) == 1, "no call in the pause"
    assert min(in_it) > 5, "but before it"
    assert max(count for _, count in seen) > max(in_it), "and behind it"


def test_a_person_pauses_before_and_resumes_in_it(tmp_path: Path) -> None:
    """Who says `resume` in a pause does not end it, and neither for a batch whose turn it was before."""

    async def run() -> tuple[Any, list[float]]:
        async with staged(tmp_path) as stage:

            async def pause_and_resume(job: Job, _: CallQueue) -> None:
                await until(lambda: stage.sandbox.calls["posts"] and len(job.progress.book) == 2)
                await job.clock.sleep(10.0)
                job.state.is_paused = True
                await job.clock.sleep(120.0)
                job.state.is_paused = False
                job.ending.changed.tell()
                await job.clock.sleep(1_000.0)

            before_nine = BEFORE_NINE - timedelta(seconds=60.0)
            sections = {"batch": {"max_rows": 3}, "target": {"calls_per_minute": 1}}
            report = await load(stage, *SIX_ROWS, watch=pause_and_resume, at=before_nine, windows=PAUSE, **sections)
            return report, [post["accepted_s"] for post in stage.posts]

    report, (first_accepted_s, second_accepted_s) = run_virtually(run())
    assert report["rows"]["confirmed"] == 6
    assert first_accepted_s < 60.0 + BEGINS_S
    assert second_accepted_s >= 60.0 + ENDS_S


def test_a_target_that_is_away_in_a_pause_is_not_given_up_for_it(tmp_path: Path) -> None:
    """It was away for half a minute before, and for another one behind."""

    async def run() -> Any:
        async with staged(tmp_path) as stage:
            away = replace(stage.host, connect=to_nobody)
            loop = asyncio.get_running_loop()
            begun = loop.time()
            report = await load(stage, "a,gold,1", host=away, windows=PAUSE, upload={"give_up_after_s": 60.0})
            return report, loop.time() - begun

    report, took_s = run_virtually(run())
    assert report["exit_code"] == 69, report
    assert took_s >= ENDS_S + 25.0


@asynccontextmanager
async def paused_load(tmp_path: Path) -> AsyncIterator[tuple[Any, Any, Path]]:
    async with bench(tmp_path) as at:
        config = at.config(**ALWAYS_PAUSED)
        async with started("load", at.export(*SIX_ROWS), "--config", config, "--json") as process:
            await until(lambda: list((at.state / "spool").glob("*.ids")), within_s=60.0)
            yield at, process, config


async def test_as_a_process(tmp_path: Path) -> None:
    """It tells of the pause, `resume` does not lift it, SIGTERM ends it, and it goes on when there is none."""
    async with paused_load(tmp_path) as (at, process, config):
        for command in ("pause", "resume"):
            assert (await run_program(command, "--config", config)).code == 0
        told = orjson.loads((await run_program("status", "--config", config, "--json")).out)
        assert told["is_paused"] is False
        assert (told["window"]["pause"], told["window"]["until"]) == (True, None)
        said = await run_program("status", "--config", config)
        assert "Time windows: sending pauses." in said.out
        process.send_signal(signal.SIGTERM)
        done = await ended(process)
        assert (done.code, done.report["state"], done.report["rows"]["pending"]) == (75, "unfinished", 6), done.said
        (began,) = [line for line in map(orjson.loads, done.err.splitlines()) if line["event"] == "window_began"]
        assert began["pause"] is True
        assert at.sandbox.calls["posts"] == 0
        again = await run_program("load", at.export(*SIX_ROWS), "--config", at.config(), "--json")
        assert (again.code, again.report["rows"]["confirmed"]) == (0, 6), again.said
        assert at.sandbox.profiles() == profiles_after(*SIX_ROWS)


async def test_as_a_service(tmp_path: Path) -> None:
    """What is dropped is taken and read; nothing is sent; it stops when it is told to."""
    async with dropping(tmp_path) as drop:
        drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
        async with drop.serving(config=drop.config(**ALWAYS_PAUSED)) as process:
            await until(lambda: list((drop.at.state / "spool").glob("*.ids")), within_s=60.0)
            process.send_signal(signal.SIGTERM)
            done = await ended(process)
        assert (done.code, drop.reports(), drop.at.sandbox.calls["posts"]) == (0, [], 0), done.said
        assert (await drop.drain()).code == 0
        assert drop.ends() == {"a.csv": "done"}


async def test_they_do_not_hold_for_a_trial_on_the_sandbox(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        config = at.config(**ALWAYS_PAUSED, export={"id_column": "id", "unlisted": "send"})
        done = await run_program("load", at.export(*SIX_ROWS), "--sandbox", "--config", config, "--json")
    assert (done.code, done.report["rows"]["confirmed"]) == (0, 6), done.said


async def test_what_cannot_be_a_window(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        sections: Any = {"windows": [{**ALWAYS, "pause": True, "time_zone": "Berlin"}]}
        config = at.config(**sections)
        done = await run_program("load", at.export(*SIX_ROWS), "--config", config)
    assert done.code == 78
    assert '[[windows]] number 1, time_zone = "Berlin"' in done.err
    assert "is no time zone that is known here" in done.err


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (
            "2026-11-23T08:00:30",
            "sending pauses until 2026-11-23 09:02 (Europe/Berlin); then nothing is held back "
            "until 2026-11-30 09:00 (Europe/Berlin).",
        ),
        (
            "2026-11-23T09:00:00",
            "nothing is held back until 2026-11-30 09:00 (Europe/Berlin); then sending pauses until "
            "2026-11-30 09:02 (Europe/Berlin).",
        ),
    ],
)
def test_what_status_says(tmp_path: Path, now: str, told: str) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, windows=PAUSE)  # type: ignore[arg-type]
    console = Console(record=True, width=300)
    print_status(status(None, None, settings, datetime.fromisoformat(now).replace(tzinfo=UTC), None), console)
    assert f"Time windows: {told}" in console.export_text()
