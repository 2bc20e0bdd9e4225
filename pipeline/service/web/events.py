"""Events for pages that stay open: one whenever `/status` shows something else.

    event: status
    id: 9b1f0c2ad3e45f60
    data: {"digest":"9b1f0c2ad3e45f60"}

The id is a digest of what is shown. Whoever was cut off and comes back with the last id gets no event before there is
something new. The ledgers are looked at once a second, and only while somebody listens.
"""

import orjson
from aiohttp import web
from aiohttp_sse import sse_response

from pipeline.core.errors import PipelineError
from pipeline.edges.changed import Changed
from pipeline.service.web.answers import problem
from pipeline.service.web.latest import FRESH_S, Latest

EVENT_STREAM = "text/event-stream"
#: Pages that listen at once. Ours.
MOST_LISTENERS = 20
#: Seconds between signs of life, so that no proxy takes the connection for dead; and until a listener that takes
#: nothing is dropped. Ours.
_PING_S, _SEND_LIMIT_S = 15.0, 20.0
#: Milliseconds after which a browser that was cut off asks again. Ours.
_RETRY_MS = 5_000


class Events:
    """The pages that listen."""

    def __init__(self, latest: Latest, *, look_every_s: float = FRESH_S) -> None:
        self.listeners = 0
        self._latest = latest
        self._look_every_s = look_every_s
        self._is_ending = False
        self._changed = Changed()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send events until the page is closed, or the server ends."""
        if self.listeners >= MOST_LISTENERS:
            return problem(503, f"{MOST_LISTENERS} pages listen already; close one.", {"Retry-After": "60"})
        self.listeners += 1
        try:
            async with sse_response(request, ping_interval=_PING_S, send_timeout=_SEND_LIMIT_S) as stream:
                told = stream.last_event_id
                # A page that was closed takes its connection along, which only the next ping would notice.
                while stream.is_connected() and request.transport is not None and not self._is_ending:
                    digest = await self._digest()
                    if digest != told:
                        told = digest
                        data = orjson.dumps({"digest": digest}).decode()
                        await stream.send(data, id=digest, event="status", retry=_RETRY_MS)
                    await self._changed.until(lambda: self._is_ending, within_s=self._look_every_s)
        except (ConnectionError, TimeoutError):
            # It has gone, or takes nothing any more; nothing can be said to it.
            pass
        finally:
            self.listeners -= 1
        return stream

    async def stop(self, _: web.Application) -> None:
        """Let all who listen go: the server ends."""
        self._is_ending = True
        self._changed.tell()

    async def _digest(self) -> str:
        try:
            return (await self._latest.status()).digest
        except PipelineError:
            # The page asks for the status, and is told why there is none.
            return "none"
