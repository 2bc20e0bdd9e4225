"""An id on very many rows is found, and its count is never too high; memory does not grow."""

import random
from collections import Counter

import pytest

from pipeline.core.rows.frequency import COUNTERS, MANY_ROWS, most_frequent, with_rows
from tests.core.builders import row, rows_of


def count(ids: list[str], *, block: int = 500) -> list[tuple[int, int, int]]:
    counters: list[tuple[int, int, int]] = []
    for first in range(0, len(ids), block):
        rows = rows_of([row(each, "x") for each in ids[first : first + block]], first_line=first + 2)
        counters = with_rows(counters, rows)
    return counters


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 1.0])
def test_an_id_on_a_share_of_the_rows_is_found(share: float) -> None:
    draw = random.Random(1)
    ids = ["nobody" if draw.random() < share else f"u{n}" for n in range(20_000)]
    found = most_frequent(count(ids), len(ids))
    assert found == (ids.count("nobody"), ids.index("nobody") + 2)


def test_the_most_frequent_is_found_among_many_that_repeat() -> None:
    draw = random.Random(2)
    ids = [f"u{draw.randrange(400)}" if draw.random() < 0.9 else "nobody" for _ in range(20_000)]
    counters = count(ids)
    assert len(counters) <= COUNTERS
    found = most_frequent(counters, len(ids))
    assert found
    assert 0.8 * ids.count("nobody") < found[0] <= ids.count("nobody")


@pytest.mark.parametrize("seed", range(5))
def test_no_count_is_too_high(seed: int) -> None:
    draw = random.Random(seed)
    ids = [f"u{int(draw.paretovariate(0.5))}" for _ in range(5_000)]
    counters = count(ids, block=97)
    assert counters[0][1] <= max(Counter(ids).values())


@pytest.mark.parametrize(
    "ids",
    [
        [f"u{n}" for n in range(2_000)],
        [f"u{n % 1_000}" for n in range(3_000)],
        ["same"] * (MANY_ROWS - 1) + [f"u{n}" for n in range(500)],
        ["same"] * MANY_ROWS + [f"u{n}" for n in range(100 * MANY_ROWS)],
    ],
)
def test_no_id_is_on_many_rows(ids: list[str]) -> None:
    assert most_frequent(count(ids), len(ids)) is None


def test_no_rows() -> None:
    assert most_frequent(with_rows([], rows_of([])), 0) is None
