"""Whatever a library raises in a call is the outcome of that call, told in words that quote nothing."""

import asyncio
import errno
import socket
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from pipeline.core.errors import FatalError
from pipeline.core.target.pacing import CallBudget
from pipeline.core.target.replies import Ambiguous, PostOutcome, StatusUnavailable, Unreachable
from pipeline.edges.target.call_errors import in_words, kind_of
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.client import TargetClient
from tests.edges.target.test_client import ACCEPTED, Client, Notes, endpoint_of
from tests.tools.support import answering, loop_clock, until

CANARY = "CANARY-id-and-token"
ERRORS = [
    ValueError(CANARY),
    UnicodeError(CANARY),
    RuntimeError(CANARY),
    RecursionError(CANARY),
    KeyError(CANARY),
    TypeError(CANARY),
    AssertionError(CANARY),
    OverflowError(CANARY),
    MemoryError(CANARY),
    StopAsyncIteration(CANARY),
    EOFError(CANARY),
    zlib.error(CANARY),
    asyncio.InvalidStateError(CANARY),
    asyncio.IncompleteReadError(CANARY.encode(), 99),
    ExceptionGroup(CANARY, [ValueError(CANARY)]),
    type(CANARY.replace("-", "_"), (Exception,), {"__qualname__": "Odd"})(CANARY),
]


@asynccontextmanager
async def raising(
    error: Exception, directory: Path, *, has_begun: bool
) -> AsyncIterator[tuple[Client, str, CallQueue]]:
    """A client whose library raises in each call: before a byte has left, or when the body is on its way."""

    class Before(aiohttp.ClientRequest):
        async def send(self, conn: Any) -> Any:
            conn.close()
            raise error

    class Behind(aiohttp.ClientResponse):
        async def start(self, connection: Any) -> Any:
            await until(lambda: notes.requests)
            raise error

    notes, clock = Notes(text=ACCEPTED), loop_clock()
    calls = CallQueue(CallBudget(1_000), clock)
    made: dict[str, Any] = {"response_class": Behind} if has_begun else {"request_class": Before}
    async with answering(notes.answer) as url, aiohttp.ClientSession(**made) as session:
        client = Client(TargetClient(endpoint_of(url), session, calls, clock), directory)
        yield client, url, calls


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__qualname__)
@pytest.mark.parametrize("has_begun", [False, True], ids=["before", "begun"])
async def test_any_error_is_the_outcome_of_its_call(tmp_path: Path, error: Exception, has_begun: bool) -> None:
    with capture_logs() as logged:
        async with raising(error, tmp_path, has_begun=has_begun) as (client, url, calls):
            posted: PostOutcome = await client.post()
            status = await client.target.status(f"{url}/status?batchId=1")
            assert client.target.silent_s > 0.0, "it is no sign of life"
            assert (client.target.calls_made, calls.made) == (2, 2), "it costs as much as any other"
    assert isinstance(posted, Ambiguous if has_begun else Unreachable)
    assert isinstance(status, StatusUnavailable)
    name = type(error).__qualname__
    assert posted.why == status.why == f"an error that no call should meet ({name})"
    told = [(line["event"], line["call"], line["error"], line["times"]) for line in logged]
    assert told == [("call_failed_unexpectedly", call, name, 1) for call in ("POST", "GET")]
    assert CANARY not in f"{posted} {status} {logged}"


async def test_one_that_comes_again_and_again_is_counted(tmp_path: Path) -> None:
    with capture_logs() as logged:
        async with raising(ValueError(CANARY), tmp_path, has_begun=False) as (client, _, _):
            for _ in range(101):
                await client.post()
    assert [line["times"] for line in logged] == [1, 10, 100]


@pytest.mark.parametrize("has_begun", [False, True])
async def test_an_error_of_this_machine_is_none_of_the_call(tmp_path: Path, has_begun: bool) -> None:
    async with raising(FatalError("the disk"), tmp_path, has_begun=has_begun) as (client, url, _):
        with pytest.raises(FatalError, match="the disk"):
            await client.post()
        with pytest.raises(FatalError, match="the disk"):
            await client.target.status(f"{url}/status?batchId=1")


async def test_who_is_cancelled_is_cancelled(tmp_path: Path) -> None:
    async with raising(ValueError(CANARY), tmp_path, has_begun=True) as (client, _, calls):
        async with asyncio.TaskGroup() as tasks:
            posting = tasks.create_task(client.post())
            await until(lambda: calls.made)
            posting.cancel()
        assert posting.cancelled()


KEY: Any = None


def certificate_error(number: int | None) -> Exception:
    error = ssl.SSLCertVerificationError(1, CANARY)
    if number is not None:
        error.verify_code = number
    return aiohttp.ClientConnectorCertificateError(KEY, error)


def tls_error(reason: str | None) -> ssl.SSLError:
    error = ssl.SSLError(1, CANARY)
    if reason is not None:
        error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TimeoutError(CANARY), "no answer in time"),
        (aiohttp.ServerTimeoutError(CANARY), "no answer in time"),
        (aiohttp.ServerDisconnectedError(CANARY), "the connection broke off"),
        (aiohttp.ClientPayloadError(CANARY), "the connection broke off"),
        (ConnectionResetError(errno.ECONNRESET, CANARY), "the connection broke off (ECONNRESET)"),
        (aiohttp.ClientOSError(errno.EPIPE, CANARY), "an error of the network (EPIPE)"),
        (aiohttp.ClientError(CANARY), "an error of the network"),
        (OSError(CANARY), "an error of the network"),
        (OSError(123_456, CANARY), "an error of the network"),
        (aiohttp.InvalidURL(CANARY), "an error of the network"),
        (
            aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, CANARY)),
            "no connection (ECONNREFUSED)",
        ),
        (
            aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_NONAME, CANARY)),
            "no address for its name (EAI_NONAME)",
        ),
        (
            aiohttp.ClientProxyConnectionError(KEY, OSError(errno.ECONNREFUSED, CANARY)),
            "no connection to the proxy (ECONNREFUSED)",
        ),
        (aiohttp.ClientHttpProxyError(KEY, (), status=407, message=CANARY), "the proxy answers HTTP 407"),
        (aiohttp.ClientResponseError(KEY, (), status=400, message=CANARY), "an answer that is no HTTP"),
        (certificate_error(10), "no connection, because of TLS (it has expired)"),
        (certificate_error(62), "no connection, because of TLS (it is for another host)"),
        (certificate_error(77), "no connection, because of TLS (its certificate is not trusted, 77)"),
        (certificate_error(None), "no connection, because of TLS"),
        (
            aiohttp.ClientConnectorSSLError(KEY, tls_error("WRONG_VERSION_NUMBER")),
            "no connection, because of TLS (WRONG_VERSION_NUMBER)",
        ),
        (aiohttp.ClientConnectorSSLError(KEY, tls_error(CANARY)), "no connection, because of TLS"),
        (aiohttp.ClientConnectorSSLError(KEY, tls_error(None)), "no connection, because of TLS"),
    ],
)
def test_in_words(error: Exception, told: str) -> None:
    assert in_words(error) == told
    assert told.startswith(kind_of(error))
