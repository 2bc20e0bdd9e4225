"""Text of others as it may be shown: no character in it moves a cursor, turns a line around, hides or begins one.

Names of files, headers, answers of a server and settings hold whatever people put into them. A terminal obeys control
characters, of C0 and C1 alike; characters that set the direction make a text read as another. `str.isprintable` knows
them all, also those that are not to be seen, and halves of surrogate pairs, which no encoding has.
"""

import json
import re
from typing import Any

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: Characters that JSON may hold as they are, and that may not be printable: DEL, and all beyond ASCII.
_BEYOND_ASCII = re.compile("[\x7f-\U0010ffff]")


def printable(text: str) -> str:
    """The text in one line, with an escape such as \\x1b or \\u202e for each character that is not printable."""
    return text if text.isprintable() else "".join(map(_shown, text))


def printable_lines(text: str) -> str:
    """The same, in which line feeds end lines: for what this program has written in several."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def printable_json(value: Any) -> str:
    """A value as JSON in one line, which has an escape such as \\u009b for each character that is not printable.

    What JSON does not know is told as text.
    """
    # Imported late: a probe of health needs no more than the texts.
    import orjson

    try:
        text = orjson.dumps(value, default=str).decode()
    except TypeError:
        # Half of a surrogate pair stands for a byte of a file name that is not UTF-8; or a number beyond 64 bits.
        return json.dumps(value, default=str, separators=(",", ":"))
    return text if text.isprintable() else _BEYOND_ASCII.sub(_as_json, text)


def printable_toml(text: str) -> str:
    """A text as a string of TOML, which has an escape such as \\u009b for each character that is not printable."""
    # A JSON string is a TOML string, except for what TOML wants escaped, or has no escape for in two halves.
    return _BEYOND_ASCII.sub(_as_toml, json.dumps(text, ensure_ascii=False))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    form = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _SHORT.get(character, form)


def _as_toml(found: re.Match[str]) -> str:
    code = ord(found[0])
    return found[0] if found[0].isprintable() else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _as_json(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]
