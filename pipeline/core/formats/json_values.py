"""Decodes lines of JSON into values by their paths, and values into the texts of fields.

The lines of a block are decoded together, as one array, with a number between each two of them that none of them holds.
If every second value of the array is that number, every line is one value: a line such as `{},{}` is never two. Where
that fails, each half of the lines is tried, and at last each line.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import orjson

#: Between the values of an array.
JOINT = "|"
#: What precedes a number that is not the same after it was read: one with a fraction, an exponent, a minus before a
#: zero, or 18 digits. It may stand in a text too: that costs time only.
_KEPT_NUMBER = re.compile(rb"[:,\[]\s*(?:-0|-?[0-9]+[.eE]|-?[0-9]{18})")
_MINUS_ZERO = re.compile(rb"[:,\[]\s*-0")
#: The number between two lines that are decoded together: there is one way to write it, and no float equals it.
_BETWEEN = 72_057_594_037_927_935
_SEPARATOR = b",%d," % _BETWEEN
#: Lines that are decoded one by one, if not all of them together are what they should be.
_FEW_LINES = 8

Values: TypeAlias = dict[str, Any]


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_WRITTEN = json.JSONEncoder(ensure_ascii=False).encode
_EXACT = json.JSONDecoder(parse_float=_Number, parse_int=_Number, parse_constant=_refuse)


def values_of(raw: bytes) -> Values | None:
    """The values of the object on a line by their paths, numbers as written; None if it holds no object."""
    try:
        value = _EXACT.decode(raw.decode()) if _KEPT_NUMBER.search(raw) else orjson.loads(raw)
    except (ValueError, RecursionError):
        return None
    return _by_path(value)


def values_of_all(raws: Sequence[bytes]) -> list[Values | None]:
    """The same of each of these lines, except for numbers: a float, and a zero with a minus, are not as written."""
    if len(raws) <= _FEW_LINES:
        return [values_of(raw) for raw in raws]
    found = _together(raws, is_exact=False)
    if found is None:
        half = len(raws) // 2
        return values_of_all(raws[:half]) + values_of_all(raws[half:])
    return found


def exact_values_of_all(raws: Sequence[bytes]) -> list[Values | None]:
    """The same as `values_of` of each of these lines, all of which have a number that changes when it is read."""
    return _together(raws, is_exact=True) or [values_of(raw) for raw in raws]


def is_changed(row: Sequence[Any], raw: bytes) -> bool:
    """True if a number among the values of a line, or in their arrays, may not be as it is written there."""
    if list in (kinds := [*map(type, row)]):
        return _KEPT_NUMBER.search(raw) is not None
    return float in kinds or (0 in row and b"-0" in raw and _MINUS_ZERO.search(raw) is not None)


def _together(raws: Sequence[bytes], *, is_exact: bool) -> list[Values | None] | None:
    """The values of each line; None unless all of them are one value each."""
    joined = b"[" + _SEPARATOR.join(raws) + b"]"
    if joined.count(_SEPARATOR[1:-1]) != len(raws) - 1:
        return None
    try:
        values = _EXACT.decode(joined.decode()) if is_exact else orjson.loads(joined)
    except (ValueError, RecursionError):
        return None
    number: int | _Number = _Number(_BETWEEN) if is_exact else _BETWEEN
    between = values[1::2]
    # A text may equal a number as it was written.
    if (
        len(values) != 2 * len(raws) - 1
        or between.count(number) < len(between)
        or {*map(type, between)} - {type(number)}
    ):
        return None
    objects: list[Any] = values[::2]
    # As many braces as lines open no object within another.
    is_flat = joined.count(b"{") == len(raws) and {*map(type, objects)} == {dict}
    return objects if is_flat else [*map(_by_path, objects)]


def _by_path(value: Any) -> Values | None:
    if type(value) is not dict:
        return None
    return _flat(value) if dict in map(type, value.values()) else value


def _flat(value: Values) -> Values | None:
    """The values of nested objects by their paths; None where two values have the same."""
    found: Values = {}
    levels = [("", value)]
    for prefix, nested in levels:
        for key, each in nested.items():
            path = prefix + key
            if isinstance(each, dict):
                levels.append((f"{path}.", each))
            elif path in found:
                return None
            else:
                found[path] = each
    return found


def texts_of(values: Sequence[Any], text: Callable[[Any], str]) -> Iterable[str]:
    """Values as fields have them; `text` has that of a value of any kind."""
    kinds = set(map(type, values))
    if kinds <= {str, _Number}:
        return values
    return map(str, values) if kinds == {int} else map(text, values)


def text_of(value: Any) -> str:
    """A value as a field has it."""
    kind = type(value)
    if kind is str or kind is _Number:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return str(value)
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is list:
        return JOINT.join(json_of(each) if isinstance(each, dict | list) else text_of(each) for each in value)
    return json_of(value)


def json_of(value: Any) -> str:
    """A value as JSON, in which numbers are as they were written."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json_of(key)}:{json_of(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_of, value)) + "]"
    return value if isinstance(value, _Number) else _WRITTEN(value)
