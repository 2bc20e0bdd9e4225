"""A sandbox as Target, asked without HTTP: each fault of its plan is what the client would make of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pipeline.core.model import Batch
from pipeline.core.target.replies import (
    MAX_REPLY_BYTES,
    Ambiguous,
    PostOutcome,
    StatusLost,
    StatusOutcome,
    StatusUnavailable,
    Throttled,
    Unauthorized,
    parse_status,
    parse_submitted,
)
from pipeline.core.target.status_url import NotAllowed, status_request
from pipeline.edges.target.client import ANSWER_S
from pipeline.edges.target.endpoint import Endpoint
from pipeline.sandbox import Fault, Sandbox, replies
from pipeline.sandbox.batch import Refusal
from pipeline.sandbox.calls import Denial, Post
from pipeline.sandbox.faults import THROTTLING
from pipeline.sandbox.sandbox import FORM

_UNREADABLE = "an answer that cannot be read"
#: What is told of calls after which no usable answer came.
_SPOILT = {
    Fault.HTTP_500: "HTTP 500",
    Fault.HTTP_500_TAKEN: "HTTP 500",
    Fault.HTTP_502: "HTTP 502",
    Fault.STATUS_500: "HTTP 500",
    Fault.GARBAGE_LOST: f"HTTP 200 with {_UNREADABLE}",
    Fault.GARBAGE_TAKEN: f"HTTP 200 with {_UNREADABLE}",
    Fault.STATUS_GARBAGE: _UNREADABLE,
    Fault.STATUS_OVERSIZED: _UNREADABLE,
    Fault.STATUS_REDIRECT: "HTTP 302",
    Fault.HANG_LOST: "no answer in time",
    Fault.HANG_TAKEN: "no answer in time",
    Fault.RESET_BEFORE_BODY: "Server disconnected",
    Fault.RESET_DURING_BODY: "Server disconnected",
    Fault.RESET_AFTER_BODY_LOST: "Server disconnected",
    Fault.RESET_AFTER_BODY_TAKEN: "Server disconnected",
}
#: Of a batch that met these nothing arrived that could be taken.
_NOT_ARRIVED = frozenset({Fault.RESET_BEFORE_BODY, Fault.RESET_DURING_BODY})
_HANGS = frozenset({Fault.HANG_LOST, Fault.HANG_TAKEN})


class SandboxAnswers:
    """What a sandbox answers. `token` gives the bearer token, None where none is sent."""

    def __init__(self, sandbox: Sandbox, endpoint: Endpoint, token: Callable[[], str | None]) -> None:
        self._sandbox = sandbox
        self._endpoint = endpoint
        self._read_token = token
        self._token: str | None = None

    async def post(self, batch: Batch, body: Path) -> PostOutcome:
        """A POST, from its first byte on."""
        if (denied := self._denied("posts")) is not None:
            return denied
        number, fault = self._sandbox.next_fault("post")
        if fault in THROTTLING:
            return self._throttled(fault)
        if fault is Fault.SLOW:
            await asyncio.sleep(batch.size_bytes / self._sandbox.faults.slow_bytes_s)
        refused_or_accepted = None if fault in _NOT_ARRIVED else self._submit(body, number, fault)
        if fault in _HANGS:
            await asyncio.sleep(batch.size_bytes / self._endpoint.min_rate_bytes_s + ANSWER_S)
        if fault in _SPOILT or refused_or_accepted is None:
            return Ambiguous(_SPOILT[fault or Fault.HTTP_500])
        # The hop over the wire: whoever waits may be cancelled here.
        await asyncio.sleep(0)
        return parse_submitted(refused_or_accepted) or Ambiguous(_SPOILT[Fault.GARBAGE_LOST])

    def _submit(self, body: Path, number: int, fault: Fault | None) -> bytes:
        endpoint, sandbox = self._endpoint, self._sandbox
        outcome = sandbox.submit(
            Post(
                client_code=endpoint.client_code,
                api_version="v2" if endpoint.api_version == "v2" else "v1",
                content_type=FORM,
                content_encoding=None,
                body=body.read_bytes(),
                number=number,
                fault=fault,
            )
        )
        if isinstance(outcome, Refusal):
            return replies.refused(outcome.message).encode()
        path, query = replies.status_path_and_query(outcome, sandbox.options)
        base = sandbox.options.status_base_url or endpoint.url
        url = f"{base}{path}?" + "&".join(f"{name}={value}" for name, value in query.items())
        return replies.accepted(url, raw_ampersand=sandbox.options.raw_ampersand).encode()

    async def status(self, url: str) -> StatusOutcome:
        """A status GET."""
        endpoint, sandbox = self._endpoint, self._sandbox
        asked = status_request(url, base_url=endpoint.url, status_hosts=endpoint.status_hosts)
        if isinstance(asked, NotAllowed):
            return StatusLost(asked.why, said=url)
        if (denied := self._denied("statuses")) is not None:
            return denied
        _, fault = sandbox.next_fault("status")
        parts = urlsplit(asked)
        query = dict(parse_qsl(parts.query))
        details = query.pop("showDetails", "false") == "true"
        if fault in THROTTLING:
            return self._throttled(fault)
        if fault is Fault.STATUS_LOST:
            sandbox.forget(query.get("batchId", ""))
        if fault in _HANGS:
            await asyncio.sleep(ANSWER_S)
        if fault in _SPOILT:
            return StatusUnavailable(_SPOILT[fault])
        await asyncio.sleep(0)
        text = sandbox.status_of(parts.path, query, details=details).encode()
        return parse_status(text[:MAX_REPLY_BYTES]) or StatusUnavailable(_UNREADABLE)

    def _denied(self, counted_as: str) -> Throttled | Unauthorized | None:
        self._sandbox.calls[counted_as] += 1
        self._token = self._token or self._read_token()
        match self._sandbox.admit(f"Bearer {self._token}" if self._token else None):
            case Denial.THROTTLED:
                return Throttled()
            case Denial.UNAUTHORISED:
                used, self._token = self._token, self._read_token()
                return Unauthorized(401, is_final=self._token == used)
        return None

    def _throttled(self, fault: Fault | None) -> Throttled:
        plan = self._sandbox.faults
        if fault is Fault.THROTTLE_429:
            return Throttled(float(plan.retry_after_s))
        return Throttled(float(plan.retry_after_503) if plan.retry_after_503 else None)
