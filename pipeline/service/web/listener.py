"""Listens where [web] says as long as the service runs; where it cannot, the service goes on, and it tries again.

Rows matter more than pages: nothing that happens here ends the service.
"""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf

import anyio
import structlog
from aiohttp import web

from pipeline.edges.changed import Changed
from pipeline.edges.clock import Clock
from pipeline.service.upkeep import Upkeep
from pipeline.service.web.access import Token
from pipeline.service.web.application import application
from pipeline.service.web.connections import Connections, Doorman, Talker
from pipeline.service.web.events import Events
from pipeline.service.web.latest import Latest
from pipeline.service.web.openapi import with_description
from pipeline.service.web.readiness import Condition
from pipeline.service.web.routes import Route, own_routes
from pipeline.settings.sections.web import WebSettings
from pipeline.settings.tenants import Configuration

log = structlog.get_logger()

#: Seconds after which an address that could not be had is tried again; and the tries after which that is told again.
AGAIN_S = 30.0
_TOLD_EVERY = 120
#: Connections that wait to be admitted. Ours.
_BACKLOG = 64
#: Seconds that answers under way get when it stops listening. Ours.
_STOP_S = 1.0
#: The address that stands for all others, those of IPv4 too, and what to listen on then.
_ALL = {"::": ["0.0.0.0", "::"]}  # noqa: S104 - it was asked for
_WHAT = "showing the service over HTTP"
_TO_DO = {
    errno.EADDRINUSE: "end what listens there, or set another [web] port (0: none), and send SIGHUP",
    errno.EACCES: "set a [web] port from 1024 on, or let this user have lower ones, and send SIGHUP",
    errno.EADDRNOTAVAIL: "set [web] host to an address of this machine, and send SIGHUP",
}


class Listener:
    """The web server of a service.

    `address`: where it listens, or None. `problem`: the reason why it cannot, in words, while that is so.
    `further`: addresses beside `own_routes`.
    """

    def __init__(
        self,
        configuration: Configuration,
        clock: Clock,
        condition: Condition,
        further: Sequence[Route] = (),
        *,
        again_in_s: float = AGAIN_S,
    ) -> None:
        self.address: str | None = None
        self.problem: str | None = None
        self._settings = configuration.tenants[0].settings.web
        self._clock = clock
        self._condition = condition
        self._further = further
        self._again_in_s = again_in_s
        self._latest = Latest(configuration, clock)
        self._changed = Changed()

    def take(self, configuration: Configuration) -> None:
        """Go on with this configuration; listen elsewhere, if it says so."""
        self._latest.take(configuration)
        self._settings = configuration.tenants[0].settings.web
        self._changed.tell()

    async def listen(self) -> None:
        """Listen until cancelled."""
        await Upkeep(self._clock).keep(_WHAT, self._listen)

    async def _listen(self) -> None:
        while True:
            settings, tries = self._settings, 0
            while settings == self._settings:
                try:
                    await self._listen_as(settings)
                except OSError as error:
                    self._note(settings, error, is_told=tries % _TOLD_EVERY == 0)
                    tries += 1
                    await self._until_changed(settings, within_s=self._again_in_s)
            self.problem = None

    async def _listen_as(self, settings: WebSettings) -> None:
        """Listen until other settings are taken. Raises `OSError` if that address cannot be had."""
        if not settings.port:
            await self._until_changed(settings)
            return
        async with self._serving(settings) as address:
            log.info("web_listening", address=address)
            self.address, self.problem = address, None
            try:
                await self._until_changed(settings)
            finally:
                self.address = None

    async def _until_changed(self, settings: WebSettings, *, within_s: float = inf) -> None:
        await self._changed.until(lambda: self._settings != settings, within_s=within_s)

    def _note(self, settings: WebSettings, error: OSError, *, is_told: bool) -> None:
        number = error.errno or 0
        # Those of names have numbers of their own, below 0.
        why = os.strerror(number) if number > 0 else error.strerror or str(error)
        self.problem = f"cannot listen on {settings.host} port {settings.port}: {why}"
        if is_told:
            to_do = _TO_DO.get(number, "see [web] host and port")
            again_in_s = self._again_in_s
            log.warning(
                "web_not_listening", host=settings.host, port=settings.port, why=why, to_do=to_do, again_in_s=again_in_s
            )

    @asynccontextmanager
    async def _serving(self, settings: WebSettings) -> AsyncIterator[str]:
        events, connections = Events(self._latest), Connections(self._clock)
        routes = with_description([*own_routes(self._latest, self._condition, events), *self._further])
        app = application(routes, settings, Token(settings.token_file, self._clock), connections)
        app.on_shutdown.append(events.stop)
        async with serving(app, connections, settings.host, settings.port) as address:
            yield address


@asynccontextmanager
async def serving(app: web.Application, connections: Connections, host: str, port: int) -> AsyncIterator[str]:
    """Serve an application while the body runs; its address. Raises `OSError` if that cannot be had."""
    runner = web.AppRunner(app, shutdown_timeout=_STOP_S)
    await runner.setup()
    try:
        talking = runner.server
        if talking is None:
            raise RuntimeError("an application that is set up has a server")
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Doorman(connections, lambda: Talker(talking)), _ALL.get(host, host), port, backlog=_BACKLOG
        )
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connections.watch)
                yield _address(host, server.sockets[0].getsockname()[1])
                tasks.cancel_scope.cancel()
        finally:
            server.close()
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
