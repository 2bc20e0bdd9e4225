"""The outcome of [mapping] for cells, worked out slowly from the table as the configuration has it.

Like `oracle`, it imports nothing of the package.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

Table = Mapping[str, Any]
RESERVED = ("salt_file", "constants", "from_export", "exclude", "exclude_unless", "examples")
SALT = b"a salt of the tests"


class Rejected(Exception):  # noqa: N818 - a finding
    """The reason to reject a row because of a cell."""


@dataclass(frozen=True, slots=True)
class CellResult:
    """A cell after its steps, and the warnings that it gives cause to."""

    value: str
    notes: tuple[str, ...] = ()


def steps_for(table: Table, column: str) -> Table:
    return table[column] if column in table and column not in RESERVED else {}


def excluded_by(table: Table, cells: Mapping[str, str]) -> str | None:
    """The first column by which a row is left out; `cells` are trimmed, and empty where they mean no value."""
    for column, listed in table.get("exclude", {}).items():
        if cells[column] in listed:
            return str(column)
    for column, listed in table.get("exclude_unless", {}).items():
        if cells[column] not in listed:
            return str(column)
    return None


def mapped_id(steps: Table, identifier: str) -> str:
    return hashed(steps, in_case(steps, identifier))


def mapped_value(steps: Table, cell: str) -> CellResult:
    """Raises `Rejected`."""
    if cell in steps.get("clear_values", ()):
        return CellResult(steps["clear_as"])
    if cell == "":
        return CellResult(steps.get("empty", ""))
    cell, notes = in_case(steps, cell), []
    if "values" in steps:
        if cell in steps["values"]:
            cell = steps["values"][cell]
        else:
            cell = fallen(steps.get("other", "keep"), cell, "local.mapping_value")
            notes.append("values_not_listed")
    elif reading := next((name for name in ("date", "decimal", "boolean") if name in steps), None):
        read, reason = READ[reading](steps[reading], cell)
        if read is None:
            notes.append("values_unreadable")
            read = fallen(steps.get("unreadable", "reject"), cell, reason)
        cell = read
    if cell == "":
        return CellResult(steps.get("empty", ""), tuple(notes))
    longest = steps.get("max_length", 0)
    if longest and len(cell) > longest:
        if steps.get("too_long", "reject") == "reject":
            raise Rejected("local.mapping_length")
        cell = cell[:longest]
        notes.append("values_truncated")
    return CellResult(hashed(steps, cell), tuple(notes))


def in_case(steps: Table, text: str) -> str:
    return {"lower": text.lower(), "upper": text.upper()}.get(steps.get("case", ""), text)


def hashed(steps: Table, text: str) -> str:
    salt = {"sha256": SALT, "sha256_unsalted": b""}.get(steps.get("hash", ""))
    return text if salt is None else hashlib.sha256(salt + text.encode()).hexdigest()


def fallen(fate: str, cell: str, reason: str) -> str:
    if fate == "reject":
        raise Rejected(reason)
    return cell if fate == "keep" else ""


def read_date(formats: str | list[str], cell: str) -> tuple[str | None, str]:
    """By %d.%m.%Y, %Y-%m-%d and the like: years of four digits, days and months of one or two."""
    for each in [formats] if isinstance(formats, str) else formats:
        pattern = re.escape(each).replace("%d", "(?P<d>[0-9]{1,2})").replace("%m", "(?P<m>[0-9]{1,2})")
        found = re.fullmatch(pattern.replace("%Y", "(?P<y>[0-9]{4})"), cell)
        try:
            if found:
                return date(int(found["y"]), int(found["m"]), int(found["d"])).isoformat(), ""
        except ValueError:
            continue
    return None, "local.mapping_date"


def read_number(decimal: str, cell: str) -> tuple[str | None, str]:
    sign, digits = ("-" if cell.startswith("-") else ""), cell[1:] if cell[:1] in ("+", "-") else cell
    whole, point, decimals = digits.partition(decimal)
    groups = re.split("[" + re.escape({",": ".", ".": ","}[decimal]) + " \u00a0\u202f'\u2019]", whole)
    marks = {mark for mark in whole if not ("0" <= mark <= "9")}
    ascii_digits = all(re.fullmatch("[0-9]*", group) for group in [*groups, decimals])
    well_grouped = len(groups) == 1 or (
        len(marks) == 1 and 1 <= len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])
    )
    if not ascii_digits or not well_grouped or bool(point) != bool(decimals) or not (whole or decimals):
        return None, "local.mapping_number"
    return sign + ("".join(groups) or "0") + (f".{decimals}" if decimals else ""), ""


def read_boolean(words: Mapping[str, list[str]], cell: str) -> tuple[str | None, str]:
    for word, cells in words.items():
        if cell in cells:
            return word, ""
    return None, "local.mapping_value"


READ: dict[str, Any] = {"date": read_date, "decimal": read_number, "boolean": read_boolean}
