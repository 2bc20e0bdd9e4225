"""Reloads the configuration of a running service: at SIGHUP it is read again, and taken or refused as a whole.

Limits change at once (`Runner.take`). Everything else holds for later drops and jobs; running jobs keep what they have.
"""

import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import anyio
import structlog
from anyio.to_thread import run_sync

from pipeline.core.errors import PipelineError
from pipeline.jobs.ending import Ending, tell_unexpected
from pipeline.settings.routes import PROCESS_SECTIONS, values_of
from pipeline.settings.tenants import DEFAULT_ROUTE, Configuration, Tenant

log = structlog.get_logger()

#: Section and key of the settings that a running service cannot change.
FIXED = frozenset(
    {
        ("target", "client_code"),
        ("drop", "directory"),
        ("drop", "outcome_directory"),
        ("state", "directory"),
        ("state", "min_free_bytes"),
        ("memory", "remember"),
    }
)
ReadAgain = Callable[[], Configuration]


class Takes(Protocol):
    """A tenant's service that can be given other settings."""

    @property
    def client_code(self) -> str:
        """The client code of the tenant."""

    def take(self, settings: Tenant) -> None:
        """Go on with these settings."""


class TakesAll(Protocol):
    """A part of the process that can be given another configuration."""

    def take(self, configuration: Configuration) -> None:
        """Go on with this configuration."""


class Reloading:
    """The configuration in force, and the tenants and the web server that are given another one."""

    def __init__(
        self,
        configuration: Configuration,
        read_again: ReadAgain | None,
        tenants: Sequence[Takes],
        web: TakesAll,
        ending: Ending,
    ) -> None:
        self._configuration = configuration
        self._read_again = read_again
        self._tenants = tenants
        self._web = web
        self._ending = ending

    @staticmethod
    def signals() -> AbstractContextManager[AsyncIterator[signal.Signals]]:
        """The SIGHUP signals from now on, for `listen`."""
        return anyio.open_signal_receiver(signal.SIGHUP)

    async def listen(self, signals: AsyncIterator[signal.Signals]) -> None:
        """Reload at each signal, until cancelled."""
        async for _ in signals:
            try:
                await self._reload()
            except Exception as error:  # noqa: BLE001 - what runs goes on
                tell_unexpected(error)

    async def _reload(self) -> None:
        if self._read_again is None:
            return
        try:
            new = await run_sync(self._read_again)
        except PipelineError as error:
            _refuse(str(error))
            return
        except Exception as error:  # noqa: BLE001 - whatever is in the file, what runs goes on
            _refuse(f"it cannot be read: {type(error).__name__}: {error}")
            return
        changes = list(dict.fromkeys(_changes(self._configuration, new)))
        fixed = [change for change in changes if change[1:] in FIXED]
        routes = _other_routes(self._configuration, new)
        if fixed or routes:
            named = "; ".join([*routes, *map(_named, fixed)])
            _refuse(f"this cannot change while the service runs: {named}. Start it anew to take it.")
            return
        tenants = {tenant.client_code: tenant for tenant in new.tenants}
        for tenant in self._tenants:
            tenant.take(tenants[tenant.client_code])
        self._web.take(new)
        self._ending.grace_s = new.tenants[0].settings.service.grace_s
        self._configuration = new
        log.info("configuration_taken", changed=[_named(change) for change in changes])


def _refuse(why: str) -> None:
    log.error("configuration_refused", why=why, now="the one before stays in force")


def _other_routes(old: Configuration, new: Configuration) -> list[str]:
    """The routes that were added or removed, in words."""
    added = [f"{_route(name)} is new" for name in new.routes if name not in old.routes]
    return added + [f"{_route(name)} is gone" for name in old.routes if name not in new.routes]


def _changes(old: Configuration, new: Configuration) -> Iterator[tuple[str, str, str]]:
    """The route, section and key of each value that differs."""
    for name, settings in new.routes.items():
        if name not in old.routes:
            continue
        before = values_of(old.routes[name])
        for (section, key), value in values_of(settings).items():
            if before[section, key] != value:
                yield (DEFAULT_ROUTE if section in PROCESS_SECTIONS else name), section, key


def _named(change: tuple[str, str, str]) -> str:
    route, section, key = change
    return f"[{section}] {key}".rstrip() + ("" if route == DEFAULT_ROUTE else f" of {_route(route)}")


def _route(name: str) -> str:
    return "the file's top level" if name == DEFAULT_ROUTE else f"route {name}"
