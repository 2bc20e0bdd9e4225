"""A set of hashes is a set, whatever the hashes and however many."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.hashset import HashSet, contains
from tests.core.builders import hashes_of

#: Some share their first bits with others, and the smallest and the largest there are.
HASHES = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 20),
    st.integers(2**64 - 20, 2**64 - 1),
    st.builds(lambda high, low: (high << 60) + low, st.integers(0, 15), st.integers(0, 3)),
)


@given(st.sets(HASHES, max_size=40), st.lists(HASHES, max_size=40))
def test_a_set_of_hashes_is_a_set(known: set[int], others: list[int]) -> None:
    ordered = hashes_of(sorted(known))
    asked = hashes_of([*others, *known])
    expected = [number in known for number in asked.tolist()]
    assert HashSet(ordered).contains(asked).tolist() == expected
    assert contains(ordered, asked).tolist() == expected


def test_a_large_set_has_no_more_marks_than_fit() -> None:
    draw = np.random.default_rng(1)
    known = np.unique(draw.integers(0, 2**64 - 1, 700_000, dtype=np.uint64))
    asked = np.concatenate([draw.integers(0, 2**64 - 1, 1_000, dtype=np.uint64), known[::1_000]])
    found = HashSet(known).contains(asked)
    assert (found == np.isin(asked, known)).all()
    assert found[1_000:].all()
