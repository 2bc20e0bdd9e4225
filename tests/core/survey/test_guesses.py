"""The id column is guessed by its name and by what is in it; a first line of values is no header."""

from collections.abc import Iterable

import pytest

from pipeline.core.formats.framing import Record
from pipeline.core.rows.cells import CellRules
from pipeline.core.survey.columns import ColumnSurvey, survey_columns
from pipeline.core.survey.guesses import guess_id, is_header


def records_of(rows: Iterable[str]) -> list[Record]:
    return [Record(line, row.encode(), row.encode().split(b","), False) for line, row in enumerate(rows, 2)]


def survey(header: str, *rows: str) -> list[ColumnSurvey]:
    return survey_columns(header.split(","), records_of(rows), CellRules(null_values=("\\N",)))


@pytest.mark.parametrize(
    ("header", "rows", "guessed"),
    [
        ("tier,Customer Id,order_id", ["gold,1,7", "gold,2,8"], "Customer Id"),
        ("Id,Name,Email", ["1,a,a@b.de", "2,b,b@b.de"], "Id"),
        ("Kunden_Nr,Vorname", ["1,a", "2,b"], "Kunden_Nr"),
        ("mbox3rdPartyId,id", ["1,1", "2,2"], "mbox3rdPartyId"),
        ("E-Mail,tier", ["a@b.de,x", "b@b.de,x"], "E-Mail"),
        # Half of it is empty, so it is nobody's key.
        ("customer_id,contact_key", ["1,1", ",2", ",3"], "contact_key"),
        # The same in nearly all rows.
        ("client_id,ref", ["acme,1", "acme,2", "acme,3", "acme,4"], "ref"),
        ("tier,note", ["gold,a", "gold,a"], None),
        # A phone number is another in each row too.
        ("Phone,tier", ["+49 170 1234567,x", "+49 170 1234568,y"], "tier"),
        ("id,id,tier", ["1,1,x", "2,2,x"], None),
    ],
)
def test_the_id_column(header: str, rows: list[str], guessed: str | None) -> None:
    found = guess_id(survey(header, *rows))
    assert (found.name if found else None) == guessed


def test_what_is_known_of_a_column() -> None:
    _, tier, mail = survey("id,tier,contact", "1,gold,a@b.de", "2,,c@d.de", "3,\\N, ", "4,gold,x")
    assert (tier.filled, tier.of, tier.distinct, tier.fill_rate) == (2, 4, 1, 0.5)
    assert tier.masks == ("xxxx",)
    assert (mail.filled, mail.by_name, mail.by_values) == (3, None, "e-mail address")


def test_without_records() -> None:
    (column,) = survey("id")
    assert (column.filled, column.fill_rate, column.is_key) == (0, 0.0, False)


@pytest.mark.parametrize(
    ("names", "is_one"),
    [
        (["id", "tier"], True),
        (["id", "2024", "2025", "note", "tier"], True),
        (["c-1", "anna@example.com"], False),
        (["1", "gold", "2026-01-01"], False),
        (["1", "2"], False),
        (["", "tier"], True),
    ],
)
def test_headers(names: list[str], *, is_one: bool) -> None:
    assert is_header(names) is is_one


@pytest.mark.parametrize(
    ("first", "rows", "is_one"),
    [
        ("u0,g0,Frau X0", ["u1,g1,Frau X1", "u2,g2,Frau X2"], False),
        # By its digits alone it is another than those below.
        ("c-9,gold,Ulm", ["c-10,silver,Bonn", "c-11,,Kiel"], False),
        # A value again.
        ("anna,gold,Ulm", ["ben,silver,Bonn", "eva,gold,Kiel"], False),
        # Of the same shapes.
        ("AB12,Z9,ulm", ["CD34,Y8,kiel", "EF56,X7,bonn"], False),
        ("id,tier,city", ["u1,gold,Ulm", "u2,silver,Kiel"], True),
        ("customer_1,customer_2", ["17,gold", "18,silver"], True),
        ("customer_1,customer_2", ["a-17,gold", "a-18,silver"], True),
        # The header again, as files put together have it.
        ("key,tier", ["a,gold", "key,tier", "b,silver"], True),
        # A row does not say that it has an id.
        ("Customer Id,newsletter", ["1,newsletter", "2,"], True),
        ("sku1,city", ["A100,Ulm", "B200,Kiel"], True),
        ("key,tier", [], True),
    ],
)
def test_a_header_is_not_like_the_rows_below_it(first: str, rows: list[str], *, is_one: bool) -> None:
    assert is_header(first.split(","), records_of(rows)) is is_one
