"""Dataclasses as plain values, as JSON has them, and back: by their fields, in the order of these."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import Field, field, fields, is_dataclass
from enum import Enum
from functools import cache, partial
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def written(key: str | None = None, *, default: Any, if_default: bool = True) -> Any:
    """A field that is written under another key than its name; or, unless `if_default`, only if it is not the default.

    Fields that are made otherwise are written always, under their names.
    """
    return field(default=default, metadata={"key": key, "if_default": if_default})


def plain(value: Any) -> Any:
    """A value made of nothing but dictionaries, lists, texts and numbers."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {_key(each): plain(getattr(value, each.name)) for each in fields(value) if _is_written(each, value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def of_plain(kind: type[T], values: Mapping[str, Any]) -> T:
    """The dataclass of which `plain` made these values. What is missing has its default, what is unknown is left out.

    Raises `ValueError`, `KeyError` or `TypeError` for what no dataclass of the kind can have been.
    """
    made: T = _made(kind, values)
    return made


def _is_written(each: Field[Any], value: object) -> bool:
    return bool(each.metadata.get("if_default", True) or getattr(value, each.name) != each.default)


def _key(each: Field[Any]) -> str:
    return each.metadata.get("key") or each.name


def _made(kind: Any, values: Any) -> Any:
    of_fields = _fields(kind)
    return kind(**{name: read(values[key]) if read else values[key] for name, key, read in of_fields if key in values})


@cache
def _fields(kind: Any) -> list[tuple[str, str, Callable[[Any], Any] | None]]:
    """Name, key and `_reader` of each field: looked up once, since a status reads thousands of facts."""
    kinds = get_type_hints(kind)
    return [(each.name, _key(each), _reader(kinds[each.name])) for each in fields(kind)]


def _reader(kind: Any) -> Callable[[Any], Any] | None:
    """The function that makes a value of this kind of a plain one; None for a kind whose values are plain."""
    origin: Any = get_origin(kind)
    if is_dataclass(kind):
        return partial(_made, kind)
    if origin in (tuple, list):
        read = _reader(get_args(kind)[0])
        return (lambda values: origin(map(read, values))) if read else partial(origin)
    if origin is Counter or (isinstance(kind, type) and issubclass(kind, Enum)):
        return partial(origin or kind)
    return None
