"""Events for pages that stay open: one whenever the status shows something else, and only while somebody listens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import orjson

from pipeline.edges.clock import Clock
from pipeline.service.web.events import MOST_LISTENERS
from pipeline.service.web.latest import FRESH_S
from tests.service.web.ledgers import enter_jobs
from tests.service.web.site import Site, of_settings, site
from tests.tools.support import until

#: An event that does not come within this never does (seconds).
WITHIN_S = 60.0


class Listener:
    """A page that listens."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def event(self) -> dict[str, str]:
        """The next event, by field."""
        lines: list[str] = []
        async with asyncio.timeout(WITHIN_S):
            while not lines or lines[-1]:
                line = (await self.response.content.readline()).decode()
                assert line, "the server has ended the stream"
                lines.append(line.strip())
        return dict(line.split(": ", 1) for line in lines if line)

    async def ends(self) -> bool:
        async with asyncio.timeout(WITHIN_S):
            return b"event:" not in await self.response.content.read()


@asynccontextmanager
async def listening(at: Site, **headers: str) -> AsyncIterator[Listener]:
    async with at.session.get(f"{at.url}/events", headers=headers) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream")
        assert response.headers["Cache-Control"] == "no-store"
        yield Listener(response)


async def test_the_first_comes_at_once_and_the_next_when_something_changes(tmp_path: Path) -> None:
    now_s = 0.0
    enter_jobs(tmp_path / "state", 1)
    async with site(of_settings(tmp_path), clock=Clock(monotonic=lambda: now_s)) as at, listening(at) as page:
        first = await page.event()
        assert first["event"] == "status"
        assert orjson.loads(first["data"]) == {"digest": first["id"]}
        enter_jobs(tmp_path / "state", 1, name="new")
        now_s += FRESH_S
        second = await page.event()
        assert second["id"] != first["id"]
        assert (await at.latest.status()).digest == second["id"]


async def test_what_grows_older_is_no_news(tmp_path: Path) -> None:
    now_s = 0.0
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "a.csv.ready").touch()
    configuration = of_settings(tmp_path, drop={"directory": str(drop)})
    enter_jobs(tmp_path / "state", 1)
    async with site(configuration, clock=Clock(monotonic=lambda: now_s)) as at:
        before = await at.latest.status()

        async def is_older() -> bool:
            nonlocal now_s
            now_s += FRESH_S
            return (await at.latest.status()).body != before.body

        async with asyncio.timeout(WITHIN_S):
            while not await is_older():
                pass
        assert (await at.latest.status()).digest == before.digest


async def test_whoever_comes_back_is_not_told_again(tmp_path: Path) -> None:
    now_s = 0.0
    enter_jobs(tmp_path / "state", 1)
    async with site(of_settings(tmp_path), clock=Clock(monotonic=lambda: now_s)) as at:
        digest = (await at.latest.status()).digest
        async with listening(at, **{"Last-Event-ID": digest}) as page:
            enter_jobs(tmp_path / "state", 1, name="new")
            now_s += FRESH_S
            assert (await page.event())["id"] != digest


async def test_only_so_many_listen_at_once(tmp_path: Path) -> None:
    async with site(of_settings(tmp_path)) as at:
        async with AsyncExitStack() as stack:
            for _ in range(MOST_LISTENERS):
                page = await stack.enter_async_context(listening(at))
                await page.event()
            said = await at.get("/events")
            assert (said.status, said.headers["Retry-After"]) == (503, "60")
        await until(lambda: at.events.listeners == 0)
        async with listening(at) as page:
            await page.event()


async def test_nothing_is_read_while_nobody_listens(tmp_path: Path) -> None:
    readings = 0

    def count() -> float:
        nonlocal readings
        readings += 1
        return float(readings)

    async with site(of_settings(tmp_path), clock=Clock(monotonic=count)) as at:
        async with listening(at) as page:
            await page.event()
            await until(lambda: readings > 10)
        await until(lambda: at.events.listeners == 0)
        before = readings
        await at.get("/healthz")
        # The connection that asked was noted, and nothing else wanted to know the time.
        assert readings - before <= 3


async def test_a_ledger_that_cannot_be_read_is_an_event_too(tmp_path: Path) -> None:
    now_s = 0.0
    enter_jobs(tmp_path / "state", 1)
    async with site(of_settings(tmp_path), clock=Clock(monotonic=lambda: now_s)) as at, listening(at) as page:
        await page.event()
        (tmp_path / "state" / "ledger.db-wal").unlink(missing_ok=True)
        (tmp_path / "state" / "ledger.db").write_bytes(b"no database" * 1_000)
        now_s += FRESH_S
        assert orjson.loads((await page.event())["data"]) == {"digest": "none"}


async def test_all_are_let_go_when_the_server_ends(tmp_path: Path) -> None:
    async with AsyncExitStack() as outside:
        session = await outside.enter_async_context(aiohttp.ClientSession())
        async with site(of_settings(tmp_path)) as at:
            response = await outside.enter_async_context(session.get(f"{at.url}/events"))
            page = Listener(response)
            await page.event()
        assert await page.ends()


async def test_events_are_for_get_only(tmp_path: Path) -> None:
    async with site(of_settings(tmp_path)) as at:
        said = await at.get("/events", method="HEAD")
        assert (said.status, said.headers["Allow"]) == (405, "GET")
