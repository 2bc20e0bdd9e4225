"""A Target of raw sockets that answers with any bytes: what HTTP libraries would not write."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from tests.tools.support import CLOSED


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it came: `head` is all before the body."""

    head: bytes
    body: bytes

    @property
    def all(self) -> bytes:
        return self.head + self.body

    @property
    def line(self) -> bytes:
        """All of it as one line, as a proxy may put it where it has no place."""
        return b" ".join(self.all.split())

    @property
    def text(self) -> str:
        """All of it, fit to stand in XML."""
        return escape(self.all.decode(errors="replace"))


Answer = Callable[[Call], bytes]


@dataclass(slots=True)
class RawTarget:
    """Answers each POST with the next of `posts`, each status with the next of `statuses`; behind them as it should.

    `calls` are all that came. The statuses are of batches whose rows it has counted.
    """

    posts: list[Answer] = field(default_factory=list)
    statuses: list[Answer] = field(default_factory=list)
    base_url: str = CLOSED
    calls: list[Call] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def accepted(self, call: Call) -> bytes:
        """The answer of Target's to a batch that it takes."""
        self.rows.append(call.body.count(b"\n") - 1)
        url = f"{self.base_url}/status?batchId={len(self.rows)}"
        return xml(f"<success>true</success><batchStatus>{url}</batchStatus>")

    def complete(self, call: Call) -> bytes:
        """The answer of Target's to a question about such a batch."""
        number = call.head.partition(b"batchId=")[2].split(b"&")[0].split(b" ")[0]
        if not number.isdigit():
            return http(b"", status=b"404 Not Found")
        rows = self.rows[int(number) - 1]
        return xml(
            f"<status>complete</status><batchSize>{rows}</batchSize><successfulUpdates>{rows}</successfulUpdates>"
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
            call = Call(head, body)
            self.calls.append(call)
            is_post = head.startswith(b"POST")
            planned = self.posts if is_post else self.statuses
            answer = planned.pop(0) if planned else (self.accepted if is_post else self.complete)
            writer.write(answer(call))
            await writer.drain()
        writer.close()


def http(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """An answer in HTTP; its headers and its status may be none."""
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join((b"HTTP/1.1 " + status, *headers, length, b"Connection: close", b"", body))


def xml(inner: str) -> bytes:
    """An answer in Target's form."""
    return http(f"<response>{inner}</response>".encode())


@asynccontextmanager
async def raw_target(posts: Iterable[Answer] = (), statuses: Iterable[Answer] = ()) -> AsyncIterator[RawTarget]:
    """Such a Target that listens."""
    target = RawTarget(list(posts), list(statuses))
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0, limit=2**24)
    async with server:
        target.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield target
