"""The meaning of a cell: which characters around it are none of its own, and which cells and ids mean nothing.

The exact path asks these rules for each cell. The fast path uses them to find the few cells that are not plain.
"""

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

#: Characters that nobody means to have around a cell: white space, no-break spaces, control characters, byte order
#: marks, zero-width and direction marks, soft hyphens, letters that are blank by design. A NUL is not among them: it
#: rejects a row wherever it stands. Variation selectors are not either: they belong to the character before them.
INVISIBLE = "".join(
    chr(code)
    for first, last in (
        (0x01, 0x20),
        (0x7F, 0xA0),
        (0xAD, 0xAD),
        (0x034F, 0x034F),
        (0x061C, 0x061C),
        (0x115F, 0x1160),
        (0x1680, 0x1680),
        (0x17B4, 0x17B5),
        (0x180E, 0x180E),
        (0x2000, 0x200F),
        (0x2028, 0x202F),
        (0x205F, 0x206F),
        (0x2800, 0x2800),
        (0x3000, 0x3000),
        (0x3164, 0x3164),
        (0xFEFF, 0xFEFF),
        (0xFFA0, 0xFFA0),
        (0xFFF9, 0xFFFB),
    )
    for code in range(first, last + 1)
)
_VISIBLE_ASCII = bytes(range(0x21, 0x7F))

#: Punctuation and signs, of ASCII, Latin-1, the block of general punctuation, CJK and their wide forms.
_PUNCTUATION = re.compile(
    rf"[{re.escape(INVISIBLE)}!-/:-@\[-`{{-~\u00a1\u00a7\u00ab\u00b6\u00b7\u00bb\u00bf\u2010-\u2027\u2030-\u205e"
    r"\u3001-\u3003\u3008-\u3011\u3014-\u301f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]*"
)
#: Stands around an id that is nobody's all the same, as in `"NULL"` and `<none>`.
_ENCLOSING = f"{INVISIBLE}{string.punctuation}\u00ab\u00bb\u2018\u2019\u201a\u201c\u201d\u201e\u2039\u203a"
#: The end of a number to which something gave decimals.
_POINT_ZERO = re.compile(rb"\.0{1,3}\Z")
#: A number as spreadsheets and Java write large ones. The tell is a decimal sign behind the only digit before it, or a
#: plus sign in the exponent: `12E5` may be the id of something, `1.2E5` and `12E+5` are not.
_NUMBER = re.compile(rb"[+-]?[0-9][.,][0-9]+[Ee]-?[0-9]{1,3}|[+-]?[0-9]+(?:[.,][0-9]+)?[Ee]\+[0-9]{1,3}")


@dataclass(frozen=True)
class CellRules:
    """The rules of [export] about cells; as settings have them.

    `trim`: `ids`, `all` or `none`.
    `null_values`: cells, exactly so once they are trimmed, that mean no value.
    `id_placeholders`: ids, in any case, that are nobody's.
    `number_ids`: `reject` or `send`.
    """

    trim: str = "ids"
    null_values: tuple[str, ...] = ()
    id_placeholders: tuple[str, ...] = ()
    number_ids: str = "reject"

    @cached_property
    def nulls(self) -> frozenset[bytes]:
        """The cells that mean no value, as bytes; never an empty one."""
        return frozenset(value.encode() for value in self.null_values if value)

    @cached_property
    def placeholders(self) -> frozenset[str]:
        """The ids that are nobody's, in lower case and without what is trimmed."""
        return frozenset(value.strip(INVISIBLE).lower() for value in self.id_placeholders) - {""}

    def is_placeholder(self, profile_id: bytes) -> bool:
        """True if an id is nobody's, or holds nothing but punctuation. `profile_id`: trimmed, valid UTF-8."""
        if profile_id.isalnum():
            return profile_id.lower().decode() in self.placeholders
        text = profile_id.decode()
        bare = text.strip(INVISIBLE)
        if bare[:1] in _ENCLOSING and bare[-1:] in _ENCLOSING and self._is_known(bare.strip(_ENCLOSING)):
            return True
        return self._is_known(bare) or _PUNCTUATION.fullmatch(text) is not None

    def _is_known(self, text: str) -> bool:
        # Some letters beyond ASCII have one of ASCII as their lower case, and are not meant.
        return text.lower() in self.placeholders and text.isascii() == text.lower().isascii()

    def is_number(self, profile_id: bytes) -> bool:
        """True for an id such as 3.91E16, unless these are to be sent."""
        return self.number_ids == "reject" and _NUMBER.fullmatch(profile_id) is not None


def trimmed(value: bytes) -> bytes:
    """The value, valid UTF-8, without invisible characters around it."""
    if not value or (value[0] in _VISIBLE_ASCII and value[-1] in _VISIBLE_ASCII):
        return value
    return value.decode().strip(INVISIBLE).encode()


def is_heading(field: bytes, heading: bytes) -> bool:
    """True if a field, trimmed and valid UTF-8, is this name of the header, in any case."""
    if field == heading or field.lower() == heading.lower():
        return True
    return not field.isascii() and field.decode().lower() == heading.decode().lower()


def is_blank(fields: Iterable[bytes]) -> bool:
    """True for the fields of a record that is no row: nothing is to be seen in any of them. All are valid UTF-8."""
    return not any(map(trimmed, fields))


def is_bare(raw: bytes, delimiter: bytes) -> bool:
    """True for a record in which nothing is to be seen but delimiters. It is valid UTF-8; quotes are to be seen."""
    return not trimmed(raw.translate(None, delimiter))


def is_in_quotes(profile_id: bytes, quote: bytes) -> bool:
    """True for an id with quotes around it; where they enclose no field, a blank stands before them in the export."""
    return len(profile_id) > 1 and profile_id[:1] == quote == profile_id[-1:]


def is_guarded(profile_id: bytes) -> bool:
    """True for an id with a guard against a spreadsheet, as in `="00123"` and `'00123`."""
    return profile_id[:1] == b"'" or (profile_id[:2] == b'="' and profile_id[-1:] == b'"')


def ends_in_point_zero(profile_id: bytes) -> bool:
    """True for an id such as 123.0 or 123.00, of which something made a number with decimals."""
    return profile_id[-1:] == b"0" and _POINT_ZERO.search(profile_id) is not None
