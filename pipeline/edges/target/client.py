"""Calls Target's Bulk Profile Update API: one POST, one status GET, each answer a value of `core.target.replies`.

Nothing is retried here. The important point is whether Target can have a batch when no usable answer came: not before
the first byte of the body was asked for, possibly ever after. Every POST has a connection of its own: a kept one that
Target closed meanwhile would make an attempt ambiguous for nothing.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import aiofiles
import aiohttp
import anyio
import yarl
from aiofiles.threadpool.binary import AsyncBufferedReader

from pipeline.core.model import Batch
from pipeline.core.target.hosts import is_loopback
from pipeline.core.target.pacing import http_date, retry_after_s
from pipeline.core.target.replies import (
    MAX_REPLY_BYTES,
    Ambiguous,
    PostOutcome,
    Refused,
    StatusLost,
    StatusOutcome,
    StatusUnavailable,
    Throttled,
    Unauthorized,
    Unreachable,
    WrongAddress,
    is_about_the_address,
    is_page,
    parse_status,
    parse_submitted,
)
from pipeline.core.target.status_url import NotAllowed, status_request
from pipeline.edges.clock import Clock
from pipeline.edges.durable import disk_errors
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint, SendBatch
from pipeline.edges.target.session import open_session
from pipeline.edges.target.token_file import read_token

#: Bytes of the body handed to the socket at a time; each time costs a change of threads.
SLICE_BYTES = 1_048_576
#: Seconds that a POST may take besides the time for its bytes, and a status GET in all.
ANSWER_S = 30.0
#: Seconds that making a connection may take.
CONNECT_S = 20.0
Outcome = TypeVar("Outcome", PostOutcome, StatusOutcome)
#: The name that the embedded sandbox gives itself in `Server`; it is believed on loopback only.
SANDBOX_NAME = "profile-pipeline-sandbox"
_OF_NO_USE = (Ambiguous, Throttled, Unreachable, WrongAddress, StatusUnavailable)
_CONTENT_TYPE = "application/x-www-form-urlencoded"


class TargetClient:
    """Adobe Target, or the sandbox in its place.

    `calls_made`: the number of calls through this client. `is_sandbox`: True if an answer said that it is the
    sandbox's, None before the first answer.
    """

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession, calls: CallQueue, clock: Clock) -> None:
        self._endpoint = endpoint
        self._session = session
        self._calls = calls
        self._clock = clock
        self._token: str | None = None
        self._silent_since: float | None = None
        self.calls_made = 0
        self.is_sandbox: bool | None = None

    @property
    def silent_s(self) -> float:
        """Seconds since calls have had no usable answer, pauses not counted; 0 if the last call had one."""
        since = self._silent_since
        return 0.0 if since is None else self._clock.monotonic() - since - self._calls.windows.paused_s(since)

    @asynccontextmanager
    async def turn_to_post(self, batch: Batch, body: Path) -> AsyncIterator[SendBatch]:
        """Wait for the turn of a POST; see `Target`. Errors of this machine are raised before the attempt begins."""
        with disk_errors(f"cannot read the batch {body}"):
            # Shielded: if this were cancelled after the file was opened, nothing would close it.
            with anyio.CancelScope(shield=True):
                file = await aiofiles.open(body, "rb")
        try:
            async with self._calls.call():
                # A token that cannot be read raises here, before the attempt counts.
                self._headers()
                yield partial(self._send, batch, file)
        finally:
            with anyio.CancelScope(shield=True):
                await file.close()

    async def _send(self, batch: Batch, file: AsyncBufferedReader) -> PostOutcome:
        """Make one attempt. Target can have the batch only if the first byte of its body was asked for."""
        has_begun = False

        async def slices() -> AsyncIterator[bytes]:
            nonlocal has_begun
            has_begun = True
            while piece := await file.read(SLICE_BYTES):
                yield piece

        self.calls_made += 1
        try:
            return await self._post(batch, slices())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = _in_words(error)
            return self._heard(Ambiguous(why) if has_begun else Unreachable(why), _kind(error))

    async def _post(self, batch: Batch, slices: AsyncIterator[bytes]) -> PostOutcome:
        headers = self._headers() | {"Content-Type": _CONTENT_TYPE, "Content-Length": str(batch.size_bytes)}
        total_s = batch.size_bytes / self._endpoint.min_rate_bytes_s + ANSWER_S
        async with self._session.post(
            self._endpoint.batch_update_url,
            data=slices,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_S),
            allow_redirects=False,
        ) as response:
            return self._heard(await self._post_outcome(response))

    async def _post_outcome(self, response: aiohttp.ClientResponse) -> PostOutcome:
        self._note_server(response)
        status = response.status
        if status in (401, 403):
            return self._unauthorized(response)
        if status in (429, 503):
            return self._throttled(response)
        if 200 <= status < 300:
            body = await _read(response)
            what = "a web page" if is_page(body) else "an answer that cannot be read"
            return parse_submitted(body) or Ambiguous(f"HTTP {status} with {what}", is_page=is_page(body))
        if status >= 500 or status == 408:
            return Ambiguous(f"HTTP {status}")
        if is_about_the_address(status):
            return WrongAddress(status)
        return Refused(f"HTTP {status} {response.reason or ''}".strip())

    async def status(self, returned_url: str) -> StatusOutcome:
        """Ask for the state of a batch at the URL that Target returned for it."""
        endpoint = self._endpoint
        url = status_request(returned_url, base_url=endpoint.url, status_hosts=endpoint.status_hosts)
        if isinstance(url, NotAllowed):
            return StatusLost(url.why)
        try:
            async with self._calls.call(can_wait=True):
                self.calls_made += 1
                async with self._session.get(
                    yarl.URL(url, encoded=True),
                    headers=self._headers(),
                    timeout=aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S),
                    allow_redirects=False,
                ) as response:
                    return self._heard(await self._status_outcome(response))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return self._heard(StatusUnavailable(_in_words(error)), _kind(error))

    async def _status_outcome(self, response: aiohttp.ClientResponse) -> StatusOutcome:
        self._note_server(response)
        status = response.status
        if status in (401, 403):
            return self._unauthorized(response)
        if status in (429, 503):
            return self._throttled(response)
        if status in (404, 410):
            return StatusLost(f"Target does not know the batch (HTTP {status})", is_unknown=status == 404)
        if status == 200:
            return parse_status(await _read(response)) or StatusUnavailable("an answer that cannot be read")
        return StatusUnavailable(f"HTTP {status}")

    def _note_server(self, response: aiohttp.ClientResponse) -> None:
        by_sandbox = response.headers.get("Server") == SANDBOX_NAME and is_loopback(response.url.host or "")
        self.is_sandbox = bool(self.is_sandbox) or by_sandbox

    def _heard(self, outcome: Outcome, kind: str | None = None) -> Outcome:
        """Note the start or the end of Target's silence; return the outcome. `kind`: that of an error, in our words."""
        self._calls.silence.note(kind or _unusable(outcome), self._clock.monotonic())
        if not isinstance(outcome, _OF_NO_USE):
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = self._clock.monotonic()
        return outcome

    def _unauthorized(self, response: aiohttp.ClientResponse) -> Unauthorized:
        """Note that the token was refused, and read its file again, once: another token there is a reason to go on."""
        used = response.request_info.headers.get("Authorization")
        self._token = None
        is_final = self._headers().get("Authorization") == used
        return Unauthorized(response.status, is_final=is_final, had_token=used is not None)

    def _throttled(self, response: aiohttp.ClientResponse) -> Throttled:
        """Note that there were too many calls, and for how long Target asks to wait, if it does."""
        # A date means what the answer's own clock shows, which may differ from ours.
        now = http_date(response.headers.get("Date", "")) or self._clock.utc_now()
        wait_s = retry_after_s(response.headers.get("Retry-After", ""), now)
        self._calls.exhaust(wait_s)
        return Throttled(wait_s)

    def _headers(self) -> dict[str, str]:
        if self._endpoint.token_file is None:
            return {}
        if self._token is None:
            self._token = read_token(self._endpoint.token_file)
        return {"Authorization": f"Bearer {self._token}"}


@asynccontextmanager
async def connect(
    endpoint: Endpoint, calls: CallQueue, clock: Clock, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[TargetClient]:
    """A client for an endpoint; see `open_session` for its connections."""
    async with open_session(endpoint.url, tls=tls) as session:
        yield TargetClient(endpoint, session, calls, clock)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The answer's body, at most its first `MAX_REPLY_BYTES` bytes."""
    body = bytearray()
    while len(body) < MAX_REPLY_BYTES:
        piece = await response.content.read(MAX_REPLY_BYTES - len(body))
        if not piece:
            break
        body += piece
    return bytes(body)


def _unusable(outcome: PostOutcome | StatusOutcome) -> str | None:
    """An answer that is of no use, in our words; None for one that is of use."""
    match outcome:
        case Throttled():
            return "too many calls (HTTP 429 or 503)"
        case WrongAddress(status):
            return f"HTTP {status}"
        case Ambiguous(why) | Unreachable(why) | StatusUnavailable(why):
            return why
    return None


def _kind(error: BaseException) -> str:
    """The kind of an error, in our words: its own may quote anything."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "no connection, because of TLS"
        case aiohttp.ClientConnectorDNSError():
            return "no address for its name"
        case aiohttp.ClientConnectorError():
            return "no connection"
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | ConnectionError():
            return "the connection broke off"
        case aiohttp.ClientResponseError():
            return "an answer that is no HTTP"
    return "an error of the network"


def _in_words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answers HTTP {error.status}"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"no connection to the proxy {error.host}:{error.port}"
    return str(error) or type(error).__name__
