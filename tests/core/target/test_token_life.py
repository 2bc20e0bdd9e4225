"""The life of a token: days left, from when on it is warned of, and the words for it."""

from datetime import date, timedelta

import pytest

from pipeline.core.target.token_life import WARNED_DAYS, days_left, in_words, is_ending

END = date(2027, 2, 28)


@pytest.mark.parametrize(
    ("days", "warned", "told"),
    [
        (90, False, "expires in 90 days, on 2027-02-28"),
        (WARNED_DAYS + 1, False, "expires in 11 days, on 2027-02-28"),
        (WARNED_DAYS, True, "expires in 10 days, on 2027-02-28"),
        (1, True, "expires in 1 day, on 2027-02-28"),
        (0, True, "expires today, 2027-02-28"),
        (-1, True, "expired 1 day ago, on 2027-02-28"),
        (-400, True, "expired 400 days ago, on 2027-02-28"),
    ],
)
def test_by_days(days: int, warned: bool, told: str) -> None:
    today = END - timedelta(days=days)
    assert (days_left(END, today), is_ending(END, today), in_words(END, today)) == (days, warned, told)
