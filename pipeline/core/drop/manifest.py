"""The manifest: the content of a signal, which is empty, JSON, or lines of `key=value`.

    {"rows": 120000, "sha256": "9f86...", "sequence": 17}

    rows=120000
    sha256=9f86...

Keys: `files` (names, in the order in which they are loaded), `rows` and `bytes` (of all files together), `sha256` (of
all of them, one after the other), `columns` (the header of each), `dry_run`, `sequence`, `again`. In lines, commas
separate the items of a list. The list of files that Redshift writes, see `file_lists`, is a manifest with `files` too.
Anything that is not understood is an error: half a manifest is worse than none. No message holds a value, or a key that
is unknown: an export that was signalled with itself is full of both.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pipeline.core.drop.file_lists import ListedFile, unload_list
from pipeline.core.drop.signals import is_ignored, name_problem, shown
from pipeline.core.errors import InputError

#: Bytes of the largest signal, but for the list of a warehouse. Ours: far more than a manifest needs, and too few for
#: an export by mistake.
MAX_MANIFEST_BYTES = 65_536
#: Characters of a key that are compared with the keys there are.
_LONGEST_KEY = 20
#: The largest number in a manifest: the largest signed 64-bit one.
_MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a signal. A key that it does not name is None, empty or False.

    `file_bytes`: the size of each of the `files`, where the list of a warehouse says it.
    """

    files: tuple[str, ...] = ()
    rows: int | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    columns: tuple[str, ...] = ()
    dry_run: bool = False
    sequence: int | None = None
    again: bool = False
    file_bytes: tuple[int | None, ...] = ()

    @property
    def describes(self) -> bool:
        """True if it says anything that an export can be compared with, but for its files."""
        return bool(self.columns) or {self.rows, self.size_bytes, self.sha256} != {None}

    @property
    def listed(self) -> tuple[ListedFile, ...]:
        """The `files`, each with its size where that is known."""
        return tuple(map(ListedFile, self.files, self.file_bytes or (None,) * len(self.files)))


def parse_manifest(content: bytes) -> Manifest:
    """Parse the content of a signal. Raises `InputError` (65) where it is not clear."""
    if (listed := unload_list(content)) is not None:
        _files("entries", [file.name for file in listed])
        return Manifest(tuple(file.name for file in listed), file_bytes=tuple(file.size_bytes for file in listed))
    if len(content) > MAX_MANIFEST_BYTES:
        raise InputError(f"it has more than {MAX_MANIFEST_BYTES:,} bytes: a signal is empty or a short manifest.")
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise InputError("it is not UTF-8 text: a signal is empty, JSON, or lines of key=value.") from None
    said = dict(_unique(_from_json(text) if text.startswith(("{", "[")) else _from_lines(text)))
    for number, key in enumerate(said, 1):
        if key not in _READERS:
            meant = get_close_matches(key[:_LONGEST_KEY], _READERS, 1)
            told = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(_READERS)}."
            raise InputError(f"its key number {number} is unknown; {told}")
    values = {_FIELDS.get(key, key): _READERS[key](key, value) for key, value in said.items()}
    return Manifest(**values)


def is_whole(content: bytes) -> bool:
    """True if a manifest that could be parsed cannot be the beginning of a longer one: JSON ends, lines do not."""
    return content.decode("utf-8-sig", errors="replace").lstrip().startswith("{")


def _from_json(text: str) -> list[tuple[str, Any]]:
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        raise InputError("it begins like JSON, and is none: is it complete?") from None
    if not isinstance(pairs, _Pairs):
        raise InputError("it must be a JSON object.")
    return pairs


class _Pairs(list[tuple[str, Any]]):
    """The pairs of a JSON object, including repeated keys."""


def _from_lines(text: str) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise InputError(f"its line {number} is not key=value.")
        pairs.append((key.strip(), value.strip()))
    return pairs


def _unique(pairs: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    seen = set[str]()
    for key, value in pairs:
        if key in seen:
            raise InputError(f"{key} is said twice." if key in _READERS else "an unknown key is said twice.")
        seen.add(key)
        yield key, value


def _number(key: str, value: object) -> int:
    number: object = value
    if isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value, re.ASCII):
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MAX_NUMBER:
        raise _nonsense(key, "a whole number from 0 on")
    return number


def _flag(key: str, value: object) -> bool:
    flag = {"true": True, "false": False}.get(value) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise _nonsense(key, "true or false")
    return flag


def _sha256(key: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F]{64}", value):
        raise _nonsense(key, "64 hexadecimal digits")
    return value.lower()


def _texts(key: str, value: object) -> tuple[str, ...]:
    texts = [text.strip() for text in value.split(",")] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(map(_is_text, texts)):
        raise _nonsense(key, "a list of texts")
    return tuple(texts)


def _is_text(value: object) -> bool:
    """True for a non-empty string without lone surrogates, which JSON can spell and which are no characters."""
    return isinstance(value, str) and value != "" and not any("\ud800" <= character <= "\udfff" for character in value)


def _files(key: str, value: object) -> tuple[str, ...]:
    names = _texts(key, value)
    for name in names:
        if problem := name_problem(name):
            raise InputError(f"files: {shown(name)!r} {problem}.")
        if is_ignored(name):
            raise InputError(f"files: {shown(name)!r} is hidden or a temporary name, and never taken.")
    if len(set(names)) < len(names):
        raise InputError("files: one of them is named twice.")
    return names


def _nonsense(key: str, wanted: str) -> InputError:
    return InputError(f"{key} must be {wanted}.")


_READERS: dict[str, Callable[[str, object], Any]] = {
    "files": _files,
    "rows": _number,
    "bytes": _number,
    "sha256": _sha256,
    "columns": _texts,
    "dry_run": _flag,
    "sequence": _number,
    "again": _flag,
}
_FIELDS = {"bytes": "size_bytes"}
