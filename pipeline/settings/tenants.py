"""Tenants and routes: the settings for the jobs of each client code, and the place of its ledger.

A route is a drop directory with the settings for the exports dropped there; `default` is the file's top level. A tenant
is one client code with all its routes. It has a state directory of its own, with ledger, lock, spool, jobs and
requests, and a call budget of its own.

The client code of the file's top level has [state] directory itself; any other has `clients/CLIENTCODE` in it. So a
configuration that gets routes keeps its ledger, and the place of a ledger does not depend on the number of routes, or
on their order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pipeline.core.errors import ConfigurationError
from pipeline.settings.settings import Settings

#: The name of the route that is the file's top level.
DEFAULT_ROUTE = "default"
#: The directory in [state] directory for the client codes that are not that of the file's top level.
CLIENTS = "clients"


@dataclass(frozen=True, slots=True)
class Tenant:
    """The settings of one client code, by route; there is at least one route.

    The routes agree in all keys that belong to the client code.

    `root`: [state] directory as the file has it; the tenant's own directory is in its settings.
    """

    routes: Mapping[str, Settings]
    root: Path

    @classmethod
    def of_one(cls, settings: Settings) -> "Tenant":
        """The tenant of a configuration without routes."""
        return cls({DEFAULT_ROUTE: settings}, settings.state.directory)

    @property
    def settings(self) -> Settings:
        """The settings of the client code itself.

        They are those of the file's top level if that is a route of this client code, else those of its first route.
        """
        return self.routes.get(DEFAULT_ROUTE) or next(iter(self.routes.values()))

    @property
    def client_code(self) -> str:
        """The client code of the tenant."""
        return self.settings.target.client_code

    @property
    def directory(self) -> Path:
        """The state directory of the tenant."""
        return self.settings.state.directory

    @property
    def drops(self) -> dict[str, Path]:
        """The drop directories by route."""
        directories = {name: settings.drop.directory for name, settings in self.routes.items()}
        return {name: directory for name, directory in directories.items() if directory is not None}

    def of(self, route: str) -> Settings:
        """The settings for a job of this route; if the route no longer exists, those of the client code itself."""
        return self.routes.get(route) or self.settings


@dataclass(frozen=True, slots=True)
class Configuration:
    """All tenants, in the order of the file.

    `root`: [state] directory.
    `has_routes`: the file names routes.
    """

    tenants: tuple[Tenant, ...]
    root: Path
    has_routes: bool = False

    @classmethod
    def of_one(cls, settings: Settings) -> "Configuration":
        """A configuration without routes."""
        return cls((Tenant.of_one(settings),), settings.state.directory)

    @property
    def routes(self) -> dict[str, Settings]:
        """The settings of all routes by name."""
        return {name: settings for tenant in self.tenants for name, settings in tenant.routes.items()}

    def tenant_of(self, route: str | None) -> tuple[Tenant, str]:
        """The tenant of a route, and its name; None is the file's top level. Raises `FatalError` (78)."""
        name = route or DEFAULT_ROUTE
        for tenant in self.tenants:
            if name in tenant.routes:
                return tenant, name
        names = ", ".join(self.routes)
        there_are = f"there are {names}" if self.has_routes else "it has no [[routes]]: leave out --route"
        if route is None:
            raise ConfigurationError(
                "the configuration's top level has no [target] client_code and [export] id_column of its own: name a "
                f"--route; {there_are}."
            )
        alike = get_close_matches(route, self.routes, 1)
        meant = f" Did you mean {alike[0]}?" if alike else ""
        raise ConfigurationError(f"the configuration has no route {route!r}; {there_are}.{meant}")
