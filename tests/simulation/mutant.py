"""A guard of the product, and the edit that takes it away."""

from dataclasses import dataclass

from tests.simulation.climate import ANY, Climate


@dataclass(frozen=True, slots=True)
class Mutant:
    """An edit of a file, in which `old` stands once and becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    climate: Climate = ANY
