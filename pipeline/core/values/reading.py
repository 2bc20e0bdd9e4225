"""Reads dates and numbers as people and other systems write them, or says that a cell holds none.

Nothing is guessed: `1.5` is no number where the comma is the decimal sign, since it may be 1.5 or 15.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

#: What a format of a date may hold: those of `strptime` that mean the same in every language.
DATE_DIRECTIVES = "dmYyHMS"
#: Signs between groups of three digits, besides the one of `,` and `.` that is not the decimal sign.
_GROUP_SIGNS = " \u00a0\u202f'\u2019"


def date_format_problem(text: str) -> str | None:
    """The reason why a text is no format of a date, in words, or None."""
    if re.sub(rf"%[{DATE_DIRECTIVES}]", "", text).count("%"):
        return f"may hold of the signs behind % only {', '.join(DATE_DIRECTIVES)}"
    named = re.findall("%(.)", text)
    if len({*named}) < len(named):
        return "holds a sign behind % twice"
    if not {"d", "m"} <= {*named} or len({"Y", "y"} & {*named}) != 1:
        return "must hold %d, %m, and one of %Y and %y"
    return None


def iso_date(cell: str, formats: Iterable[str]) -> str | None:
    """The date in a cell by the first of these formats that fits, as 2026-11-29, or None.

    With the time, as 2026-11-29T14:05:00, where the format has one.
    """
    if not cell.isascii():
        return None
    for text in formats:
        try:
            found = datetime.strptime(cell, text)  # noqa: DTZ007 - a cell tells no time zone
        except ValueError:
            continue
        return found.isoformat() if re.search("%[HMS]", text) else found.date().isoformat()
    return None


def plain_number(cell: str, decimal: str) -> str | None:
    """The number in a cell, as 1234.5, or None. `decimal`: the sign before decimals, `,` or `.`."""
    found = _number_pattern(decimal).fullmatch(cell)
    if found is None:
        return None
    sign, whole, decimals = found.group("sign", "whole", "decimals")
    digits = whole if whole.isdigit() else re.sub("[^0-9]", "", whole) or "0"
    return f"{'-' if sign == '-' else ''}{digits}{f'.{decimals}' if decimals else ''}"


@lru_cache(maxsize=2)
def _number_pattern(decimal: str) -> re.Pattern[str]:
    group = "[" + re.escape(_GROUP_SIGNS + ".,".replace(decimal, "")) + "]"
    mark = re.escape(decimal)
    grouped = rf"[0-9]{{1,3}}(?P<group>{group})[0-9]{{3}}(?:(?P=group)[0-9]{{3}})*"
    whole = rf"{grouped}|[0-9]+|(?={mark}[0-9])"
    return re.compile(rf"(?P<sign>[+-]?)(?P<whole>{whole})(?:{mark}(?P<decimals>[0-9]+))?")
