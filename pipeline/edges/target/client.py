"""Calls Target's Bulk Profile Update API: one POST, one status GET, each answer a value of `core.target.replies`.

Nothing is retried here. The important point is whether Target can have a batch when no usable answer came: not before
the first byte of the body was asked for, possibly ever after. Every POST has a connection of its own: a kept one that
Target closed meanwhile would make an attempt ambiguous for nothing.

Whatever a library raises in a call is the outcome of that call, and of no other. Nothing of an answer is told as it is;
`said` of an outcome keeps a text for the owner's eyes.
"""

import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import aiofiles
import aiohttp
import anyio
import structlog
import yarl

from pipeline.core.errors import PipelineError
from pipeline.core.model import Batch
from pipeline.core.target.hosts import is_loopback
from pipeline.core.target.messages import without
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
from pipeline.edges.durable import Version, disk_errors
from pipeline.edges.secrets import keep_out_of_log
from pipeline.edges.target.call_errors import in_words, is_expected, kind_of
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint, SendBatch
from pipeline.edges.target.sealed_body import SealedBody
from pipeline.edges.target.session import open_session
from pipeline.edges.target.token_file import read_token

log = structlog.get_logger()

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
        # Errors that no call should meet, by call and type.
        self._unexpected: Counter[tuple[str, str]] = Counter()
        self.calls_made = 0
        self.is_sandbox: bool | None = None

    @property
    def silent_s(self) -> float:
        """Seconds since calls have had no usable answer, pauses not counted; 0 if the last call had one."""
        since = self._silent_since
        return 0.0 if since is None else self._clock.monotonic() - since - self._calls.windows.paused_s(since)

    @asynccontextmanager
    async def turn_to_post(self, batch: Batch, body: Path, checked: Version | None = None) -> AsyncIterator[SendBatch]:
        """Wait for the turn of a POST; see `Target`. Errors of this machine are raised before the attempt begins."""
        with disk_errors(f"cannot read the batch {body}"):
            # Shielded: if this were cancelled after the file was opened, nothing would close it.
            with anyio.CancelScope(shield=True):
                file = await aiofiles.open(body, "rb")
        try:
            async with self._calls.call():
                # A token that cannot be read raises here, before the attempt counts.
                self._headers()
                yield partial(self._send, batch, SealedBody(batch, body, file, checked))
        finally:
            with anyio.CancelScope(shield=True):
                await file.close()

    async def _send(self, batch: Batch, body: SealedBody) -> PostOutcome:
        """Make one attempt. Target can have the batch only if the first byte of its body was asked for.

        Raises `FatalError` (74) if the body is not what was sealed: then its end was never sent.
        """
        self.calls_made += 1
        try:
            outcome = await self._post(batch, body.slices(SLICE_BYTES))
        except PipelineError:
            raise
        except Exception as error:
            if body.is_altered:
                raise body.altered() from error
            # Of whatever kind it is, it is the outcome of this call only.
            why = self._met("POST", error)
            return self._heard(Ambiguous(why) if body.has_begun else Unreachable(why), kind_of(error))
        if body.is_altered:
            # The answer came before the end of the body was due.
            raise body.altered()
        return outcome

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
            outcome = parse_submitted(body) or Ambiguous(f"HTTP {status} with {what}", is_page=is_page(body))
            return self._without_token(outcome)
        if status >= 500 or status == 408:
            return Ambiguous(f"HTTP {status}")
        if is_about_the_address(status):
            return WrongAddress(status)
        return Refused(_told(status))

    async def status(self, returned_url: str) -> StatusOutcome:
        """Ask for the state of a batch at the URL that Target returned for it."""
        endpoint = self._endpoint
        url = status_request(returned_url, base_url=endpoint.url, status_hosts=endpoint.status_hosts)
        if isinstance(url, NotAllowed):
            return self._without_token(StatusLost(url.why, said=returned_url))
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
        except PipelineError:
            raise
        except Exception as error:  # noqa: BLE001 - of whatever kind, it is the outcome of this call only
            return self._heard(StatusUnavailable(self._met("GET", error)), kind_of(error))

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
            outcome = parse_status(await _read(response)) or StatusUnavailable("an answer that cannot be read")
            return self._without_token(outcome)
        return StatusUnavailable(f"HTTP {status}")

    def _met(self, call: str, error: Exception) -> str:
        """An error of a call in our words. One that no call should meet is logged, and counted after the first time."""
        if not is_expected(error):
            name = type(error).__qualname__
            self._unexpected[call, name] += 1
            times = self._unexpected[call, name]
            # Of a thousand there are four lines.
            if times == 10 ** (len(str(times)) - 1):
                log.error("call_failed_unexpectedly", call=call, error=name, times=times)
        return in_words(error)

    def _without_token(self, outcome: Outcome) -> Outcome:
        """The outcome without the token in what it has from the answer: texts, ids and URL."""
        token = self._token
        if token is None:
            return outcome
        texts: dict[str, Any] = {}
        for field in fields(outcome):
            match getattr(outcome, field.name):
                case str(text):
                    texts[field.name] = without(token, text)
                case (str(), *_) as several:
                    texts[field.name] = tuple(without(token, text) for text in several)
        return replace(outcome, **texts)

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
            keep_out_of_log(self._token)
        return {"Authorization": f"Bearer {self._token}"}


@asynccontextmanager
async def connect(
    endpoint: Endpoint, calls: CallQueue, clock: Clock, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[TargetClient]:
    """A client for an endpoint; see `open_session` for its connections."""
    async with open_session(
        endpoint.url,
        tls=tls,
        ca_file=endpoint.ca_file,
        status_hosts=endpoint.status_hosts,
        is_named=endpoint.is_named,
    ) as session:
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


def _told(status: int) -> str:
    """A status of HTTP, with the phrase that the standard has for it: a server's own may say anything."""
    return f"HTTP {status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else f"HTTP {status}"
