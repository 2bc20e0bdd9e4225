"""Masks show the shape of a value, and nothing of what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.survey.masks import MOST_SHOWN, mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("FR", "xx"),
        ("anna.m@example.com", "xxxx.x@xxxxxxx.xxx"),
        ("2026-11-29", "9999-99-99"),
        ("+49 170/123", "+99 999/999"),
        ("Zoë 日本 ٣", "xxx xx 9"),
        ("50% & more", "99? ? xxxx"),
        ("a\x1b[31m\u202eb", "x??99x?x"),
        ("x" * 21, "x" * 20 + "..."),
        ("", ""),
    ],
)
def test_shapes(text: str, masked: str) -> None:
    assert mask(text) == masked


@given(st.text(max_size=40))
def test_nothing_but_a_shape_is_shown(text: str) -> None:
    assert set(mask(text)) <= set(" .,:;-/+@_()|x9?")
    assert len(mask(text)) <= MOST_SHOWN + 3
