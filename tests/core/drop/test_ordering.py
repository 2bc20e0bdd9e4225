"""Whose turn it is."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.drop.ordering import by_sequence, first_by_sequence

Waiting = list[tuple[str, int | None]]
#: In the order of their arrival, each with a sequence number or none.
waiting = st.lists(st.none() | st.integers(0, 5)).map(
    lambda numbers: [(f"drop {place}", number) for place, number in enumerate(numbers)]
)


def turns(drops: Waiting) -> Waiting:
    return by_sequence(drops, lambda drop: drop[1])


def test_numbered_ones_change_places_among_themselves() -> None:
    drops: Waiting = [("a", 2), ("b", None), ("c", 1), ("d", 2), ("e", None), ("f", 0)]
    assert [name for name, _ in turns(drops)] == ["f", "b", "c", "a", "e", "d"]


@given(waiting)
def test_nothing_is_lost_and_all_are_in_order(drops: Waiting) -> None:
    order = turns(drops)
    assert sorted(order, key=drops.index) == drops
    numbered = [drop for drop in order if drop[1] is not None]
    assert numbered == sorted(numbered, key=lambda drop: (drop[1] or 0, drops.index(drop)))
    assert [place for place, drop in enumerate(order) if drop[1] is None] == [
        place for place, drop in enumerate(drops) if drop[1] is None
    ]
    assert [drop for drop in order if drop[1] is None] == [drop for drop in drops if drop[1] is None]


@given(waiting, st.integers(0, 12))
def test_the_first_of_them_need_only_a_few(drops: Waiting, count: int) -> None:
    numbered = [drop for drop in turns(drops) if drop[1] is not None]
    assert first_by_sequence(drops[:count], numbered[:count], lambda drop: drop[1]) == turns(drops)[:count]


@given(waiting)
def test_it_does_not_matter_how_often_it_is_asked(drops: Waiting) -> None:
    assert turns(turns(drops)) == turns(drops)
