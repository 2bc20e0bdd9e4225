"""What was not sent when a call is given up never leaves: its peer stopped reading, and reads on an hour later."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from pipeline.core.target.replies import Ambiguous, PostOutcome, Refused
from pipeline.edges.target.client import SLICE_BYTES
from tests.edges.target.test_client import BODY, certified, client_of
from tests.tools.support import run_fast

#: One slice, so that all of it is handed over at once; far more than a peer takes that does not read.
LARGE = BODY.ljust(SLICE_BYTES - 100_000, b"\n")
AN_HOUR_S = 3_600.0
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Stalled:
    """A server that says something when a call comes, reads on when it is told to, and then all that still comes."""

    says: bytes
    port: int = 0
    reads_on: asyncio.Event = field(default_factory=asyncio.Event)
    read: "asyncio.Future[bytes]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def stall(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read = bytearray(await reader.readexactly(len(b"POST")))
        writer.write(self.says)
        await self.reads_on.wait()
        try:
            while piece := await reader.read(65_536):
                read += piece
        except ConnectionError:
            pass
        writer.close()
        self.read.set_result(bytes(read))


@asynccontextmanager
async def stalled(says: bytes, tls: ssl.SSLContext | None) -> AsyncIterator[Stalled]:
    server, listener = Stalled(says), socket.socket()
    # Goes over to connections, so that the kernel keeps little of what nobody reads.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    listener.bind(("127.0.0.1", 0))
    server.port = listener.getsockname()[1]
    async with await asyncio.start_server(server.stall, sock=listener, ssl=tls, limit=1_024):
        yield server


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("says", "known"),
    [(b"", Ambiguous("no answer in time")), (TOO_LARGE, Refused("HTTP 413 Request Entity Too Large"))],
    ids=["silent", "answered"],
)
def test_a_post_that_was_given_up_does_not_leave_when_its_peer_reads_on(
    tmp_path: Path, scheme: str, says: bytes, known: PostOutcome
) -> None:
    authority = trustme.CA()
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    tls = certified(authority, "localhost") if scheme == "https" else None

    async def attempt() -> tuple[PostOutcome, bytes]:
        async with stalled(says, tls) as server:
            url = f"{scheme}://localhost:{server.port}"
            async with client_of(url, tmp_path, tls=trusted if tls else None) as client:
                outcome = await client.post(LARGE)
                await asyncio.sleep(AN_HOUR_S)
                server.reads_on.set()
                return outcome, await server.read

    outcome, read = run_fast(attempt())
    assert outcome == known
    assert len(read) < len(LARGE), "it arrived as a whole"
