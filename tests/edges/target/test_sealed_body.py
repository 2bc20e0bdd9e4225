"""A body is sent to its end only if it is what was sealed: else its POST is broken off, and never complete."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import web

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch
from pipeline.core.target.replies import Accepted
from pipeline.edges.durable import Version
from pipeline.edges.target.client import SLICE_BYTES, TargetClient, connect
from pipeline.edges.target.endpoint import Endpoint
from tests.edges.target.test_turns import Noting
from tests.tools.support import answering, loop_clock

ROW = b"u,gold,0123456789\n"
#: Of one slice, of one to the byte, and of some.
SIZES = (3, SLICE_BYTES // len(ROW), 3 * SLICE_BYTES // len(ROW))
TAKEN = "<response><success>true</success><batchStatus>http://localhost/1</batchStatus></response>"


@dataclass(slots=True)
class Heard:
    """The bodies that came to their end, and the number of those that began."""

    begun: int = 0
    whole: list[bytes] = field(default_factory=list)
    #: Called when the first bytes have come.
    when_begun: Callable[[], None] = lambda: None

    async def answer(self, request: web.Request) -> web.Response:
        self.begun += 1
        first = await request.content.readany()
        self.when_begun()
        self.whole.append(first + await request.content.read())
        return web.Response(text=TAKEN)


@asynccontextmanager
async def target(heard: Heard) -> AsyncIterator[TargetClient]:
    async with answering(heard.answer) as url:
        endpoint = Endpoint(
            url=url, client_code="demo", api_version="v2", status_hosts=(), token_file=None, min_rate_bytes_s=100_000
        )
        async with connect(endpoint, Noting(), loop_clock()) as client:
            yield client


def altered(body: bytes) -> bytes:
    return body[:-3] + b"x" + body[-2:]


ALTERATIONS: dict[str, Callable[[bytes], bytes]] = {
    "another value": altered,
    "shorter": lambda body: body[:-9],
    "longer": lambda body: body + ROW,
    "empty": lambda _: b"",
    "another value at its start": lambda body: b"x" + body[1:],
}


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("is_checked", [True, False])
async def test_what_was_sealed_is_sent(tmp_path: Path, rows: int, is_checked: bool) -> None:
    body, file, heard = ROW * rows, tmp_path / "body", Heard()
    file.write_bytes(body)
    checked = Version.of(file.stat()) if is_checked else None
    batch = Batch(1, 1, rows, len(body), sha256(body).hexdigest())
    async with target(heard) as client, client.turn_to_post(batch, file, checked) as send:
        assert isinstance(await send(), Accepted)
    assert heard.whole == [body]


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("alteration", ALTERATIONS)
@pytest.mark.parametrize("is_checked", [True, False])
async def test_an_altered_body_is_never_sent_to_its_end(
    tmp_path: Path, rows: int, alteration: str, is_checked: bool
) -> None:
    """Altered after it was found to be right, or not looked at before."""
    body, file, heard = ROW * rows, tmp_path / "body", Heard()
    file.write_bytes(body)
    checked = Version.of(file.stat()) if is_checked else None
    file.write_bytes(ALTERATIONS[alteration](body))
    batch = Batch(1, 1, rows, len(body), sha256(body).hexdigest())
    async with target(heard) as client, client.turn_to_post(batch, file, checked) as send:
        with pytest.raises(FatalError, match="was altered while it was sent") as caught:
            await send()
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
    assert heard.whole == []


async def test_a_body_that_is_altered_while_it_is_sent(tmp_path: Path) -> None:
    """Behind what has left already."""
    body, file = ROW * (64 * SLICE_BYTES // len(ROW)), tmp_path / "body"
    file.write_bytes(body)

    def alter() -> None:
        with file.open("r+b") as opened:
            opened.seek(-3, 2)
            opened.write(b"x")

    heard = Heard(when_begun=alter)
    batch = Batch(1, 1, 1, len(body), sha256(body).hexdigest())
    checked = Version.of(file.stat())
    async with asyncio.timeout(30), target(heard) as client, client.turn_to_post(batch, file, checked) as send:
        with pytest.raises(FatalError, match="was altered while it was sent"):
            await send()
    assert (heard.begun, heard.whole) == (1, [])
