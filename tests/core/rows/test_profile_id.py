"""Ids that Target would not take or that nobody meant, and that both paths reject the same ones for the same reason."""

import pytest

from pipeline.core.model import Reason
from pipeline.core.rows.cells import CellRules
from pipeline.core.rows.profile_id import FORBIDDEN_IN_IDS, MAX_ID_CHARACTERS, problem_of_id

RULES = CellRules(
    null_values=("\\N",), id_placeholders=("null", "none", "n/a", "#ref!", "undefined", "(none)", "ÄRGER")
)
LONGEST = "é" * MAX_ID_CHARACTERS["thirdPartyId"]


@pytest.mark.parametrize(
    ("profile_id", "reason"),
    [
        ("u1", None),
        (LONGEST, None),
        ("", Reason.EMPTY_ID),
        ("\\N", Reason.EMPTY_ID),
        (f"{LONGEST}x", Reason.ID_TOO_LONG),
        *((f"u{chr(octet)}1", Reason.ID_CHARACTER) for octet in FORBIDDEN_IN_IDS),
        # The first reason is told.
        (f"{LONGEST}+", Reason.ID_CHARACTER),
        ("n/a", Reason.ID_PLACEHOLDER),
        ("1,2E+5", Reason.ID_NUMBER),
    ],
)
def test_the_problem_of_an_id(profile_id: str, reason: Reason | None) -> None:
    assert problem_of_id(profile_id.encode(), "thirdPartyId", RULES) is reason


def test_the_longest_pc_id() -> None:
    assert problem_of_id(b"i" * 128, "pcId", RULES) is None
    assert problem_of_id("é".encode() * 128, "pcId", RULES) is None
    assert problem_of_id(b"i" * 129, "pcId", RULES) is Reason.ID_TOO_LONG


@pytest.mark.parametrize(
    "profile_id",
    [
        *("null", "NULL", "Null", "None", "N/A", "#REF!", "UNDEFINED", "(None)", "ärger", "Ärger"),
        *(
            "-",
            "--",
            "...",
            "?",
            "_",
            "- -",
            "\u2014",
            "\u2013",
            "…",
            "¿?",
            "*",
            "()",
            "''",
            "@",
            "。",
            "\u2014\u00a0-",
        ),
    ],
)
def test_ids_that_are_nobodys(profile_id: str) -> None:
    assert problem_of_id(profile_id.encode(), "thirdPartyId", RULES) is Reason.ID_PLACEHOLDER


@pytest.mark.parametrize(
    "profile_id",
    ["nul", "nulls", "null1", "nobody", "0", "-1", "a-", "(none", "#1", "é", "😀", "東京", "C-1", "NA", "un\u212anown"],
)
def test_ids_that_may_be_somebodys(profile_id: str) -> None:
    rules = CellRules(id_placeholders=("null", "none", "unknown"))
    assert problem_of_id(profile_id.encode(), "thirdPartyId", rules) is None


def test_without_a_list_only_punctuation_is_nobodys() -> None:
    assert problem_of_id(b"null", "thirdPartyId", CellRules()) is None
    assert problem_of_id(b"--", "thirdPartyId", CellRules()) is Reason.ID_PLACEHOLDER


@pytest.mark.parametrize(
    "profile_id",
    [
        *("3.91E16", "3,91E16", "3.91E+16", "3,91E+16", "3.91e+16", "1.2e5", "1.2345678E7", "1.5E-7", "1E+15", "4e+15"),
        *("-3.91E+16", "+3.91E16", "39.1E+15"),
    ],
)
def test_numbers_of_a_spreadsheet(profile_id: str) -> None:
    assert problem_of_id(profile_id.encode(), "thirdPartyId", RULES) is Reason.ID_NUMBER
    found = problem_of_id(profile_id.encode(), "thirdPartyId", CellRules(number_ids="send"))
    assert found is (Reason.ID_CHARACTER if "+" in profile_id else None)


@pytest.mark.parametrize(
    "profile_id",
    ["12E5", "1E5", "12E-5", "E16", "1.2", "1.2E", "1.2Ex", "1.2E5x", "x1.2E5", "1.2.3E5", "12.3E5", "1.E5", "3.91F16"],
)
def test_ids_that_only_look_a_little_like_numbers(profile_id: str) -> None:
    assert problem_of_id(profile_id.encode(), "thirdPartyId", RULES) is None


def test_what_adobe_forbids() -> None:
    assert FORBIDDEN_IN_IDS == b"+/"
