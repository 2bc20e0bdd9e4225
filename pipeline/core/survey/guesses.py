"""Guesses about an export that nobody has configured: which column holds the id, and if the first line is a header."""

import re
from collections.abc import Callable, Sequence

from pipeline.core.formats.framing import Record
from pipeline.core.survey.columns import ColumnSurvey
from pipeline.core.survey.masks import mask
from pipeline.core.survey.personal import Kind, kind_of_value, words_of

#: The shares of records in which an id is there, and is another one; and the least score. Ours: an export may hold some
#: rows without an id, and several rows of an id.
_FILLED, _DIFFERENT, _LEAST_SCORE = 0.9, 0.3, 10
#: Names of id columns in words without blanks and marks -> how sure one may be.
_NAMES = {
    100: "mbox3rdpartyid thirdpartyid",
    90: "customerid crmid contactid loyaltynumber loyaltyid customernumber customerno kundennr kundennummer kundenid "
    "kundennumer idclient numeroclient numclient idcliente numerocliente codicecliente codigocliente membernumber "
    "memberid mitgliedsnummer mitgliedsnr membershipid",
    80: "clientid userid personid profileid accountid subscriberid externalid custid custno customerkey partyid ecid "
    "hashedid loyaltycardnumber",
    70: "id uuid guid",
}
_SCORES = {name: score for score, names in _NAMES.items() for name in names.split()}
#: What other names of keys end in, and what a column is worth that has another value in each record.
_ENDINGS, _OF_ENDING, _OF_MAIL, _OF_KEY = ("id", "key", "number", "nr", "no", "nummer", "numero", "code"), 40, 25, 10
#: Of two that are worth the same, one with another value in each record is likelier.
_UNIQUE = 5
#: The numbers of a header's fields that look like values from which on the line is a row. Ours.
_OF_VALUES = 0.5
#: The share of values that are alike, of which a first field that is like them is one. Ours.
_ALIKE = 0.9
_DIGITS = re.compile(r"\d+")
_VALUE = re.compile(r"[+-]?\d+(?:[.,]\d+)?|\d{4}-\d\d-\d\d.*|\d\d?[./]\d\d?[./]\d{2,4}.*")


def guess_id(columns: Sequence[ColumnSurvey]) -> ColumnSurvey | None:
    """The column that most likely holds the profile id, or None."""
    names = [column.name for column in columns]
    candidates = [
        (score, column)
        for column in columns
        if names.count(column.name) == 1 and column.name.strip() and (score := _score(column)) >= _LEAST_SCORE
    ]
    return max(candidates, key=lambda each: each[0])[1] if candidates else None


def _score(column: ColumnSurvey) -> float:
    if not column.of or column.fill_rate < _FILLED or column.distinct < _DIFFERENT * column.filled:
        return 0.0
    words = words_of(column.name)
    named = max((_SCORES.get("".join(words[first:]), 0) for first in range(len(words))), default=0)
    if not named and words and words[-1] in _ENDINGS:
        named = _OF_ENDING
    if not named and Kind.MAIL in (column.by_name, column.by_values):
        named = _OF_MAIL
    elif not named and column.is_key and not (column.by_name or column.by_values):
        named = _OF_KEY
    elif column.by_name or column.by_values in (Kind.CARD, Kind.IBAN, Kind.PHONE):
        named = 0
    return named + _UNIQUE * column.is_key if named else 0.0


def is_header(names: Sequence[str], records: Sequence[Record] = ()) -> bool:
    """False if the fields of a first line look like those of a row: then no name of them may be shown.

    `records`: those below it.
    """
    filled = [name.strip() for name in names if name.strip()]
    if any(kind_of_value(name) for name in filled):
        return False
    if sum(_VALUE.fullmatch(name) is not None for name in filled) >= max(1, _OF_VALUES * len(filled)):
        return False
    # A row does not say `customer_id`.
    return any("".join(words_of(name)) in _SCORES for name in filled) or not _is_like_rows(names, records)


def _is_like_rows(names: Sequence[str], records: Sequence[Record]) -> bool:
    """True if a name is a value of its column too, or differs from nearly all by its digits; or most have their shape.

    The same line again, as files put together have it, says nothing.
    """
    rows = [[field.decode(errors="replace").strip() for field in record.fields] for record in records]
    bare = [name.strip() for name in names]
    rows = [row for row in rows if len(row) == len(bare) and row != bare]
    shaped = 0
    for name, column in zip(bare, zip(*rows, strict=True), strict=False):
        values = [value for value in column if value]
        if not name or not values:
            continue
        if name in values or _most_are(values, name, lambda text: _DIGITS.sub("9", text)):
            return True
        shaped += _most_are(values, name, mask)
    return shaped >= max(1, _OF_VALUES * sum(map(bool, bare)))


def _most_are(values: Sequence[str], name: str, shape: Callable[[str], str]) -> bool:
    """True if a name of letters and digits has the same shape as nearly all of these values."""
    if _DIGITS.search(name) is None or not any(map(str.isalpha, name)):
        return False
    wanted = shape(name)
    return sum(shape(value) == wanted for value in values) >= _ALIKE * len(values)
