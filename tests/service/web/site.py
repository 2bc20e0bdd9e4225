"""A web server on loopback, over state directories in which real loads were run, and somebody who asks it."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from pipeline.core.errors import PipelineError
from pipeline.edges.clock import Clock
from pipeline.edges.host import Host
from pipeline.jobs.ending import Ending
from pipeline.service.web.access import Token
from pipeline.service.web.application import application
from pipeline.service.web.connections import Connections
from pipeline.service.web.events import Events
from pipeline.service.web.latest import Latest
from pipeline.service.web.listener import serving
from pipeline.service.web.metrics import Scrape
from pipeline.service.web.openapi import with_description
from pipeline.service.web.readiness import Condition
from pipeline.service.web.routes import metrics_route, own_routes
from pipeline.settings.sections.web import WebSettings
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Configuration, Tenant
from tests.tools.support import CLOSED, settings_for


@dataclass
class Served:
    """A client code, and the error that ended its service."""

    client_code: str = "demo"
    error: PipelineError | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        """The JSON in it."""
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class Site:
    """A web server, and what it is about."""

    url: str
    session: aiohttp.ClientSession
    latest: Latest
    events: Events
    connections: Connections
    ending: Ending
    served: Served

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def get(self, path: str, *, method: str = "GET", **headers: str) -> Said:
        """The answer to a request; `_` in a header's name stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.url + path, headers=named, allow_redirects=False) as response:
            return Said(response.status, response.headers.copy(), await response.read())


def of_settings(directory: Path, **sections: Any) -> Configuration:
    """The configuration of a single client code, with its state in `state` of this directory."""
    return Configuration.of_one(settings_for(CLOSED, directory / "state", **sections))


def of_clients(directory: Path, *client_codes: str) -> Configuration:
    """That of several, each with a state directory."""
    settings: list[Settings] = [
        settings_for(CLOSED, directory / code, target={"client_code": code}) for code in client_codes
    ]
    tenants = tuple(Tenant({each.target.client_code: each}, directory) for each in settings)
    return Configuration(tenants, directory, has_routes=True)


@asynccontextmanager
async def site(
    configuration: Configuration,
    *,
    web: WebSettings | None = None,
    clock: Clock | None = None,
    connections: Connections | None = None,
    drain: bool = False,
    scrape: Scrape | None = None,
) -> AsyncIterator[Site]:
    """A server of this configuration at a free port of 127.0.0.1, whatever host it believes to listen on.

    `scrape`: the metrics that it tells; by default those of a process that serves nobody.
    """
    settings, clock = web or WebSettings(), clock or Clock()
    connections = connections or Connections(clock)
    latest, served, ending = Latest(configuration, clock), Served(), Ending()
    events = Events(latest, look_every_s=0.01)
    metrics = metrics_route(scrape or Scrape(configuration.root, (), Host(clock)))
    routes = with_description([*own_routes(latest, Condition([served], ending, drain=drain), events), metrics])
    app = application(routes, settings, Token(settings.token_file, clock), connections)
    app.on_shutdown.append(events.stop)
    async with serving(app, connections, "127.0.0.1", 0) as url, aiohttp.ClientSession() as session:
        yield Site(url, session, latest, events, connections, ending, served)


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
