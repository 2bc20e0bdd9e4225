"""Ids are counted exactly up to a bound, and about right beyond it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.survey.ids import IdCount


def counted(blocks: list[list[int]], **bounds: int) -> IdCount:
    ids = IdCount(**bounds)
    for block in blocks:
        ids.add(np.array(block, dtype=np.uint64))
    return ids


@given(st.lists(st.lists(st.integers(1, 30), max_size=20), max_size=10), st.integers(1, 8))
def test_they_are_counted(blocks: list[list[int]], collected: int) -> None:
    found = counted(blocks, collected=collected).counted()
    expected = Counter(each for block in blocks for each in block)
    assert (found.distinct, found.most_rows) == (len(expected), max(expected.values(), default=0))
    assert found.repeated == sum(count > 1 for count in expected.values())
    assert found.is_exact


def test_beyond_the_bound_a_sample_stands_for_all() -> None:
    draw = np.random.default_rng(1)
    hashes = draw.integers(1, 2**64, 100_000, dtype=np.uint64)
    ids = IdCount(most_ids=10_000, collected=5_000)
    for start in range(0, 100_000, 1_000):
        ids.add(hashes[start : start + 1_000])
        ids.add(hashes[start : start + 500])
    found = ids.counted()
    assert not found.is_exact
    assert found.distinct == pytest.approx(100_000, rel=0.05)
    assert found.repeated == pytest.approx(50_000, rel=0.07)
    assert found.most_rows == 2
