"""The figures of a load at one moment."""

import pytest

from pipeline.core.display.moment import RATE_OVER_S, Moment, Rate
from pipeline.core.model import RowCounts


def test_a_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    assert rate.at(100.0, 5_000) is None
    assert rate.at(100.5, 9_000) is None, "too soon to tell"
    assert rate.at(102.0, 7_000) == 1_000
    for second in range(1, 40):
        last = rate.at(102.0 + second, 7_000 + 10 * second)
    assert last == pytest.approx(10.0), "what was before is forgotten"
    assert rate.at(141.0 + 2 * RATE_OVER_S, 7_390) == pytest.approx(0.0, abs=10.0)


def test_rows_without_an_outcome_are_under_way() -> None:
    assert Moment("a.csv", rows=RowCounts(read=10, confirmed=4, rejected=1)).under_way == 5
    assert Moment("a.csv", rows=RowCounts(read=1, confirmed=2)).under_way == 0
