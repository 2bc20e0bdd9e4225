"""Everything that can be seen, at once, of exports whose every cell and id is a canary: none is in any of it.

Pages, JSON, events, metrics, notifications, spans, the log, reports, and what commands print that name no id. Rejects
are there for it, and `explain` repeats the id that it is asked for.
"""

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from pipeline.sandbox import Fault, FaultPlan
from tests.e2e.test_traces import collecting
from tests.service.web.site import free_port
from tests.tools.dropping import dropping
from tests.tools.faults.canaries import MARK, TOKEN, check_canaries, is_marked
from tests.tools.reading import get
from tests.tools.receiving import receiving
from tests.tools.support import ended, run_program, started, until

EVENTS = ["done", "incomplete", "failed", "quarantined", "paused", "recovered", "overdue"]
PAGES = ("/", "/status", "/jobs", "/metrics", "/healthz", "/readyz", "/openapi.json")


def rows(count: int) -> list[str]:
    return [f"{MARK}-{number},{MARK}gold{number},{MARK}{number}" for number in range(count)]


#: By name of the export: its rows, what its manifest says, and how its job ends.
EXPORTS: dict[str, tuple[list[str], str, str]] = {
    "lost.csv": (rows(6), "", "incomplete"),
    "rejected.csv": ([*rows(8), f"{MARK}/1,{MARK},{MARK}", f"{MARK},{MARK}", f'{MARK},"{MARK}"{MARK},1'], "", "done"),
    "failed.csv": (rows(5), f"columns=id,{MARK},ltv", "failed"),
}


async def first_event(url: str) -> bytes:
    """What comes first at an address of server-sent events."""
    got = b""
    async with asyncio.timeout(60), aiohttp.ClientSession() as session, session.get(url) as response:
        while b"data:" not in got or not got.endswith(b"\n"):
            got += await response.content.readany()
    return got


async def seen_by_http(url: str) -> list[bytes]:
    """The answers at all addresses; of each job the page and the JSON."""
    jobs = [each["job"] for each in orjson.loads(await get(f"{url}/jobs"))["jobs"]]
    assert len(jobs) == len(EXPORTS) + 1
    html = {"Accept": "text/html"}
    async with aiohttp.ClientSession(headers=html) as session:
        pages = []
        for job in jobs:
            async with session.get(f"{url}/jobs/{job}") as response:
                pages.append(await response.read())
    answers = [await get(f"{url}{path}") for path in (*PAGES, *(f"/jobs/{job}" for job in jobs))]
    assert all((*pages, *answers))
    return [*pages, *answers, await first_event(f"{url}/events")]


async def told_by_commands(config: Path, jobs: list[str]) -> list[bytes]:
    commands = [
        ("status", "--all"),
        ("status", "--all", "--json"),
        ("health",),
        ("config", "show"),
        ("config", "check"),
        *(("status", job) for job in jobs),
        *(("status", job, "--json") for job in jobs),
        # The id is that of nobody, so that what is printed of all jobs has nothing of their rows.
        ("explain", "nobody"),
        ("explain", "nobody", "--json"),
        ("explain", f"{MARK}-1", "--json"),
    ]
    return [(await run_program(*command, "--config", config)).said.encode() for command in commands]


async def test_nothing_of_a_row_is_in_whatever_can_be_seen(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "token").write_text(TOKEN)
    faults = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=2)
    sections: dict[str, Any] = {
        "web": {"port": port},
        "target": {"token_file": str(tmp_path / "token")},
        "export": {"max_rejects": 50},
        "guard": {"min_rows": 4},
        "memory": {"remember": "values"},
        "verify": {"sample": 5, "after_s": 0},
    }
    async with (
        receiving() as receiver,
        collecting() as (collector, variables),
        dropping(tmp_path, faults=faults, token=TOKEN) as drop,
    ):
        notify = {"webhook": receiver.webhook, "events": EVENTS, "heartbeat_url": receiver.heartbeat}
        config = drop.config(notify=notify, **sections)
        async with started("serve", "--config", config, env=variables) as process:
            for name, (lines, manifest, end) in EXPORTS.items():
                drop.put(name, *lines, signal_as=f"{name}.ready", manifest=manifest)
                await until(lambda name=name, end=end: drop.ends().get(name) == end)  # type: ignore[misc]
            drop.put("few.csv", *rows(2), signal_as="few.csv.ready")
            await until(lambda: "quarantined" in receiver.events)
            await until(lambda: list(drop.at.state.glob("jobs/*/verified.json")))
            seen = await seen_by_http(f"http://127.0.0.1:{port}")
            jobs = [each["job"] for each in orjson.loads(await get(f"http://127.0.0.1:{port}/jobs"))["jobs"]]
            seen += await told_by_commands(config, jobs)
            process.send_signal(signal.SIGTERM)
            done = await ended(process)
        seen += [*collector.bodies, *(body for _, _, _, body in receiver.got)]
        seen += [str(each[:3]).encode() for each in receiver.got]
    assert sorted(receiver.events) == ["done", "failed", "incomplete", "quarantined"]
    assert {span.name for span in collector.spans} >= {"job", "batch", "attempt"}
    # That the canaries were there, and that they are found where they may be.
    assert any(is_marked(file.read_bytes()) for file in drop.at.state.glob("jobs/*/rejects.jsonl"))
    reports = [file.read_bytes() for file in drop.at.state.glob("jobs/*/report.*")]
    assert len(reports) == 2 * len(EXPORTS)
    check_canaries(
        tmp_path, drop.at.state, [*seen, *reports, done.said.encode()], exports=[drop.directory, tmp_path / "token"]
    )
