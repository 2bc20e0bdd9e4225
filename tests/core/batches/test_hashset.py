"""Sets of hashes are sets, whatever the hashes, however many, and whatever was removed."""

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.hashset import HashSets, contains
from pipeline.core.model import Hashes
from tests.core.builders import hashes_of

#: Some share their first bits with others, and the smallest and the largest there are.
HASHES = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 20),
    st.integers(2**64 - 20, 2**64 - 1),
    st.builds(lambda high, low: (high << 60) + low, st.integers(0, 15), st.integers(0, 3)),
)


#: A set that is put, or None: one of those that are there is removed.
STEPS = st.lists(st.one_of(st.none(), st.sets(HASHES, max_size=30)), max_size=12)


@given(STEPS, st.lists(HASHES, max_size=40), st.randoms(use_true_random=False))
def test_sets_of_hashes_are_sets(steps: list[set[int] | None], others: list[int], draw: Random) -> None:
    # Sets of four and more are large.
    sets, model = HashSets(index_power=3), dict[int, set[int]]()
    for number, known in enumerate(steps):
        if known is not None:
            sets.put(number, hashes_of(sorted(known)))
            model[number] = known
        elif model:
            gone = draw.choice(sorted(model))
            sets.remove(gone)
            del model[gone]
        asked = hashes_of([*others, *(each for step in steps if step for each in step)])
        assert sets.contain(asked).tolist() == are_in(asked, *model.values())
        for place, each in model.items():
            assert sets.are_in(place, asked).tolist() == are_in(asked, each)
        assert len(sets) == len(model)


def are_in(asked: Hashes, *sets: set[int]) -> list[bool]:
    """What a set says, of whose hashes the first 35 bits are kept if it is large."""
    kept = [{each >> 29 for each in known} if len(known) >= 4 else known for known in sets]
    return [
        any((each >> 29 if len(whole) >= 4 else each) in known for whole, known in zip(sets, kept, strict=True))
        for each in asked.tolist()
    ]


@given(st.sets(HASHES, max_size=40), st.lists(HASHES, max_size=40))
def test_a_sorted_array_is_a_set(known: set[int], others: list[int]) -> None:
    asked = hashes_of([*others, *known])
    assert contains(hashes_of(sorted(known)), asked).tolist() == [each in known for each in asked.tolist()]


def test_large_sets_keep_the_first_49_bits() -> None:
    sets = HashSets()
    known = np.arange(100_000, dtype=np.uint64) << np.uint64(15)
    sets.put(1, known)
    one = hashes_of([0, 1])
    for bit, is_kept in ((14, False), (15, True)):
        others = known[-2:] + (one << np.uint64(bit))
        assert sets.contain(others).tolist() == [True, not is_kept], bit
        assert sets.are_in(1, others).tolist() == [True, not is_kept], bit


def test_large_sets_grow_and_go() -> None:
    draw = np.random.default_rng(1)
    sets = HashSets()
    known = [np.unique(draw.integers(0, 2**64 - 1, 200_000, dtype=np.uint64)) for _ in range(6)]
    asked = np.concatenate([draw.integers(0, 2**64 - 1, 1_000, dtype=np.uint64), *(each[::1_000] for each in known)])
    held = [np.isin(asked, each) for each in known]
    for number, each in enumerate(known):
        sets.put(number, each)
    assert (sets.contain(asked) == np.any(held, axis=0)).all()
    for gone in range(5):
        sets.remove(gone)
        assert (sets.contain(asked) == np.any(held[gone + 1 :], axis=0)).all()
    sets.remove(5)
    assert not sets.contain(asked).any()
