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


def first_by_sequence(first: Iterable[T], numbered: Iterable[T], sequence: Callable[[T], int | None]) -> list[T]:
    """The first places of `by_sequence`, for many waiting items of which only a few are needed.

    `first`: the items that arrived first.
    `numbered`: the items with the lowest sequence numbers, in their order; as many as `first` has, or all there are.
    """
    lowest = iter(numbered)
    return [each if sequence(each) is None else next(lowest) for each in first]
