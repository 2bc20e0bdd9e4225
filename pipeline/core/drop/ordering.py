"""In which order what waits has its turn."""

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def by_sequence(waiting: Iterable[T], sequence: Callable[[T], int | None]) -> list[T]:
    """What waits, in the order of its arrival, but those with a sequence number change places to be in its order.

    Whatever has none keeps its place. Of equal numbers the first to arrive is first.
    """
    order = list(waiting)
    places = [place for place, each in enumerate(order) if sequence(each) is not None]
    numbered = sorted((order[place] for place in places), key=lambda each: sequence(each) or 0)
    for place, each in zip(places, numbered, strict=True):
        order[place] = each
    return order
