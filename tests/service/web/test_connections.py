"""The connections to the web server: how many, how long they may be silent, and what is no request."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.edges.clock import Clock
from pipeline.service.web.connections import Connections
from tests.service.web.site import Site, of_settings, site

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
#: A connection that is not closed within this hangs (seconds).
WITHIN_S = 60.0


async def connect(at: Site, stack: AsyncExitStack, sent: bytes = b"") -> Streams:
    """A connection on which this was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    stack.callback(writer.close)
    writer.write(sent)
    await writer.drain()
    return reader, writer


async def end_of(streams: Streams) -> bytes:
    """All that comes before the connection is closed."""
    try:
        async with asyncio.timeout(WITHIN_S):
            return await streams[0].read()
    except ConnectionResetError:
        return b""


def request(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


@pytest.mark.parametrize("sent", [b"", b"GET /status", b"GET /status HTTP/1.1\r\nHost: localhost\r\nA:"])
async def test_one_that_asks_nothing_is_closed(tmp_path: Path, sent: bytes) -> None:
    idle = Connections(Clock(), idle_s=0.05)
    async with site(of_settings(tmp_path), connections=idle) as at, AsyncExitStack() as stack:
        assert await end_of(await connect(at, stack, sent)) == b""


async def test_so_is_one_that_asks_no_more(tmp_path: Path) -> None:
    idle = Connections(Clock(), idle_s=0.05)
    async with site(of_settings(tmp_path), connections=idle) as at, AsyncExitStack() as stack:
        said = await end_of(await connect(at, stack, request("/healthz")))
        assert said.startswith(b"HTTP/1.1 200 OK")


async def test_one_that_is_answered_is_not(tmp_path: Path) -> None:
    """Events come over a connection that asks nothing more."""
    idle = Connections(Clock(), idle_s=0.05)
    async with site(of_settings(tmp_path), connections=idle) as at, AsyncExitStack() as stack:
        listening = await connect(at, stack, request("/events"))
        silent = await connect(at, stack)
        await listening[0].readuntil(b"retry: 5000")
        assert await end_of(silent) == b""
        silent = await connect(at, stack)
        assert await end_of(silent) == b""
        assert not listening[0].at_eof()
        assert at.events.listeners == 1


async def test_whoever_is_silent_for_longest_makes_room(tmp_path: Path) -> None:
    two = Connections(Clock(), most=2)
    async with site(of_settings(tmp_path), connections=two) as at, AsyncExitStack() as stack:
        first = await connect(at, stack)
        second = await connect(at, stack)
        third = await connect(at, stack, request("/healthz"))
        assert await end_of(first) == b""
        assert (await third[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        second[1].write(request("/healthz", "Connection: close"))
        assert (await end_of(second)).startswith(b"HTTP/1.1 200")


async def test_none_that_is_answered_does(tmp_path: Path) -> None:
    two = Connections(Clock(), most=2)
    async with site(of_settings(tmp_path), connections=two) as at, AsyncExitStack() as stack:
        answered = [await connect(at, stack, request("/events")) for _ in range(2)]
        for streams in answered:
            await streams[0].readuntil(b"retry: 5000")
        assert await end_of(await connect(at, stack, request("/healthz"))) == b""
        assert at.events.listeners == 2


NO_REQUESTS: dict[str, bytes] = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01",
    "a method that is none": b"BREW /status HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an address that is too long": request("/" + "a" * 5_000),
    "a header that is too long": request("/status", "A: " + "a" * 9_000),
    "too many headers": request("/status", *(f"A{number}: a" for number in range(70))),
    "two lengths": request("/status", "Content-Length: 1", "Content-Length: 2"),
    "a length beside chunks": request("/status", "Content-Length: 1", "Transfer-Encoding: chunked"),
    "a header without an end of its name": request("/status", "A a: b"),
}


@pytest.mark.parametrize("sent", NO_REQUESTS.values(), ids=NO_REQUESTS)
async def test_what_is_no_request_is_refused_and_not_logged(tmp_path: Path, sent: bytes) -> None:
    with capture_logs() as logs:
        async with site(of_settings(tmp_path)) as at, AsyncExitStack() as stack:
            said = await end_of(await connect(at, stack, sent))
    assert said.partition(b"\r\n")[0] in (b"HTTP/1.0 400 Bad Request", b"HTTP/1.1 400 Bad Request"), said
    assert b"Content-Security-Policy: default-src 'none'" in said
    assert b"application/problem+json" in said
    assert logs == []


async def test_a_body_is_not_read(tmp_path: Path) -> None:
    async with site(of_settings(tmp_path)) as at, AsyncExitStack() as stack:
        sent = request("/healthz", "Content-Length: 1000000000") + b"x" * 10_000
        said: Any = await end_of(await connect(at, stack, sent))
        assert said.startswith(b"HTTP/1.1 200 OK")
