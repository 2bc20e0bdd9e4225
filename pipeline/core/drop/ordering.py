"""The order of waiting items, by sequence number."""

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def by_sequence(waiting: Iterable[T], sequence: Callable[[T], int | None]) -> list[T]:
    """Put the items with a sequence number into its order; the others keep their places.

    `waiting`: the items in the order of their arrival.
    `sequence`: gives an item's sequence number, or None.

    The numbered items share the places that they have among themselves. Of equal numbers, the first to arrive is first.
    """
    order = list(waiting)
    places = [place for place, each in enumerate(order) if sequence(each) is not None]
    numbered = sorted((order[place] for place in places), key=lambda each: sequence(each) or 0)
    for place, each in zip(places, numbered, strict=True):
        order[place] = each
    return order
