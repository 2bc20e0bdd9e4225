"""The connections to the web server: at most so many, and none that is silent for long.

The library closes a connection that asks nothing more, but not one that has never asked, or that asks a byte a minute.
So each is watched from its beginning. Where there are too many, the one that has been idle for longest goes, so that
whoever leaves connections open keeps no probe out.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

from aiohttp import web

from pipeline.edges.clock import Clock
from pipeline.service.web.answers import problem, protect

#: Connections at once. Ours: pages, probes and scrapers of one service.
MOST_CONNECTIONS = 100
#: Seconds in which a connection has to ask something, or to take an answer. Ours.
IDLE_S = 20.0
#: Bytes of a request's first line, and of a header; and the number of headers. Ours.
_MAX_LINE_BYTES, _MAX_HEADER_BYTES, _MAX_HEADERS = 4_096, 8_190, 64


class Connections:
    """The open connections, and since when each has asked nothing; by the monotonic clock."""

    def __init__(self, clock: Clock, *, most: int = MOST_CONNECTIONS, idle_s: float = IDLE_S) -> None:
        self._clock = clock
        self._most = most
        self._idle_s = idle_s
        self._since_s: dict[asyncio.BaseTransport, float] = {}

    def admit(self, transport: asyncio.Transport) -> bool:
        """Count a new connection; False if there is no room for it, since all others are being answered."""
        self._leave_out_closed()
        if len(self._since_s) >= self._most:
            idle = min(self._since_s, key=lambda each: self._since_s[each])
            if self._since_s[idle] == inf:
                return False
            self._close(idle)
        self._since_s[transport] = self._clock.monotonic()
        return True

    @contextmanager
    def busy(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """Leave a connection alone while it is answered."""
        if transport is not None and transport in self._since_s:
            self._since_s[transport] = inf
        try:
            yield
        finally:
            if transport is not None and transport in self._since_s:
                self._since_s[transport] = self._clock.monotonic()

    async def watch(self) -> None:
        """Close what is silent for too long, until cancelled."""
        while True:
            await self._clock.sleep(self._idle_s / 4)
            self._leave_out_closed()
            now = self._clock.monotonic()
            for transport, since_s in list(self._since_s.items()):
                if now - since_s >= self._idle_s:
                    self._close(transport)

    def _close(self, transport: asyncio.BaseTransport) -> None:
        del self._since_s[transport]
        if isinstance(transport, asyncio.Transport):
            # What it has not taken yet is not waited for.
            transport.abort()

    def _leave_out_closed(self) -> None:
        self._since_s = {each: since_s for each, since_s in self._since_s.items() if not each.is_closing()}


class Doorman(asyncio.Protocol):
    """Admits a connection, and hands it to the library, which talks HTTP; or ends it."""

    def __init__(self, connections: Connections, talker: Callable[[], asyncio.Protocol]) -> None:
        self._connections = connections
        self._talker = talker

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit it or end it."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a connection of TCP is a stream")
        if not self._connections.admit(transport):
            transport.abort()
            return
        talker = self._talker()
        transport.set_protocol(talker)
        talker.connection_made(transport)


class Talker(web.RequestHandler):
    """HTTP as the library talks it, in our bounds; what is no HTTP is answered as all else is, and not logged."""

    def __init__(self, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=IDLE_S,
            lingering_time=1.0,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            max_headers=_MAX_HEADERS,
        )

    def handle_error(
        self, request: Any, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what cannot be read as a request."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        response = problem(status, "This is not a request that can be read, or a line or header of it is too long.")
        protect(response)
        response.force_close()
        return response
