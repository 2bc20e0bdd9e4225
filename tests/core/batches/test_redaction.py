"""What Target says of a batch is told without what stands in its rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.redaction import MASK, discreet
from pipeline.core.rows.encoding import encode

ROWS = "\n".join(["", "u-17,gold,Ann", "a@b.example,Zo%C3%AB%20Jansen,12", "x,within,row", ""]).encode()


def told(message: str) -> str:
    return discreet(message, ROWS.__contains__)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Unexpected error", "Unexpected error"),
        ("", ""),
        ("u-17 is unknown", f"{MASK} is unknown"),
        ("'u-17': Gold, not gold.", f"'{MASK}': Gold, not {MASK}."),
        ("mail a@b.example!", f"mail {MASK}!"),
        ("Zoë de la Jansen, u-17 (gold)", f"{MASK})"),
        ("u-17 instead of gold", f"{MASK} instead of {MASK}"),
        ("name Jansen", f"name {MASK}"),
        ("of Ann in a row", f"of {MASK}"),
        ("HTTP 412 Precondition Failed", "HTTP 412 Precondition Failed"),
        ("failed at 12", f"failed at {MASK}"),
        ("failed at 13", "failed at 13"),
        ("x, y and z", f"{MASK}, y and z"),
    ],
)
def test_a_message(message: str, expected: str) -> None:
    assert told(message) == expected


@given(
    st.text(
        st.characters(codec="utf-8", exclude_characters=" '\"<>()[]{},;:=.!?", exclude_categories=["C", "Z"]),
        min_size=1,
    )
)
def test_a_quoted_cell_is_never_told(cell: str) -> None:
    rows = b"\nid," + encode(cell.encode()) + b"\n"
    for quoted in (cell, encode(cell.encode()).decode()):
        said = discreet(f"I do not like {quoted} at all", rows.__contains__)
        assert said == f"I do not like {MASK} at all" or quoted in ("I", "do", "not", "like", "at", "all")
