"""The HTTP side of a sandbox: the two calls of the Bulk Profile Update API, and the faults in answering them.

Each call is checked in this order: the call budget (503), the token (401), the planned fault, the call itself.
"""

import asyncio

from aiohttp import web

from pipeline.sandbox import replies, views
from pipeline.sandbox.acceptance import Accepted, ApiVersion
from pipeline.sandbox.batch import Refusal
from pipeline.sandbox.body import TooLargeError, receive, receive_part
from pipeline.sandbox.calls import Denial, Post
from pipeline.sandbox.faults import THROTTLING, Fault
from pipeline.sandbox.mistakes import MistakeKind
from pipeline.sandbox.sandbox import Sandbox

#: The name of the server in its answers; a sender knows by it that this is not Target.
NAME = "profile-pipeline-sandbox"
#: Seconds between checks of a hanging answer for a client that has left.
HANG_POLL_S = 0.02
_OVERSIZED_CHUNK = b" " * 65_536

_HANGS = frozenset({Fault.HANG_LOST, Fault.HANG_TAKEN})
_GARBAGE = frozenset({Fault.GARBAGE_LOST, Fault.GARBAGE_TAKEN, Fault.STATUS_GARBAGE})
_ERRORS = {
    Fault.HTTP_500: 500,
    Fault.HTTP_500_TAKEN: 500,
    Fault.STATUS_500: 500,
    Fault.HTTP_502: 502,
    Fault.THROTTLE_503: 503,
    Fault.THROTTLE_429: 429,
}
#: Faults that occur before the whole body was read.
_BEFORE_BODY_ENDS = THROTTLING | {Fault.RESET_BEFORE_BODY, Fault.RESET_DURING_BODY}
#: Faults that replace the right answer.
_SPOILING = (
    _BEFORE_BODY_ENDS
    | _HANGS
    | _GARBAGE
    | _ERRORS.keys()
    | {
        Fault.RESET_AFTER_BODY_LOST,
        Fault.RESET_AFTER_BODY_TAKEN,
        Fault.STATUS_REDIRECT,
        Fault.STATUS_OVERSIZED,
    }
)


def application(sandbox: Sandbox) -> web.Application:
    """All routes of a sandbox."""
    calls = TargetCalls(sandbox)
    app = web.Application()
    for version in ("/v2", ""):
        app.router.add_post(f"/m2/{{client}}{version}/profile/batchUpdate", calls.batch_update)
        app.router.add_get(f"/m2/{{client}}{version}/profile/batchStatus", calls.batch_status)
    views.add_routes(app, sandbox)
    app.on_shutdown.append(calls.stop)
    app.on_response_prepare.append(_name_itself)
    return app


async def _name_itself(_request: web.Request, response: web.StreamResponse) -> None:
    """Have each answer say that it is not Target's, so that a sender's report can say so too."""
    response.headers["Server"] = NAME


class TargetCalls:
    """Answers POSTs of batches and GETs of their statuses."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._stopping = asyncio.Event()

    async def stop(self, _app: web.Application) -> None:
        """Let hanging answers end."""
        self._stopping.set()

    async def batch_update(self, request: web.Request) -> web.StreamResponse:
        """`POST /m2/CLIENT[/v2]/profile/batchUpdate`."""
        denied = self._denied(request, "posts")
        if denied is not None:
            return denied
        number, fault = self._sandbox.next_fault("post")
        if fault is Fault.RESET_DURING_BODY:
            await receive_part(request)
        if fault is not None and fault in _BEFORE_BODY_ENDS:
            return await self._spoil(request, fault)
        try:
            pause = self._pause if fault is Fault.SLOW else None
            body = await receive(request, self._sandbox.options.max_bytes, pause)
        except TooLargeError as error:
            self._sandbox.note(MistakeKind.TOO_LARGE, str(error))
            return web.Response(status=413, text="Request entity too large")
        post = Post(
            client_code=request.match_info["client"],
            api_version=_api_version(request),
            content_type=request.content_type if "Content-Type" in request.headers else "",
            content_encoding=request.headers.get("Content-Encoding"),
            body=body,
            number=number,
            fault=fault,
        )
        outcome = await asyncio.to_thread(self._sandbox.submit, post)
        del body, post
        if fault is not None and fault in _SPOILING:
            return await self._spoil(request, fault)
        return self._answer(request, outcome)

    async def batch_status(self, request: web.Request) -> web.StreamResponse:
        """`GET` of the URL given with a batch; with `showDetails=true` also the counts."""
        denied = self._denied(request, "statuses")
        if denied is not None:
            return denied
        _, fault = self._sandbox.next_fault("status")
        query = dict(request.query)
        details = query.pop("showDetails", "false") == "true"
        if fault is Fault.STATUS_LOST:
            self._sandbox.forget(query.get("batchId", ""))
        if fault is not None and fault in _SPOILING:
            return await self._spoil(request, fault)
        ask = self._sandbox.status_of
        return _xml(await asyncio.to_thread(ask, request.path, query, details=details))

    def _denied(self, request: web.Request, counted_as: str) -> web.Response | None:
        self._sandbox.calls[counted_as] += 1
        match self._sandbox.admit(request.headers.get("Authorization")):
            case Denial.THROTTLED:
                return web.Response(status=503, text="Service Unavailable")
            case Denial.UNAUTHORISED:
                return web.Response(status=401, text="Unauthorized")
        return None

    def _answer(self, request: web.Request, outcome: "Accepted | Refusal") -> web.Response:
        if isinstance(outcome, Refusal):
            return _xml(replies.refused(outcome.message))
        options = self._sandbox.options
        path, query = replies.status_path_and_query(outcome, options)
        base = (options.status_base_url or str(request.url.origin())).replace("{port}", str(request.url.port))
        url = f"{base}{path}?" + "&".join(f"{name}={value}" for name, value in query.items())
        return _xml(replies.accepted(url, raw_ampersand=options.raw_ampersand))

    async def _spoil(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        """The answer of a fault of `_SPOILING`, in place of the right one."""
        if fault in _ERRORS:
            plan, status = self._sandbox.faults, _ERRORS[fault]
            after = {429: str(plan.retry_after_s), 503: plan.retry_after_503}.get(status)
            return web.Response(status=status, text="Sorry", headers={"Retry-After": after} if after else None)
        if fault in _GARBAGE:
            return web.Response(body=replies.GARBAGE, content_type="application/xml", charset="utf-8")
        if fault is Fault.STATUS_REDIRECT:
            return web.Response(status=302, headers={"Location": views.REDIRECT_TARGET})
        if fault is Fault.STATUS_OVERSIZED:
            return await self._oversized(request)
        if fault in _HANGS:
            await self._until_client_leaves(request)
        return _abort(request)

    async def _oversized(self, request: web.Request) -> web.StreamResponse:
        """An answer that begins well, and is as long as the plan says."""
        response = web.StreamResponse(headers={"Content-Type": "application/xml; charset=utf-8"})
        await response.prepare(request)
        left = self._sandbox.faults.oversized_bytes
        chunk = b"<response><status>incomplete</status>"
        while left > 0:
            await response.write(chunk)
            left -= len(chunk)
            chunk = _OVERSIZED_CHUNK
        await response.write(b"</response>")
        await response.write_eof()
        return response

    async def _until_client_leaves(self, request: web.Request) -> None:
        transport = request.transport
        while transport is not None and not transport.is_closing():
            try:
                async with asyncio.timeout(HANG_POLL_S):
                    await self._stopping.wait()
                    return
            except TimeoutError:
                continue

    async def _pause(self, read_bytes: int) -> None:
        await self._sandbox.sleep(read_bytes / self._sandbox.faults.slow_bytes_s)


def _api_version(request: web.Request) -> ApiVersion:
    return "v2" if request.path.endswith("/v2/profile/batchUpdate") else "v1"


def _abort(request: web.Request) -> web.Response:
    """End the connection without an answer; the returned one is never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _xml(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/xml")
