"""Reads a whole configuration with its routes: each route is the file's top level, overlaid with its own keys."""

import os
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.settings.sections.base import Section
from pipeline.settings.settings import ROUTES, Said, Settings, read_sources, settings_of
from pipeline.settings.tenants import CLIENTS, DEFAULT_ROUTE, Configuration, Tenant

#: Sections for the whole process; no route has them.
PROCESS_SECTIONS = ("state", "service", "web")
#: Sections that each route may set for itself -> their keys that belong to the client code instead.
_OWN_SECTIONS: dict[str, frozenset[str]] = {
    "export": frozenset(),
    "mapping": frozenset(),
    "batch": frozenset(),
    "drop": frozenset({"outcome_directory", "poll_s"}),
    "guard": frozenset(),
    "expect": frozenset(),
    "notify": frozenset(),
}
#: Single keys that each route may set for itself, in sections that otherwise belong to the client code.
_OWN_KEYS = frozenset({("settle", "max_lost")})
#: A route's name; paths, logs and the command line hold it.
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
#: Keys that the top level may lack if it only serves as the base of routes.
_OPTIONAL_WITH_ROUTES = (("target", "client_code"), ("export", "id_column"))


def load_configuration(
    file: Path | None, *, env: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Configuration:
    """The configuration of a file, read as by `load_settings`.

    `overrides` apply to the top level and to each route. The environment only applies to the top level, and a route's
    own keys override it.
    """
    said = read_sources(file, env, overrides)
    if said.routes == []:
        return Configuration.of_one(settings_of(said))
    return _Routes(said).configuration()


class _Routes:
    """Makes the settings of all routes, and collects the problems."""

    def __init__(self, said: Said) -> None:
        self._said = said
        self._problems = said.problems
        self._settings: dict[str, Settings] = {}
        self._told_of_the_top: list[tuple[Any, ...]] = []

    def configuration(self) -> Configuration:
        """The whole configuration. Raises `FatalError` (78) with all problems."""
        self._read_top()
        routes = self._said.routes
        if not isinstance(routes, list) or not all(isinstance(route, Mapping) for route in routes):
            self._problems.add(f"[[{ROUTES}]]", self._said.routes_origin, "must be tables, each with a name")
            routes = []
        names = _names(routes)
        for number, (name, route) in enumerate(zip(names, routes, strict=True), 1):
            with self._problems.within(f"[[{ROUTES}]] {name if isinstance(name, str) else f'number {number}'}"):
                self._check_name(name, names)
                self._read_route(name, route)
        if self._problems.lines:
            raise self._problems.as_error()
        tenants = self._tenants()
        self._check_drops()
        for tenant in tenants:
            self._check_agreement(tenant)
        self._check_outcomes(tenants)
        if self._problems.lines:
            raise self._problems.as_error()
        return Configuration(tenants, Path(self._said.values["state"]["directory"]), has_routes=True)

    def _read_top(self) -> None:
        """Read the top level as a route if it is complete; it must be complete if exports are dropped for it."""
        values = self._said.values
        try:
            self._settings[DEFAULT_ROUTE] = Settings.model_validate(values)
        except ValidationError as error:
            is_route = bool(values["drop"].get("directory"))
            for detail in error.errors(include_url=False):
                if is_route or detail["loc"] not in _OPTIONAL_WITH_ROUTES or _is_given(detail):
                    self._problems.add_refused(detail, self._said.origins)
                    self._told_of_the_top.append(_as_told(detail))

    def _check_name(self, name: object, names: list[object]) -> None:
        if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
            text = "is required: a name of 1 to 63 letters, digits, _ and -, the first a letter or digit"
            self._problems.add("name", self._said.routes_origin, text)
        elif name == DEFAULT_ROUTE:
            self._problems.add("name", self._said.routes_origin, "is that of the file's top level: take another")
        elif names.count(name) > 1:
            self._problems.add("name", self._said.routes_origin, "is that of another route too: each needs its own")

    def _read_route(self, name: object, route: Mapping[str, Any]) -> None:
        origin, problems = self._said.routes_origin, self._problems
        own: dict[str, Any] = {}
        for section, keys in route.items():
            if section == "name":
                continue
            if section in PROCESS_SECTIONS:
                problems.add(f"[{section}]", origin, "is for the whole process: set it at the file's top level")
            elif section not in Settings.model_fields:
                problems.add_unknown_section(section, origin)
            elif _is_section(section) and not isinstance(keys, Mapping):
                problems.add(f"[{section}]", origin, "must be a table of keys")
            else:
                own[section] = keys
        if not own.get("drop", {}).get("directory"):
            problems.add("[drop] directory", origin, "is required: each route has a drop directory of its own")
        values = self._laid_over_the_top(own)
        try:
            settings = Settings.model_validate(values)
        except ValidationError as error:
            of_route = {(section, key): origin for section in own if _is_section(section) for key in own[section]}
            origins = {**self._said.origins, **of_route}
            for detail in error.errors(include_url=False):
                if _as_told(detail) not in self._told_of_the_top:
                    problems.add_refused(detail, origins)
            return
        if isinstance(name, str):
            self._settings.setdefault(name, settings)

    def _laid_over_the_top(self, own: Mapping[str, Any]) -> dict[str, Any]:
        top = self._said.values
        values: dict[str, Any] = {}
        for layer in (top, own, self._said.overrides):
            for section, keys in layer.items():
                values[section] = {**values.get(section, {}), **keys} if _is_section(section) else keys
        # Two routes cannot share a drop directory, so that of the top level is never inherited.
        values["drop"]["directory"] = own.get("drop", {}).get("directory") or ""
        client_code = values["target"].get("client_code")
        if client_code != top["target"].get("client_code") and isinstance(client_code, str):
            state, outcome = top["state"].get("directory"), top["drop"].get("outcome_directory")
            if isinstance(state, str | os.PathLike) and state:
                values["state"]["directory"] = str(Path(state) / CLIENTS / client_code)
            if isinstance(outcome, str | os.PathLike) and outcome and "outcome_directory" not in own.get("drop", {}):
                values["drop"]["outcome_directory"] = str(Path(outcome) / CLIENTS / client_code)
        return values

    def _tenants(self) -> tuple[Tenant, ...]:
        root = Path(self._said.values["state"]["directory"])
        routes: dict[str, dict[str, Settings]] = {}
        for name, settings in self._settings.items():
            routes.setdefault(settings.target.client_code, {})[name] = settings
        return tuple(Tenant(of_tenant, root) for of_tenant in routes.values())

    def _check_drops(self) -> None:
        drops = [
            (name, Path(os.path.realpath(settings.drop.directory)))
            for name, settings in self._settings.items()
            if settings.drop.directory is not None
        ]
        for (one, first), (other, second) in combinations(drops, 2):
            if first == second or first in second.parents or second in first.parents:
                text = f"{first} and {second}: none may be, or lie in, that of another route"
                self._problems.add(f"{_both(one, other)}: [drop] directory", None, text)

    def _check_agreement(self, tenant: Tenant) -> None:
        (first, of_first), *others = tenant.routes.items()
        expected = dict(_of_the_client_code(of_first))
        for name, settings in others:
            for key, value in _of_the_client_code(settings):
                if value != expected[key]:
                    text = (
                        f"both go to client code {tenant.client_code!r} and differ in what is the client code's: "
                        "set it at the file's top level, or alike in both"
                    )
                    self._problems.add(f"{_both(first, name)}: [{key[0]}] {key[1]}", None, text)

    def _check_outcomes(self, tenants: tuple[Tenant, ...]) -> None:
        for one, other in combinations(tenants, 2):
            directory = one.settings.outcome_directory
            if os.path.realpath(directory) == os.path.realpath(other.settings.outcome_directory):
                where = f"{_both(next(iter(one.routes)), next(iter(other.routes)))}: [drop] outcome_directory"
                text = f"{directory} is that of two client codes: give each its own"
                self._problems.add(where, None, text)


def _names(routes: list[Mapping[str, Any]]) -> list[object]:
    return [route.get("name") for route in routes]


def _is_given(detail: ErrorDetails) -> bool:
    return detail["type"] != "missing" and bool(detail["input"])


def _as_told(detail: ErrorDetails) -> tuple[Any, ...]:
    """The parts of a problem that distinguish it from others."""
    return (detail["loc"], detail["type"], detail["input"] if _is_given(detail) else None)


def _both(one: str, other: str) -> str:
    names = ["the file's top level" if name == DEFAULT_ROUTE else f"[[{ROUTES}]] {name}" for name in (one, other)]
    return " and ".join(names)


def _of_the_client_code(settings: Settings) -> Iterator[tuple[tuple[str, str], Any]]:
    """The values in which all routes of a client code must agree, by section and key."""
    for (section, key), value in values_of(settings).items():
        if section not in PROCESS_SECTIONS and not is_routes_own(section, key):
            yield (section, key), value


def values_of(settings: Settings) -> dict[tuple[str, str], Any]:
    """All values as plain ones, by section and key. A value that is in no section has an empty key."""
    found: dict[tuple[str, str], Any] = {}
    for section, keys in settings.model_dump(mode="json").items():
        if _is_section(section):
            found |= {(section, key): value for key, value in keys.items()}
        else:
            found[section, ""] = keys
    return found


def _is_section(name: str) -> bool:
    """True for a table of keys, each of which can be overridden by itself."""
    kind = Settings.model_fields[name].annotation
    return isinstance(kind, type) and issubclass(kind, Section)


def is_routes_own(section: str, key: str) -> bool:
    """True if routes of one client code may differ in this key."""
    of_client_code = _OWN_SECTIONS.get(section)
    return (section, key) in _OWN_KEYS or (of_client_code is not None and key not in of_client_code)
