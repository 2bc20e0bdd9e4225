"""Says in which encodings a text may be that is not UTF-8, with words of its header as each of them reads it.

Bytes do not tell one of these encodings from the next, so nothing is decided here: a person sees which words are right.
Only the header is shown, and only if it is sure to be one: rows are what people must not read in a log.
"""

import re

from pipeline.core.formats.detection import DELIMITERS, RARE_DELIMITERS, ends_lines_with_cr, holds_nothing, is_sep_line
from pipeline.core.printable import printable

#: Name as Python knows it, name as people write it, and the bytes that stand for nothing in it, or for control
#: characters that stand in no text. They are what programs in the west of Europe write: Windows and Excel the first.
_CANDIDATES = (
    ("windows-1252", "windows-1252", frozenset(b"\x81\x8d\x8f\x90\x9d")),
    ("iso-8859-15", "ISO-8859-15", frozenset(range(0x80, 0xA0))),
)
_BEYOND_ASCII, _RUN = re.compile(rb"[\x80-\xff]"), re.compile(rb"[\x80-\xff]{3,}")
_BETWEEN_WORDS = re.compile(r"[\s,;|^~:\"'\x01\x1f]+")
#: Words of a header that are shown, and characters of each. Ours: enough to see if they are right.
_MOST_WORDS, _MOST_CHARACTERS = 3, 24


def header_line(head: bytes, id_column: str, skip_first: int = 0) -> bytes:
    """The line of the header of an export, not UTF-8; empty where the name of the id column is not found in it.

    `head`: its beginning.
    `skip_first`: lines before the header.
    """
    lines = head.split(b"\r" if ends_lines_with_cr(head) else b"\n")[skip_first:]
    line = next((each for each in lines if not (is_sep_line(each.strip(b"\r")) or holds_nothing(each))), b"")
    between = b"[" + re.escape(b"".join(DELIMITERS + RARE_DELIMITERS)) + b"\"'\r\xef\xbb\xbf]"
    forms = {_encoded_as(id_column, codec) for codec, _, _ in _CANDIDATES} - {b""}
    is_header = any(
        re.search(b"(?:^|" + between + b")" + re.escape(form) + b"(?:$|" + between + b")", line) for form in forms
    )
    return line if is_header else b""


def encoding_advice(sample: bytes, header: bytes) -> str:
    """The encodings that a text that is not UTF-8 may have, each with words of its header; and the key to set.

    `sample`: some of its bytes.
    `header`: the line of its header, empty if nobody knows it.
    """
    found = [each for each in _CANDIDATES if not each[2].intersection(sample)]
    # In the languages of western Europe, hardly ever do three letters that are not in ASCII stand side by side.
    if not found or 2 * sum(map(len, _RUN.findall(sample))) > len(_BEYOND_ASCII.findall(sample)):
        return (
            "it looks like neither windows-1252 nor ISO-8859-15: set [export] encoding to the one it was written in, "
            'such as "windows-1250", "windows-1251" or "shift_jis"'
        )
    keys = " or ".join(f'encoding = "{codec}"' for codec, _, _ in found)
    return f"{_told(found, header)}: set [export] {keys}; if {_none(len(found))}, name the one it was written in"


def _told(found: list[tuple[str, str, frozenset[int]]], header: bytes) -> str:
    names = " or ".join(name for _, name, _ in found)
    if not header:
        return f"it may be {names}"
    if header.isascii():
        return f"it may be {names} (its header is plain ASCII, and tells nothing)"
    read = [f"{name} (its header reads {_words(header.decode(codec, 'replace'))})" for codec, name, _ in found]
    return f"it may be {' or '.join(read)}"


def _none(count: int) -> str:
    return "neither reads right" if count > 1 else "that does not read right"


def _words(header: str) -> str:
    """The first words of a header that are not in ASCII, as they may be shown."""
    words = dict.fromkeys(word for word in _BETWEEN_WORDS.split(header) if not word.isascii())
    return ", ".join(f'"{printable(word[:_MOST_CHARACTERS])}"' for word in list(words)[:_MOST_WORDS])


def _encoded_as(name: str, codec: str) -> bytes:
    try:
        return name.encode(codec)
    except UnicodeEncodeError:
        return b""
