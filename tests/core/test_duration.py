"""Durations in words."""

import pytest

from pipeline.core.duration import roughly


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (1.4, "1 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "120 min"),
        (7_200, "2 h"),
        (86_400, "24 h"),
        (172_799, "48 h"),
        (172_800, "2 days"),
        (1e9, "11574 days"),
    ],
)
def test_roughly(seconds: float, words: str) -> None:
    assert roughly(seconds) == words
