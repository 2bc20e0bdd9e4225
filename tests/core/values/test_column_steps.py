"""The steps of one column: each by a table, and their order."""

from hashlib import sha256

import pytest

from pipeline.core.model import Reason
from pipeline.core.values.column_steps import ColumnSteps
from pipeline.core.values.reading import date_format_problem, iso_date, plain_number


@pytest.mark.parametrize(
    ("cell", "decimal", "number"),
    [
        *[("1.234,56", ",", "1234.56"), ("1234,5", ",", "1234.5"), ("-7", ",", "-7"), (",5", ",", "0.5")],
        *[("1 234 567", ",", "1234567"), ("1,234.5", ".", "1234.5"), ("+5", ".", "5"), ("1'234.5", ".", "1234.5")],
        *[("1.5", ",", None), ("1.23", ",", None), ("5,", ",", None), ("1.234 567", ",", None), ("", ",", None)],
        *[("1,5,6", ",", None), ("\u0661", ",", None), ("1e5", ".", None)],
    ],
)
def test_numbers(cell: str, decimal: str, number: str | None) -> None:
    assert plain_number(cell, decimal) == number


def test_dates() -> None:
    assert iso_date("1.2.1980", ["%d.%m.%Y"]) == "1980-02-01"
    assert iso_date("2026-11-29 14:05", ["%d.%m.%Y", "%Y-%m-%d %H:%M"]) == "2026-11-29T14:05:00"
    assert iso_date("31.02.2020", ["%d.%m.%Y"]) is None
    assert date_format_problem("%d.%m.%Y") is None
    for text in ("%d.%m", "%d.%B.%Y", "%d.%m.%Y %y", "%d%%%m%Y", "%d.%d.%m.%Y"):
        assert date_format_problem(text)


def test_an_empty_cell_and_one_that_clears_are_sent_as_they_are_written() -> None:
    steps = ColumnSteps(case="upper", empty="none", clear_values=frozenset(["-"]), clear_as="unset", hash="sha256")
    assert steps.done("").value == "none"
    assert steps.done("-").value == "unset"


def test_the_case_is_made_before_the_list_is_read_and_the_length_is_that_of_what_is_listed() -> None:
    steps = ColumnSteps(case="lower", values={"g": "golden"}, max_length=4, too_long="truncate")
    assert (steps.done("G").value, steps.done("G").notes) == ("gold", ("values_truncated",))
    assert ColumnSteps(values={"g": "golden"}, max_length=4).done("g").reason == Reason.MAPPING_LENGTH


def test_a_hash_is_that_of_the_salt_and_the_value() -> None:
    assert ColumnSteps(hash="sha256", salt=b"s").done("é").value == sha256("sé".encode()).hexdigest()
    assert ColumnSteps(hash="sha256_unsalted", salt=b"s").done("é").value == sha256("é".encode()).hexdigest()
