"""How the contract tests talk to a sandbox: over a real socket, under a clock that only the test moves."""

import asyncio
import contextlib
import io
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import aiohttp

from pipeline.sandbox import FaultPlan, MistakeKind, Sandbox, SandboxOptions, serving

FORM = "application/x-www-form-urlencoded"
V2 = "/m2/demo/v2/profile/batchUpdate"
V1 = "/m2/demo/profile/batchUpdate"
WALL_S = 1_700_000_000.0


class Clock:
    """A monotonic clock and a sleep that moves it."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds


@dataclass
class Answer:
    """An answer read whole."""

    status: int
    text: str
    headers: dict[str, str]

    def tag(self, name: str) -> str | None:
        """The text of one element, taken without an XML parser because of raw ampersands."""
        found = re.search(f"<{name}>(.*?)</{name}>", self.text, re.DOTALL)
        return found and found[1]

    @property
    def is_accepted(self) -> bool:
        return self.status == 200 and self.tag("success") == "true"

    @property
    def refusal(self) -> str | None:
        """The message of a refusal, None if it is none."""
        return self.tag("message") if self.status == 200 and self.tag("success") == "false" else None

    @property
    def status_url(self) -> str:
        url = self.tag("batchStatus")
        assert url is not None, self
        return url


@dataclass
class Talk:
    """One sender and its sandbox."""

    base_url: str
    sandbox: Sandbox
    clock: Clock
    session: aiohttp.ClientSession
    server: AsyncExitStack

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])

    async def stop(self) -> None:
        """End the server now; the session and its requests stay."""
        await self.server.aclose()

    async def post(self, body: str | bytes, *, path: str = V2, **headers: str) -> Answer:
        sent = {"Content-Type": FORM, **{name.replace("_", "-"): value for name, value in headers.items()}}
        content = body.encode() if isinstance(body, str) else body
        whole = io.BytesIO(content)
        return await self._read(self.session.post(self.base_url + path, data=whole, headers=sent))

    async def get(self, url: str, **headers: str) -> Answer:
        full = url if url.startswith("http") else self.base_url + url
        return await self._read(self.session.get(full, headers=headers, allow_redirects=False))

    async def get_json(self, url: str) -> Any:
        async with self.session.get(self.base_url + url) as response:
            return await response.json(content_type=None)

    async def post_json(self, url: str, value: object) -> Answer:
        return await self._read(self.session.post(self.base_url + url, json=value))

    async def status(self, answer: Answer) -> ElementTree.Element:
        """The status of an accepted batch with its counts, parsed strictly."""
        return ElementTree.fromstring((await self.get(answer.status_url + "&showDetails=true")).text)

    async def state_of(self, answer: Answer) -> str | None:
        return (await self.get(answer.status_url)).tag("status")

    async def accept(self, body: str, *, path: str = V2) -> Answer:
        """Send a batch that must be accepted."""
        answer = await self.post(body, path=path)
        assert answer.is_accepted, answer
        return answer

    async def apply(self, body: str, *, path: str = V2) -> ElementTree.Element:
        """Send a batch, apply it and take its status."""
        answer = await self.accept(body, path=path)
        self.sandbox.apply_all()
        return await self.status(answer)

    def mistakes(self) -> list[MistakeKind]:
        return [mistake.kind for mistake in self.sandbox.mistakes]

    async def _read(self, request: Any) -> Answer:
        async with request as response:
            text = (await response.read()).decode(errors="replace")
            return Answer(response.status, text, dict(response.headers))


@asynccontextmanager
async def talking(faults: FaultPlan | None = None, **options: Any) -> AsyncIterator[Talk]:
    """A sender and a sandbox; batches are applied after exactly 10 s unless the options say otherwise."""
    clock = Clock()
    settings = SandboxOptions(**{"apply_min_s": 10.0, "apply_max_s": 10.0, **options})
    sandbox = Sandbox(settings, faults=faults, monotonic=clock, wall=lambda: WALL_S, sleep=clock.sleep)
    async with AsyncExitStack() as server, aiohttp.ClientSession() as session:
        run = await server.enter_async_context(serving(sandbox))
        yield Talk(run.base_url, sandbox, clock, session, server)


def rows(*lines: str, header: str = "thirdPartyId,tier,ltv") -> str:
    """A body of these rows."""
    return "batch=" + "\n".join([header, *lines])


def counts(status: ElementTree.Element) -> tuple[int, ...]:
    """batchSize, consumedCount, successfulUpdates, profilesNotFound, failedUpdates."""
    names = ("batchSize", "consumedCount", "successfulUpdates", "profilesNotFound", "failedUpdates")
    return tuple(int(status.findtext(name, "-1")) for name in names)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another task or thread does."""
    async with asyncio.timeout(10.0):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)


def faults_met(talk: Talk) -> list[object]:
    met = talk.sandbox.state()["faults_met"]
    assert isinstance(met, list)
    return met


async def raw_get(talk: Talk, url: str) -> bytes:
    """What comes back on one connection, up to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", talk.port)
    try:
        writer.write(f"GET {url.removeprefix(talk.base_url)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            return await reader.read()
        return b""
    finally:
        writer.close()
