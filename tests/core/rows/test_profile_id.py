"""Ids that Target would not take, and that both paths reject the same ones for the same reason."""

import pytest

from pipeline.core.model import Reason
from pipeline.core.rows.profile_id import FORBIDDEN_IN_IDS, MAX_ID_CHARACTERS, problem_of_id

LONGEST = "é" * MAX_ID_CHARACTERS


@pytest.mark.parametrize(
    ("profile_id", "reason"),
    [
        ("u1", None),
        (LONGEST, None),
        ("", Reason.EMPTY_ID),
        (f"{LONGEST}x", Reason.ID_TOO_LONG),
        *((f"u{chr(octet)}1", Reason.ID_CHARACTER) for octet in FORBIDDEN_IN_IDS),
        # The first reason is told.
        (f"{LONGEST}+", Reason.ID_CHARACTER),
    ],
)
def test_the_problem_of_an_id(profile_id: str, reason: Reason | None) -> None:
    assert problem_of_id(profile_id.encode()) is reason


def test_what_adobe_forbids() -> None:
    assert FORBIDDEN_IN_IDS == b"+/"
