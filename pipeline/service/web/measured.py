"""The figures that metrics are made of, and the forms of a metric."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Generic, Literal, TypeVar

from pipeline.core.display.counts import Counts, Durations
from pipeline.service.figures import FiguresOnDisk, LiveFigures


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of a client code. `live` is None while it is not served; `paused` says why nothing is sent.

    `overdue`: by route that expects exports, True if one is overdue.
    """

    client_code: str
    routes: tuple[str, ...]
    counts: Counts
    live: LiveFigures | None
    on_disk: FiguresOnDisk
    paused: frozenset[str] = frozenset()
    overdue: Mapping[str, bool] = field(default_factory=dict)
    token_expires: date | None = None
    least_free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class MeasuredProcess:
    """The figures of the process. `heartbeat_age_s`: of the last sign of life of its event loop; None without one."""

    log_lines_dropped: int
    heartbeat_age_s: float | None


#: The values of the labels, and the value of the metric.
Sample = tuple[tuple[str, ...], float]
Of = TypeVar("Of", Measured, MeasuredProcess)


@dataclass(frozen=True, slots=True)
class Metric(Generic[Of]):
    """A metric: its name without prefix, and its labels; one of a client code has `client_code` before them."""

    name: str
    kind: Literal["counter", "gauge"]
    told: str
    labels: tuple[str, ...]
    samples: Callable[[Of], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations of a client code, in seconds."""

    name: str
    told: str
    durations: Callable[[Measured], Durations]


def by_route(counts: Mapping[str, float], of: Measured) -> Iterator[Sample]:
    """A sample for each route."""
    for route in dict.fromkeys((*of.routes, *counts)):
        yield (route,), counts.get(route, 0)


def by_route_and(names: Iterable[str], counts: Mapping[tuple[str, str], float], of: Measured) -> Iterator[Sample]:
    """A sample for each route and name."""
    known = [(route, str(name)) for route in of.routes for name in names]
    for key in dict.fromkeys((*known, *counts)):
        yield key, counts.get(key, 0)


def by_name(names: Iterable[str], counts: Mapping[str, float]) -> Iterator[Sample]:
    """A sample for each name."""
    for name in dict.fromkeys((*map(str, names), *counts)):
        yield (name,), counts.get(name, 0)


def only(value: float | None) -> Iterable[Sample]:
    """The sample of a metric without labels; none if the value is not known."""
    return () if value is None else (((), value),)
