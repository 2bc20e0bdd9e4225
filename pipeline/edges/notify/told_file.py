"""The conditions that were told, and since when exports are expected: `told.json` in the state directory.

So a pause or an overdue export is told once, over restarts too, and its end is told. All functions block.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from pipeline.core.errors import FatalError
from pipeline.core.plain import of_plain, plain
from pipeline.edges.durable import write_durably

_TOLD = "told.json"


@dataclass(frozen=True, slots=True)
class ToldOf:
    """A condition that was told, and whose end was not. `mark`: what tells it from a later one of the same kind.

    `since`: UTC in ISO 8601. `route`: empty for the whole client code.
    """

    mark: str
    since: str
    route: str = ""


@dataclass(frozen=True, slots=True)
class ExpectedSince:
    """The time (UTC in ISO 8601) since which exports of a route are expected as these words say."""

    words: str
    since: str


@dataclass(frozen=True, slots=True)
class Told:
    """`conditions`: by name, such as `paused` or `overdue ROUTE`. `expected`: by route."""

    conditions: Mapping[str, ToldOf] = field(default_factory=dict)
    expected: Mapping[str, ExpectedSince] = field(default_factory=dict)


def read_told(state: Path) -> Told:
    """The content of the file; nothing where it is not there, or is none of ours."""
    try:
        values = orjson.loads((state / _TOLD).read_bytes())
        return Told(
            {name: of_plain(ToldOf, each) for name, each in values["conditions"].items()},
            {route: of_plain(ExpectedSince, each) for route, each in values["expected"].items()},
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Told()


def write_told(state: Path, told: Told) -> bool:
    """Write it down, durably. False if the disk refuses."""
    try:
        write_durably(state / _TOLD, [orjson.dumps(plain(told))])
    except (FatalError, OSError):
        return False
    return True
