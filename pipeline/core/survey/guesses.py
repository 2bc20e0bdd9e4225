"""Guesses about an export that nobody has configured: which column holds the id, and if the first line is a header."""

import re
from collections.abc import Iterable, Sequence

from pipeline.core.survey.columns import ColumnSurvey
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


def is_header(names: Iterable[str]) -> bool:
    """False if the fields of a first line look like those of a row: then no name of them may be shown."""
    filled = [name.strip() for name in names if name.strip()]
    if any(kind_of_value(name) for name in filled):
        return False
    return sum(_VALUE.fullmatch(name) is not None for name in filled) < max(1, _OF_VALUES * len(filled))
