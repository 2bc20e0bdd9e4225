"""Turns text of any encoding into UTF-8, block by block.

A byte that its encoding does not have never becomes another character: it becomes bytes that UTF-8 does not have, so
that its row, and no other, is rejected as `local.invalid_utf8`. `as_read` gives such a row back as it was.
"""

import codecs
import re
from collections.abc import Iterator

from pipeline.core.errors import InputError

#: Bytes of a block that is given, at most.
_BLOCK_BYTES = 262_144
#: A byte b that could not be decoded stands as the character `_MARK` + b, one half of a surrogate pair, which UTF-8
#: cannot hold: the three bytes it becomes are valid nowhere.
_MARK = 0xDC00
_MARKED = re.compile(rb"\xed[\xb0-\xb3][\x80-\xbf]")
_ON_ERROR = "profile-pipeline.mark"
#: Encodings in which a byte's meaning hangs on all before it: behind a fault nobody knows what is meant.
_WITH_STATE = ("iso2022", "hz", "utf-7")
_OF_UNITS = ("utf-16", "utf-32")


def to_utf8(blocks: Iterator[bytes], codec: str) -> Iterator[bytes]:
    """The text in UTF-8, in blocks that are never empty; `blocks` are its bytes in the encoding `codec` of Python.

    Raises `InputError` (65) at a fault in an encoding that does not allow to go on behind it.
    """
    name = codecs.lookup(codec).name
    codecs.register_error(_ON_ERROR, _mark)
    codecs.register_error(f"{_ON_ERROR}.units", _mark_unit)
    on_error = f"{_ON_ERROR}.units" if name.startswith(_OF_UNITS) else _ON_ERROR
    decoder = codecs.getincrementaldecoder(name)("strict" if name.startswith(_WITH_STATE) else on_error)
    taken = 0
    for block in blocks:
        yield from _encoded(_decode(decoder, block, codec, taken))
        taken += len(block)
    yield from _encoded(_decode(decoder, b"", codec, taken, is_last=True))


def as_read(row: bytes) -> bytes:
    """A row that `to_utf8` gave, with each byte that could not be decoded as it was."""
    return _MARKED.sub(lambda marked: bytes([ord(marked[0].decode("utf-8", "surrogatepass")) & 0xFF]), row)


def _decode(decoder: codecs.IncrementalDecoder, block: bytes, codec: str, taken: int, *, is_last: bool = False) -> str:
    try:
        return decoder.decode(block, is_last)
    except UnicodeError as error:
        place = taken + (error.start if isinstance(error, UnicodeDecodeError) else 0)
        raise InputError(
            f"the export is not {codec} at about byte {place:,}, and in this encoding nothing behind that can be read: "
            "write it anew, as UTF-8 if you can, or set [export] encoding to the one it was written in."
        ) from error


def _encoded(text: str) -> Iterator[bytes]:
    encoded = text.encode("utf-8", "surrogatepass")
    for start in range(0, len(encoded), _BLOCK_BYTES):
        yield encoded[start : start + _BLOCK_BYTES]


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Mark one byte, and go on at the next: a line break behind it stays one."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return chr(_MARK + error.object[error.start]), error.start + 1


def _mark_unit(error: UnicodeError) -> tuple[str, int]:
    """Mark all bytes of a faulty unit, and go on at the next unit."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_MARK + byte) for byte in error.object[error.start : error.end]), error.end


def is_utf8(raw: bytes) -> bool:
    """True if the bytes are valid UTF-8."""
    if raw.isascii():
        return True
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
