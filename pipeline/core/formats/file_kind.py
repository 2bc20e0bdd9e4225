"""The kind of a file, told by its first bytes and never by its name: archive, workbook, page, or text in an encoding.

`refusal` and `text_refusal` say in words why a file is no export, and what to do. `codec_of` finds the encoding of a
text; `other_encoding` says what one looks like. Nothing of a cell appears in what they say, and of a header
a few words only, where they show in which encoding it may be.
"""

import codecs
import re
from collections.abc import Collection

from pipeline.core.errors import InputError
from pipeline.core.formats.candidate_encodings import encoding_advice
from pipeline.core.formats.framing import BOM
from pipeline.core.formats.text_codec import is_utf8

#: Bytes of the beginning of a file by which its kind is told.
HEAD_BYTES = 65_536

#: The first bytes of formats that are no text; what the file is, and what to do.
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x05\x06", "an empty zip archive", "write the export anew"),
    (b"PK\x07\x08", "a zip archive of several volumes", "unpack it, and load what is in it"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Office file (OLE2)", "save the sheet as CSV UTF-8"),
    (b"PARE", "an encrypted Parquet file", "write the export as CSV or JSON Lines"),
    (b"ORC", "an ORC file", "write the export as CSV or JSON Lines"),
    (b"Obj\x01", "an Avro file", "write the export as CSV or JSON Lines"),
    (b"FEA1", "a Feather file", "write the export as CSV or JSON Lines"),
    (b"SQLite format 3\0", "a SQLite database", "export its table as CSV"),
    (b"\x5d\0\0", "compressed with lzma", "unpack it (unlzma), or compress it with xz"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "unpack it (lz4 -d), or compress it with gzip"),
    (b"\xff\x06\0\0sNaPpY", "compressed with snappy", "unpack it, or compress it with gzip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, and load what is in it"),
    (b"Rar!\x1a\x07", "a rar archive", "unpack it, and load what is in it"),
    (b"\x1f\x9d", "compressed with compress (.Z)", "unpack it (uncompress), or compress it with gzip"),
    (b"%PDF-", "a PDF document", "export the data as CSV"),
    (b"{\\rtf", "an RTF document", "save it as plain text, CSV UTF-8"),
    (b"-----BEGIN PGP MESSAGE", "encrypted with PGP", "decrypt it first"),
    (b"\x7fELF", "a program", "name the export file"),
    (b"\x89PNG\r\n", "a picture", "name the export file"),
)
_ZIP = b"PK\x03\x04"
#: Those that may also begin a header, and what follows them in a real file only.
_WORDS = (b"PARE", b"FEA1", b"ORC")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f\x80-\xff]")
_PARQUET, _ARROW, _ARROW_STREAM = b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff"
#: Bytes of the first message of an Arrow stream, which has the names of the columns: a multiple of 8 below this.
_MAX_SCHEMA_BYTES = 2**27
_TAR = b"ustar"
_TAR_OFFSET = 257
#: Parts of every workbook that Excel and others write, as a zip archive names them.
_WORKBOOK = (b"[Content_Types].xml", b"xl/workbook", b"xl/worksheets", b"_rels/.rels")
_OPEN_DOCUMENT = b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet"
_EXCEL = "an Excel workbook (xlsx): save the sheet as CSV UTF-8, and load that"
_SPREADSHEET = "a spreadsheet (ods): save the sheet as CSV UTF-8, and load that"
#: A member that each document of a kind has, and what it is. The last is in all of Office.
_DOCUMENTS = (
    ("xl/workbook.xml", _EXCEL),
    ("xl/workbook.bin", "an Excel workbook (xlsb): save the sheet as CSV UTF-8, and load that"),
    ("word/document.xml", "a Word document (docx): export the data as CSV"),
    ("Index/Document.iwa", "a Numbers spreadsheet: export the sheet as CSV, and load that"),
    ("[Content_Types].xml", "an Office document: export the data as CSV"),
)

_PAGE = re.compile(rb"<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE)
#: White space and byte order marks; comments of a page and the white space behind them.
_MARKS, _COMMENT_BEGIN, _COMMENT_END = re.compile(rb"(?:\s|\xef\xbb\xbf)*"), b"<!--", re.compile(rb"-->\s*")
_XML = re.compile(rb"<\?xml[\s]", re.IGNORECASE)
_OBJECT = re.compile(rb'\{[ \t]*(?:["}]|\r?\n|$)')
_ARRAY = re.compile(rb"\[\s*(?:[{\[\]]|$)")
_BYTE_ORDER_MARKS = (
    # The marks of UTF-32 first: that of UTF-16-LE is the beginning of one.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: In UTF-16 of any language one byte of so many at least is a NUL: those of delimiters, digits and line ends.
_NULS_OF_UTF_16 = 16
#: Bytes in which the NULs of UTF-16 are counted: the names of a header.
_PATTERN_BYTES = 256
#: The least of them that tell anything: four characters.
_LEAST_BYTES = 8
#: Encodings with one byte a character, in which next to nothing that people write is UTF-8 by chance.
_OF_ONE_BYTE = ("cp125", "iso8859", "mac-", "cp437", "cp85", "cp86", "koi8", "ascii")
#: Bytes that stand in no text: control characters but those for white space, the escape and the end of a file.
_IN_NO_TEXT = re.compile(rb"[\x00-\x06\x0e-\x19\x1c\x1d\x1f]")


def is_zip(head: bytes) -> bool:
    """True for a zip archive that is not empty, which may be a workbook."""
    return head.startswith(_ZIP)


def columnar_kind(head: bytes) -> str | None:
    """The name of the kind of a columnar file that can be an export: Parquet file, Arrow file, Arrow stream."""
    if head.startswith(_PARQUET) and _BINARY.match(head, len(_PARQUET)):
        return "Parquet file"
    if head.startswith(_ARROW):
        return "Arrow file"
    size = int.from_bytes(head[4:8], "little")
    is_stream = head.startswith(_ARROW_STREAM) and 0 < size < _MAX_SCHEMA_BYTES and size % 8 == 0
    return "Arrow stream" if is_stream else None


def refusal(head: bytes) -> str | None:
    """Say what a file is, and what to do, if it is of a known kind that is no text.

    That is so for a zip archive too, where one is not looked into. `packing_of` says what is packed, see `packing`.

    `head`: its first bytes, `HEAD_BYTES` of them if there are as many.
    """
    if head.startswith(_ZIP):
        return _refusal_of_zip(head)
    if kind := columnar_kind(head):
        return f"is {'an' if kind.startswith('A') else 'a'} {kind} that is packed or encoded: load it as it was before"
    for magic, kind, advice in _MAGIC:
        if head.startswith(magic) and (magic not in _WORDS or _BINARY.match(head, len(magic))):
            return f"is {kind}: {advice}"
    if head[_TAR_OFFSET : _TAR_OFFSET + len(_TAR)] == _TAR and b"\0" in head[:_TAR_OFFSET]:
        return "is a tar archive: unpack it, and load the files in it"
    return None


def document_refusal(head: bytes, names: Collection[str]) -> str | None:
    """Say which document a zip archive is, and what to do, if it is one.

    `head`: its first bytes. `names`: those of its members.
    """
    for name, kind in _DOCUMENTS:
        if name in names:
            return f"is {kind}"
    return f"is {_SPREADSHEET}" if _OPEN_DOCUMENT in head else None


def _refusal_of_zip(head: bytes) -> str:
    if any(part in head for part in _WORKBOOK):
        return f"is {_EXCEL}"
    if _OPEN_DOCUMENT in head:
        return f"is {_SPREADSHEET}"
    return "is a zip archive: unpack it, and load what is in it"


def text_refusal(head: bytes, form: str) -> str | None:
    """Say what a text is, and what to do, if it is known to be no export.

    `head`: its beginning, in UTF-8 and at most with a byte order mark.
    `form`: csv, jsonl or auto, see [export] format.
    """
    text = _behind_marks(head)
    if _PAGE.match(text, _behind_comments(text)):
        return (
            "is an HTML page, perhaps an error or a sign-in that was downloaded in its place: "
            "look at it in a browser, and download the export anew"
        )
    if _XML.match(text):
        return "is an XML document (an answer of a server, or an Excel sheet as XML): write the export as CSV UTF-8"
    if form != "csv" and _ARRAY.match(text):
        return "is one JSON array: write it as JSON Lines, one object a line (jq -c '.[]')"
    first, is_cut, _ = text.partition(b"\n")
    if form != "csv" and _OBJECT.match(text) and is_cut and first.rstrip().endswith(b"},"):
        return "has a comma behind each JSON object: write it as JSON Lines, one object a line and nothing between them"
    if form != "csv" and _OBJECT.match(text) and is_cut and not first.rstrip().endswith(b"}"):
        return "is one JSON document over several lines: write it as JSON Lines, one object a line (jq -c)"
    return None


def _behind_marks(head: bytes) -> bytes:
    """A text without byte order marks and white space at its beginning."""
    marks = _MARKS.match(head)
    return head[marks.end() :] if marks else head


def _behind_comments(text: bytes) -> int:
    """The offset behind the comments with which a page may begin."""
    offset = 0
    while text.startswith(_COMMENT_BEGIN, offset) and (end := _COMMENT_END.search(text, offset + len(_COMMENT_BEGIN))):
        offset = end.end()
    return offset


def is_json_lines(head: bytes, form: str) -> bool:
    """True if a text is JSON Lines: [export] format says so, or it is auto and the text begins with an object."""
    return form == "jsonl" or (form == "auto" and _OBJECT.match(_behind_marks(head)) is not None)


def codec_of(head: bytes, encoding: str) -> str | None:
    """The name of the codec that decodes a text, or None for UTF-8.

    `head`: its first bytes.
    `encoding`: auto, or the name that [export] encoding gives.

    Raises `InputError` where the first bytes show that the name is wrong. Nothing but UTF-8, UTF-16 and UTF-32 is told
    by the bytes: what another encoding looks like is a guess.
    """
    found = _found(head)
    if encoding == "auto":
        return None if found == "utf-8" else found
    name = codecs.lookup(encoding).name
    if name in ("utf-8", "utf-8-sig"):
        if found not in (None, "utf-8"):
            raise _mismatch(encoding, found)
        return None
    if found is None and name.startswith(_OF_ONE_BYTE) and _is_utf8_beyond_ascii(head):
        raise _mismatch(encoding, "utf-8")
    if name in ("utf-16", "utf-32"):
        if found is None or not found.startswith(name):
            if found is not None or _is_plain(head):
                raise _mismatch(encoding, found or "utf-8")
            return f"{name}-le"
        return found
    if found is not None and found != name:
        raise _mismatch(encoding, found)
    if name.startswith(("utf-16", "utf-32")) and found is None and _is_plain(head):
        raise _mismatch(encoding, "utf-8")
    return name


def _mismatch(encoding: str, found: str) -> InputError:
    return InputError(
        f"it is {found.upper()} by its first bytes, and [export] encoding is {encoding!r}: "
        f'set encoding = "auto", or to {found!r}.'
    )


def _found(head: bytes) -> str | None:
    """The encoding that the first bytes leave no doubt about, or None."""
    if head.startswith(BOM):
        return "utf-8"
    for mark, name in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return name
    return _by_nuls(head[:_PATTERN_BYTES])


def _by_nuls(start: bytes) -> str | None:
    """The encoding of a text without mark whose first characters are mostly ASCII, told by where the NULs stand."""
    if len(start) < _LEAST_BYTES or b"\0" not in start:
        return None
    quarters = [start[place::4].count(0) / len(start[place::4]) for place in range(4)]
    for name, pattern in (
        ("utf-32-le", (False, True, True, True)),
        ("utf-32-be", (True, True, True, False)),
        ("utf-16-le", (False, True, False, True)),
        ("utf-16-be", (True, False, True, False)),
    ):
        if all(share > 0.7 if is_nul else share == 0 for share, is_nul in zip(quarters, pattern, strict=True)):
            return name
    return None


def _is_plain(head: bytes) -> bool:
    """True if these are the first bytes of a text without NULs that is UTF-8."""
    return len(head) >= _LEAST_BYTES and b"\0" not in head and not any(_are_bad(_lines(head)))


def _is_utf8_beyond_ascii(head: bytes) -> bool:
    """True if these are the first bytes of a text that is UTF-8, and holds more than ASCII."""
    lines = _lines(head)
    return not all(line.isascii() for line in lines) and not any(_are_bad(lines))


def other_encoding(head: bytes, encoding: str, header: bytes = b"") -> tuple[int, int, str] | None:
    """The number of lines that are not UTF-8, of all lines, and what to do; None for a text that is UTF-8.

    `head`: the beginning of a text that should be UTF-8, or was made so of the encoding `encoding`.
    `header`: the line of its header, if it is sure to be one: words of it are shown.

    One where other lines hold more than ASCII, and in UTF-8, is UTF-8 with broken rows.
    """
    if is_utf8(head):
        return None
    lines = _lines(head)
    are_bad = _are_bad(lines)
    bad = sum(are_bad)
    if not bad or any(not is_bad and not line.isascii() for line, is_bad in zip(lines, are_bad, strict=True)):
        return None
    if encoding == "auto" and _NULS_OF_UTF_16 * head.count(0) > len(head):
        advice = 'if it is UTF-16 without a byte order mark, set [export] encoding = "utf-16-le", or "utf-16-be"'
    elif encoding == "auto" and _IN_NO_TEXT.search(head):
        advice = "it holds control characters, as no text does, but what is packed or encrypted: unpack or decrypt it"
    elif encoding != "auto" and codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
        advice = f"set [export] encoding, which is {encoding!r}, to the one it was written in"
    else:
        advice = encoding_advice(head, header)
    return bad, len(lines), advice


def _lines(head: bytes) -> list[bytes]:
    """The lines of the beginning of a text; one that its end cuts is left out."""
    lines = head.split(b"\n")
    return lines[:-1] or lines


def _are_bad(lines: list[bytes]) -> list[bool]:
    return [not is_utf8(line) for line in lines]
