"""An unexpected error ends one job, or holds up one client code, of a service: all others are served, at each start."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import pytest
from structlog.testing import capture_logs

from pipeline.core.errors import ExitCode
from pipeline.edges.host import Host
from pipeline.edges.store.row_sums import add_function, add_triggers
from pipeline.service.process import serve
from pipeline.settings.routes import load_configuration
from tests.tools.dropping import dropping, events
from tests.tools.poison import ALWAYS, POISONED, SECRET, Poison
from tests.tools.routing import Routes, routing
from tests.tools.support import SIX_ROWS, ended, run_program, until

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

NEVER: dict[str, Any] = {"apply_min_s": 600.0, "apply_max_s": 600.0}


def drop_three(at: Routes) -> None:
    """Three exports of one client code, the one in the middle poisoned, and one of another."""
    eu, us = at.add("eu", "acme"), at.add("us", "other")
    at.config()
    for age, name in enumerate(("a.csv", f"{POISONED}.csv", "c.csv")):
        eu.put(name, f"u1,{name},", f"u{age + 2},{name},")
        os.utime(eu.directory / f"{name}.ready", (1_000_000_000 + age, 1_000_000_000 + age))
    us.put("d.csv", *SIX_ROWS)


async def drain_with(at: Routes, poison: Poison) -> tuple[ExitCode, list[Any]]:
    with capture_logs() as logs:
        code = await serve(load_configuration(at.file), host=poison.on(Host()), drain=True)
    return code, list(logs)


@pytest.mark.parametrize("step", ["open", "seal", "post"])
async def test_of_two_client_codes_and_three_drops_only_the_poisoned_one_is_not_loaded(
    step: str, tmp_path: Path
) -> None:
    async with routing(tmp_path, "acme", "other") as at:
        drop_three(at)
        code, logs = await drain_with(at, Poison(step, times=ALWAYS))
        is_batch = step == "post"
        assert code is (ExitCode.ROWS_LOST if is_batch else ExitCode.OUR_BUG)
        ends = {"a.csv": "done", f"{POISONED}.csv": "incomplete" if is_batch else "failed", "c.csv": "done"}
        assert at.ends("acme") == ends
        assert at.ends("other") == {"d.csv": "done"}
        assert SECRET not in repr(logs)
        for _ in range(3):
            code, logs = await drain_with(at, Poison(step, times=ALWAYS))
            assert code is ExitCode.DONE
            assert not [each for each in logs if each["log_level"] == "error"]
        assert at.ends("acme") == ends
        assert at.profiles("acme")["u1"]["tier"] == "c.csv"
        kept = [path.name for path in at.state("acme").glob("jobs/*/drop/*.csv")]
        assert kept == [f"{POISONED}.csv"]
        assert at.left() == []


def alter(ledger: Path, change: str, *values: object) -> None:
    with closing(sqlite3.connect(ledger)) as database, database:
        # As an earlier version may have written it: with its sums.
        add_function(database)
        add_triggers(database)
        assert database.execute(change, values).rowcount, "it is altered"


async def test_settings_of_a_job_that_are_none_are_those_of_that_job(tmp_path: Path) -> None:
    async with dropping(tmp_path, **NEVER) as drop:
        drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
        async with drop.serving() as process:
            await until(lambda: drop.at.sandbox.calls["posts"] == 1)
            drop.put("b.csv", "u2,gold,1", signal_as="b.csv.ready")
            await until(lambda: drop.at.sandbox.calls["posts"] == 2)
            drop.put("c.csv", "u3,gold,1", signal_as="c.csv.ready")
            await until(lambda: drop.at.sandbox.calls["posts"] == 3)
            statuses = drop.at.sandbox.calls["statuses"]
            await until(lambda: drop.at.sandbox.calls["statuses"] > statuses + 3)
            process.kill()
            await ended(process)
        alter(
            drop.at.state / "ledger.db",
            "UPDATE jobs SET settings = json_set(settings, '$.id_kind', 17) WHERE job_id LIKE '%-b-%'",
        )
        drop.at.sandbox.apply_all()
        done = await drop.drain()
        assert done.code == 70, done.said
        assert drop.ends() == {"a.csv": "done", "b.csv": "failed", "c.csv": "done"}
        (report,) = (each for each in drop.reports() if each["state"] == "failed")
        # What it had sent was followed.
        assert report["rows"]["confirmed"] == 1
        assert "an unexpected ValidationError in pipeline/" in report["error"]
        assert [each["why"] for each in events(done, "job_set_aside")]
        for _ in range(3):
            assert (await drop.drain()).code == 0
        retried = await run_program("retry", report["job"], "--config", tmp_path / "config.toml")
        assert (retried.code, "nothing to send again" in retried.out) == (0, True), retried.said
        abandoned = await run_program("abandon", report["job"], "--config", tmp_path / "config.toml")
        assert (abandoned.code, "has ended already" in abandoned.err) == (64, True), abandoned.said


async def test_while_it_is_followed_status_says_why_and_abandoning_it_is_allowed(tmp_path: Path) -> None:
    async with dropping(tmp_path, **NEVER) as drop:
        drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
        async with drop.serving() as process:
            await until(lambda: drop.at.sandbox.calls["statuses"])
            process.kill()
            await ended(process)
        change = "UPDATE jobs SET settings = json_set(settings, '$.id_kind', 17)"
        alter(drop.at.state / "ledger.db", change)
        drop.put("b.csv", "u2,gold,1", signal_as="b.csv.ready")
        async with drop.serving() as process:
            # The next one is not kept from its beginning.
            await until(lambda: drop.at.sandbox.calls["posts"] == 2)
            job = next(path.name for path in (drop.at.state / "jobs").iterdir() if "-a-" in path.name)
            told = await run_program("status", job, "--config", tmp_path / "config.toml")
            assert "set aside, so only followed to its end: an unexpected ValidationError in" in told.out
            done = await run_program("abandon", job, "--config", tmp_path / "config.toml")
            assert done.code == 0, done.said
            drop.at.sandbox.apply_all()
            await until(lambda: drop.ends() == {"a.csv": "failed", "b.csv": "done"})
            process.send_signal(signal.SIGTERM)
            assert (await ended(process)).code == 0


def failing_at(name: str, times: list[int]) -> Host:
    """A machine on which this blocking call, of no job, raises so many times."""
    host = Host()

    async def run_blocking(function: Callable[[*Arguments], T], /, *args: *Arguments) -> T:
        called: Any = function
        while isinstance(called, partial):
            called = called.func
        if getattr(called, "__name__", "") == name and times[0]:
            times[0] -= 1
            raise RuntimeError(SECRET)
        return await host.run_blocking(function, *args)

    return replace(host, run_blocking=run_blocking)


@pytest.mark.parametrize(
    "step",
    ["untaken_jobs", "jobs_to_look_at", "_requests", "jobs_in_order", "begun_jobs", "next_post_number", "set_aside"],
)
async def test_what_the_service_does_besides_its_jobs_is_tried_again(step: str, tmp_path: Path) -> None:
    async with routing(tmp_path, "acme", "other") as at:
        drop_three(at)
        with capture_logs() as logs:
            serving = asyncio.create_task(serve(load_configuration(at.file), host=failing_at(step, [1])))
            try:
                async with asyncio.timeout(60):
                    await until(lambda: at.ends("acme").get("c.csv") == "done", within_s=60.0)
                    await until(lambda: at.ends("other") == {"d.csv": "done"})
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                code = await serving
        assert code is ExitCode.DONE
        assert [each for each in logs if each["event"] == "unexpected_error"]
        assert SECRET not in repr(logs)
        assert set(at.ends("acme").values()) == {"done"}
        assert at.profiles("acme")["u1"]["tier"] == "c.csv"
