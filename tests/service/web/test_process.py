"""The web server in the real process: beside a load, over a port in use, over SIGHUP, and to the end."""

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp

from pipeline.jobs.status.job import FOLLOWED
from pipeline.sandbox import Fault, FaultPlan
from tests.service.web.site import free_port
from tests.tools.dropping import Drop, dropping, events
from tests.tools.support import SIX_ROWS, ended, run_program, until


async def get(port: int, path: str) -> tuple[int, Any]:
    """The status and the JSON of an answer; 0 while nobody listens."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}{path}") as response,
        ):
            return response.status, await response.json(content_type=None)
    except aiohttp.ClientConnectorError:
        return 0, None


async def until_answered(port: int, path: str, status: int = 200) -> Any:
    async with asyncio.timeout(60):
        while True:
            found, told = await get(port, path)
            if found == status:
                return told


async def until_well(drop: Drop, words: str) -> str:
    """What `health` says as soon as these words are in it."""
    async with asyncio.timeout(60):
        while words not in (done := await run_program("health", "--config", drop.directory.parent / "config.toml")).out:
            pass
    assert done.code == 0
    return done.out


async def test_it_shows_a_load_while_it_runs_and_after(tmp_path: Path) -> None:
    port = free_port()
    async with dropping(tmp_path, apply_min_s=600.0, apply_max_s=600.0) as drop:
        async with drop.serving(web={"port": port}) as process:
            assert await until_answered(port, "/healthz") == {"is_well": True}
            assert await until_answered(port, "/readyz") == {"is_ready": True, "why": []}
            drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
            async with asyncio.timeout(60):
                while not (await get(port, "/status"))[1]["statuses_under_way"]:
                    pass
            (job,) = (await get(port, "/jobs"))[1]["jobs"]
            assert (job["state"], job["batches"]) == ("unfinished", {FOLLOWED: 1})
            drop.at.sandbox.apply_all()
            await until(lambda: drop.ends() == {"a.csv": "done"})
            async with asyncio.timeout(60):
                while (await get(port, f"/jobs/{job['job']}"))[1]["state"] != "done":
                    pass
            process.send_signal(signal.SIGTERM)
            done = await ended(process)
        assert done.code == 0, done.said
        assert [event["address"] for event in events(done, "web_listening")] == [f"http://127.0.0.1:{port}"]


async def test_a_port_in_use_keeps_no_row_waiting_and_another_is_taken(tmp_path: Path) -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with dropping(tmp_path) as drop, drop.serving(web={"port": port}) as process:
            drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
            await until(lambda: drop.ends() == {"a.csv": "done"})
            assert f"; cannot listen on 127.0.0.1 port {port}: " in await until_well(drop, "cannot listen")
            drop.config(web={"port": free})
            process.send_signal(signal.SIGHUP)
            assert await until_answered(free, "/healthz") == {"is_well": True}
            process.send_signal(signal.SIGTERM)
            done = await ended(process)
    assert [event["port"] for event in events(done, "web_not_listening")] == [port]
    assert [event["changed"] for event in events(done, "configuration_taken")] == [["[web] port"]]


async def test_it_is_not_ready_without_its_drop_directory(tmp_path: Path) -> None:
    port = free_port()
    async with dropping(tmp_path) as drop, drop.serving(web={"port": port}) as process:
        await until_answered(port, "/readyz")
        drop.directory.rename(tmp_path / "away")
        told = await until_answered(port, "/readyz", 503)
        assert told["why"][0].startswith(f"the directory {drop.directory} (drop (default)) is gone")
        assert await until_answered(port, "/healthz") == {"is_well": True}
        (tmp_path / "away").rename(drop.directory)
        await until_answered(port, "/readyz")
        process.send_signal(signal.SIGTERM)
        assert (await ended(process)).code == 0


async def test_it_is_not_ready_while_it_ends_and_shows_that(tmp_path: Path) -> None:
    port = free_port()
    slow = FaultPlan(posts={1: Fault.SLOW}, slow_bytes_s=1.0)
    async with dropping(tmp_path, faults=slow) as drop:
        drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
        async with drop.serving(web={"port": port}, service={"grace_s": 600.0}) as process:
            await until(lambda: drop.at.sandbox.calls["posts"])
            await until_answered(port, "/readyz")
            process.send_signal(signal.SIGTERM)
            (why,) = (await until_answered(port, "/readyz", 503))["why"]
            assert why.startswith("it is ending")
            assert await until_answered(port, "/healthz") == {"is_well": True}
            process.send_signal(signal.SIGTERM)
            assert (await ended(process)).code == 0
    assert (await get(port, "/healthz"))[0] == 0
