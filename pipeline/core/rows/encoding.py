"""Percent-encoding of cells, so that Target takes every byte of a value literally.

Target takes letters, digits and `- . ! ~ _ * ( )` as they are. Un-encoded, `%` makes Target refuse the whole batch, `&`
cuts the batch silently, `+` turns into a space, and `=` may split a field. Every other byte therefore becomes `%XX`,
space and non-ASCII bytes included. So quotes and commas are never sent raw, and an encoded row can safely be split at
each `,`. Source: Adobe's documentation of the Bulk Profile Update API.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

import numpy as np

from pipeline.core.model import Octets, Offsets

#: Bytes that are sent as they are.
KEPT = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!~_*()"

#: Special byte -> its stand-in in a table. No UTF-8 text holds a stand-in. Those for a comma and line breaks, which no
#: value may hold as they are, are greater than all others.
STAND_INS = dict(zip(b',\r\n";\t|^\x01~:\x1f', (*range(0xFF, 0xF4, -1), 0xC1), strict=True))
_STOOD_FOR = {stand_in: bytes([byte]) for byte, stand_in in STAND_INS.items()}

_NOT_KEPT = re.compile(rb"[^A-Za-z0-9\-.!~_*()]")
_NOT_KEPT_NOR_COMMA = re.compile(rb"[^A-Za-z0-9\-.!~_*(),]")
_LINE_BREAK_OR_COMMA = re.compile(rb"\r\n|[\r\n,]")
_ESCAPES = {bytes([byte]): b"%%%02X" % byte for byte in range(256)}
_IS_ESCAPED = np.array([byte not in KEPT + b",\n" for byte in range(256)])
_LINE_FEED, _PERCENT, _SLASH = b"\n%/"
_FIRST_OF_RANGE, _LAST_OF_RANGE, _FIRST_LETTER, _LAST_LETTER, _LOWER_CASE = np.frombuffer(b",9az ", dtype=np.uint8)
#: If more than one byte in this many must be escaped, escaping them all at once is faster (measured).
_BYTES_PER_ESCAPE = 12


@dataclass(frozen=True, slots=True, eq=False)
class Escapes:
    """The escape of each byte of a table.

    `texts`: byte -> its escape.
    `octets`: the first, second and third byte of each escape, shape (3, 256).
    """

    texts: list[bytes]
    octets: Octets

    @classmethod
    @lru_cache(maxsize=8)
    def of(cls, replacement: bytes | None = None) -> "Escapes":
        """The escapes; those of a comma and of line breaks are that of `replacement`, one byte, if it is given."""
        stood_for = {byte: _STOOD_FOR.get(byte, bytes([byte])) for byte in range(256)}
        if replacement is not None:
            stood_for |= {byte: replacement for byte, text in stood_for.items() if has_delimiter(text)}
        texts = [_ESCAPES[stood_for[byte]] for byte in range(256)]
        return cls(texts, np.frombuffer(b"".join(texts), dtype=np.uint8).reshape(256, 3).T.copy())


def _escape(match: re.Match[bytes]) -> bytes:
    return _ESCAPES[match[0]]


def encode(value: bytes) -> bytes:
    """The percent-encoded form of a UTF-8 value; pure ASCII, no comma, no line break, no quote."""
    return _NOT_KEPT.sub(_escape, value)


def encoded_forms(profile_ids: Iterable[str]) -> set[bytes]:
    """The encoded ids that Target may mean by these names: it may name an id decoded, or encoded as it was sent."""
    return {form for name in profile_ids for form in (encode(name.encode()), name.encode())}


def encode_joined(values: bytes) -> bytes:
    """The percent-encoded form of values joined by commas, none of which holds a comma itself."""
    return _NOT_KEPT_NOR_COMMA.sub(_escape, values)


def escaped_in(text: bytes) -> tuple[Offsets, Octets]:
    """The offsets of the bytes that `encode_table` must escape, in rising order, and these bytes; shape (n,).

    `text`: rows of values separated by commas and line feeds.
    """
    octets = np.frombuffer(text, dtype=np.uint8)
    # Most bytes are letters or lie between `,` and `9`, and all of those but `/` are kept (a comma separates).
    # The few other bytes are looked up in `_IS_ESCAPED`.
    is_other = octets - _FIRST_OF_RANGE > _LAST_OF_RANGE - _FIRST_OF_RANGE
    is_other &= (octets | _LOWER_CASE) - _FIRST_LETTER > _LAST_LETTER - _FIRST_LETTER
    is_other &= octets != _LINE_FEED
    is_other |= octets == _SLASH
    places = np.flatnonzero(is_other)
    found = octets[places]
    is_escaped = _IS_ESCAPED[found]
    return places[is_escaped], found[is_escaped]


def encode_table(text: bytes, places: Offsets, escaped: Octets, escapes: Escapes) -> bytes:
    """The percent-encoded form of rows of values separated by commas and line feeds, with stand-ins in the values.

    `places`, `escaped`: the result of `escaped_in` for `text`.
    """
    if len(places) * _BYTES_PER_ESCAPE > len(text):
        return _encode_bytewise(text, places, escaped, escapes)
    occurring = np.flatnonzero(np.bincount(escaped, minlength=256)).tolist()
    if _PERCENT in occurring:
        text = text.replace(b"%", b"%25")
        occurring.remove(_PERCENT)
    for byte in occurring:
        text = text.replace(bytes([byte]), escapes.texts[byte])
    return text


def _encode_bytewise(text: bytes, places: Offsets, escaped: Octets, escapes: Escapes) -> bytes:
    """Encode as `encode_table` does, at a cost that hardly depends on how many kinds of bytes must be escaped."""
    places = places + 2 * np.arange(len(places))
    encoded = np.empty(len(text) + 2 * len(places), dtype=np.uint8)
    is_one_byte = np.ones(len(encoded), dtype=np.bool_)
    is_one_byte[places + 1] = is_one_byte[places + 2] = False
    encoded[is_one_byte] = np.frombuffer(text, dtype=np.uint8)
    for offset in range(3):
        encoded[places + offset] = escapes.octets[offset][escaped]
    return encoded.tobytes()


def has_delimiter(value: bytes) -> bool:
    """True if a value holds a comma, CR or LF, which would separate cells or rows in a batch."""
    return b"," in value or b"\n" in value or b"\r" in value


def replace_delimiters(value: bytes, replacement: bytes) -> bytes:
    """The value with each comma and each line break (CR LF counts as one) replaced."""
    return _LINE_BREAK_OR_COMMA.sub(lambda _: replacement, value)


def merge(earlier: bytes, later: bytes) -> bytes:
    """Merge two encoded rows of one id and header into one: of each cell the later non-empty value wins.

    Both rows end with a line feed, and so does the result. A row may lack its last cells, which count as empty.
    """
    if b",," not in later and not later.endswith(b",\n") and later.count(b",") >= earlier.count(b","):
        return later
    cells = zip_longest(earlier[:-1].split(b","), later[:-1].split(b","), fillvalue=b"")
    return b",".join([new or old for old, new in cells]) + b"\n"


def rearrange(row: bytes, places: Sequence[int | None]) -> bytes:
    """An encoded row moved to another header: cell i of the result is cell `places[i]` of the row, or empty if None.

    The id stays in front. Cells are counted from the one behind the id. Empty cells at the end are left out.
    """
    profile_id, *cells = row[:-1].split(b",")
    moved = [b"" if place is None or place >= len(cells) else cells[place] for place in places]
    return b",".join((profile_id, *moved)).rstrip(b",") + b"\n"
