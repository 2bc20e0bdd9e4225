"""A receiver of notifications on this machine, which answers as a test wants, and keeps what it got."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from aiohttp import web

from pipeline.edges.clock import Clock
from tests.tools.support import listening, until


@dataclass(slots=True)
class Receiving:
    """A receiver. `answers`: what it answers next (a status, `hang` or `huge`); then it goes on with `usual`."""

    url: str = ""
    usual: int | str = 200
    answers: list[int | str] = field(default_factory=list)
    got: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def webhook(self) -> str:
        """Its URL for events."""
        return f"{self.url}/hooks/s3cret"

    @property
    def heartbeat(self) -> str:
        """Its URL for heartbeats."""
        return f"{self.url}/ping/s3cret"

    @property
    def told(self) -> list[dict[str, Any]]:
        """The bodies of its POSTs, refused ones too."""
        return [orjson.loads(body) for method, _, _, body in self.got if method == "POST"]

    @property
    def events(self) -> list[str]:
        """The events that it was told of."""
        return [each["event"] for each in self.told]

    @property
    def beats(self) -> int:
        """The calls of its heartbeat."""
        return sum(method == "GET" for method, *_ in self.got)

    async def until_told(self, *events: str) -> None:
        """Wait until it was told of exactly these."""
        await until(lambda: len(self.events) >= len(events))
        assert self.events == list(events)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiving]:
    """A receiver that takes all."""
    receiver = Receiving()
    never = asyncio.Event()

    async def take(request: web.Request) -> web.StreamResponse:
        receiver.got.append((request.method, request.path, dict(request.headers), await request.read()))
        answer = receiver.answers.pop(0) if receiver.answers else receiver.usual
        if answer == "hang":
            await never.wait()
        if answer == "huge":
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"x" * 1_000_000)
        assert isinstance(answer, int)
        headers = {"Location": f"{receiver.url}/elsewhere"} if 300 <= answer < 400 else {}
        return web.Response(status=answer, text="s3cret of the receiver", headers=headers)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", take)
    async with listening(application) as receiver.url:
        yield receiver
        never.set()


@dataclass(slots=True)
class SetClock:
    """A clock that a test sets."""

    at: datetime = datetime(2026, 11, 30, 3, tzinfo=UTC)
    passed_s: float = 0.0

    def go_on(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.passed_s += seconds

    @property
    def clock(self) -> Clock:
        """The same as the program sees it. Nobody may sleep by it."""

        async def no_sleep(_: float) -> None:
            raise AssertionError("nobody sleeps here")

        return Clock(
            monotonic=lambda: self.passed_s,
            utc_now=lambda: self.at + timedelta(seconds=self.passed_s),
            sleep=no_sleep,
            random=lambda: 0.0,
        )
