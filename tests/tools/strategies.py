"""Hypothesis strategies for exports as no one should write them, and everyone does.

What is generated need not mean anything in particular: the oracle says what it means. It only has to be nasty
in every way at once, to repeat its ids, and to have a header that can be read. Cells are drawn as bytes
already written, one draw each, so that generation stays fast.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.vendor.pretty import RepresentationPrinter

BOM = b"\xef\xbb\xbf"
DELIMITERS = [",", ";", "\t", "|", "^", "\x01"]
ATTRIBUTE_BYTES = 65_536
MAX_BYTES = 49_999_999

LEGAL_NAMES = ["tier", "score", "City", "last_visit", "x9", "B"]
# To be mapped when they are sent; all but the first two need quotes with one delimiter or another.
OTHER_NAMES = [
    "Customer Name",
    "profile.tier",
    "café",
    "a,b",
    "a;b",
    "a|b",
    "a\tb",
    'say "hi"',
    "50% & more",
]
ID_NAMES = ["id", "Customer ID", "i,d", 'i"d']

IDS = [
    *["u1", "u2", "u3"] * 10,  # most rows, so that ids come again
    *["é", "😀", "id 4", " u1", "u1 ", "50%&=", "-.!~_*()"],
    *["", "a+b", "a/b", "+", "a,b", "a;b", "a\nb", "a\rb", "a\r\nb", '"', "\t"],
    *["i" * 100, "i" * 128, "i" * 129, "i" * 256, "i" * 257, "i" * 300],
    *["é" * 128, "é" * 129, "😀" * 256, "😀" * 257],
    *["u1 \t", "\ufeffu1", "\u200bu1\u00a0", "u2\r\n", "\x1au2\u3000", "\u00adé\u2028", " ", "\u200b", "à", "\x7f"],
    *["NULL", "null ", "n/a", "N/A", "#REF!", "(None)", "Undefined", "\\N", "nul", "-", "--", "—", "¿?", "...", ", ,"],
    *["3.91E16", "1,23E+10", "1.2e5", "12E5", "12E+5", "39.1E15", "1.5E-7", "+1.2E5", "1.E5", "-3E+5", "1.2E5x"],
    *["12.0", ".0", "1.05", '="00123"', "'00123", "=1", '="', "O'Brien"],
]
VALUES = [
    *["", "", "", "", "a", "gold", "0", "silver"],
    *["50% off & more", "a+b", "a=b", "&", "%41", "-.!~_*()", "'", "\\", "\\n", "`", "$@:?#[]/"],
    *["x,y", "x;y", "x|y", "x\ty", "x^y", "x\x01y", ",", ",,", ", ,", "\r\n,\r,\n"],
    *["line\nbreak", "cr\rin", "crlf\r\nin", "\n", "\r", "\r\n", "\n\n", "\r\r\n", "end\r", "end\n", "\nend"],
    *['say "hi"', '"', '""', '","', 'a"', '"a', '"\n"', '"\r\n'],
    *["é", "日本", "😀", "👩\u200d👩\u200d👧", "\ufeff", "\x85", "\u2028", "\x0b", "\x0c", "\x1a", "\x7f"],
    *[
        "\\N",
        "\\N ",
        "NULL",
        "null",
        "n,a",
        '"q"',
        "\u00a0nbsp",
        "shy\u00ad",
        "zw\u200d",
        "à",
        "…",
        "\u3000",
        "v\t",
        "\tv",
    ],
    *["v" * 16_384, "é" * 16_384],
    *["29.11.2026", "1.2.1980", "31.02.2020", "2026-11-29", "1.234,56", "-1234,5", "1.5", "12", "J", "N", "G", " g "],
    *[" ", " padded ", "v" * 256, "v" * 257, "é" * 257, "w," * 128 + "w"],
]
# Written into the file as they stand, so D is the delimiter.
VERBATIM = [
    *[b'a"b', b'a""b', b'a"', b' "a"', b'a"b"c', b'"a"b', b'"a" ', b'"a""b"c', b'"a"\r', b'"a"\rb', b'""a'],
    *[b'"open', b'"', b'"""', b'"open\n', b'"open\r\nmore', b'"a""', b'a"Db', b'"aD', b'"a"Db"', b'"a\nb"c'],
    *[b"\xff", b"a\xc3", b'"\xff"', b'"\xc3"', b"\xed\xa0\x80", b"\xf0\x9f", b"\xc0\xaf", b"\xef\xbb\xbf"],
    *[b"\x00", b"a\x00b", b'"\x00"', b'"\x00\n"', b"\x00\xff", b'"\x00'],
    *[b"\r", b"a\r", b"\ra", b"\r\r", b"aDb", b"DD"],
]
# The end of some files, D again the delimiter: a quote that nothing after it can close.
TAILS = [b'"open', b'u1D"open\n\nmoreD\r', b'u1,D"a""\r\nu2DaDb\n', b'u1D"', b'"u1\nu2D\xff\n\nu3\0']
PLACEHOLDERS = ("null", "none", "n/a", "#ref!", "undefined", "(none)")
ALPHABET = [b'"', b",", b"\n", b"\r", b"a", b"+", b"%", b"\xff", b"\x00", b";", b" "]


@dataclass(frozen=True, slots=True)
class Export:
    """The bytes of an export, and the keyword arguments that say how to read it.

    Its repr is an expression that makes it again, with long runs of one character written short.
    """

    data: bytes
    options: dict[str, Any]

    def __repr__(self) -> str:
        pieces, at = [], 0
        for run in re.finditer(rb"(?s)(.{1,4}?)\1{31,}", self.data):
            unit = run[1]
            pieces += [repr(self.data[at : run.start()]), f"{unit!r} * {len(run[0]) // len(unit)}"]
            at = run.end()
        pieces.append(repr(self.data[at:]))
        return f"Export({' + '.join(pieces)}, {self.options!r})"

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        """Hypothesis prints the fields of a dataclass otherwise, and warns that they are long."""
        printer.text(repr(self))


def in_quotes(text: str) -> bytes:
    return b'"' + text.replace('"', '""').encode() + b'"'


def as_written(text: str, delimiter: str) -> list[bytes]:
    """The ways to write a value: in quotes, and without them where they are not needed."""
    needs_quotes = text.startswith('"') or any(mark in text for mark in (delimiter, "\n"))
    return [in_quotes(text)] if needs_quotes else [text.encode(), in_quotes(text)]


@cache
def sound_cells(delimiter: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from([cell for value in VALUES for cell in as_written(value, delimiter)])


@cache
def id_cells(delimiter: str) -> st.SearchStrategy[bytes]:
    behind_blanks = [b' "u1"', b'  "u2" ', b' "" ']
    return st.sampled_from([cell for value in IDS for cell in as_written(value, delimiter)] + behind_blanks)


@cache
def broken_cells(delimiter: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from([cell.replace(b"D", delimiter.encode()) for cell in VERBATIM])


def raw_bytes(*, max_size: int = 40) -> st.SearchStrategy[bytes]:
    """Bytes over a small alphabet in which everything means something."""
    return st.lists(st.sampled_from(ALPHABET), max_size=max_size).map(b"".join)


@dataclass(frozen=True, slots=True)
class Header:
    """Column names in order, which one is the id, and the parameter names of those sent."""

    names: list[str]
    id_at: int
    columns: dict[str, str]
    unlisted: str

    def parameters(self) -> dict[int, str]:
        """Parameter names by position of the columns that are sent."""
        return {
            position: self.columns.get(name, name)
            for position, name in enumerate(self.names)
            if position != self.id_at and (name in self.columns or self.unlisted == "send")
        }


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Headers that can be read: no name twice, at least one column sent, legal parameter names."""
    pool = st.sampled_from(LEGAL_NAMES) | st.sampled_from(OTHER_NAMES)
    names = draw(st.lists(pool, min_size=1, max_size=5, unique=True))
    unlisted = draw(st.sampled_from(["ignore", "send"]))
    columns: dict[str, str] = {}
    for number, name in enumerate(names):
        legal = name in LEGAL_NAMES
        # What is sent under its own name must be legal; what is ignored must not be all there is.
        can_be_left = legal if unlisted == "send" else number > 0
        if not (can_be_left and draw(st.booleans())):
            columns[name] = draw(st.sampled_from([name, f"p{number}"])) if legal else f"p{number}"
    id_at = draw(st.integers(0, len(names)))
    names.insert(id_at, draw(st.sampled_from(ID_NAMES)))
    return Header(names, id_at, columns, unlisted)


def write_header(header: Header, delimiter: str, *, quoted: bool) -> bytes:
    """The header line; names with any candidate delimiter are in quotes, so that `auto` is not misled."""
    cells = []
    for name in header.names:
        special = any(mark in name for mark in [*DELIMITERS, '"', "\n"])
        cells.append(in_quotes(name) if quoted or special else name.encode())
    return delimiter.encode().join(cells)


def sound_record(draw: st.DrawFn, header: Header, delimiter: str) -> list[bytes]:
    cells = draw(
        st.lists(sound_cells(delimiter), min_size=len(header.names), max_size=len(header.names)),
    )
    cells[header.id_at] = draw(id_cells(delimiter))
    return cells


def broken_record(draw: st.DrawFn, header: Header, delimiter: str) -> list[bytes]:
    cells = sound_record(draw, header, delimiter)
    cells[draw(st.integers(0, len(cells) - 1))] = draw(broken_cells(delimiter))
    return cells


def ragged_record(draw: st.DrawFn, header: Header, delimiter: str) -> list[bytes]:
    cells = sound_record(draw, header, delimiter)
    if draw(st.booleans()):
        return [*cells, *draw(st.lists(sound_cells(delimiter), min_size=1, max_size=2))]
    return cells[: draw(st.integers(1, len(cells) - 1))]


def empty_record(draw: st.DrawFn, header: Header, delimiter: str) -> list[bytes]:
    cells = draw(st.lists(st.sampled_from([b"", b'""']), min_size=len(header.names), max_size=len(header.names)))
    cells[header.id_at] = draw(id_cells(delimiter))
    return cells


def heavy_record(draw: st.DrawFn, header: Header, delimiter: str) -> list[bytes]:
    """One sent cell within two bytes of what one profile may hold, the others empty."""
    cells = [b""] * len(header.names)
    cells[header.id_at] = draw(id_cells(delimiter))
    position, parameter = draw(st.sampled_from(sorted(header.parameters().items())))
    size = ATTRIBUTE_BYTES - len(parameter) + draw(st.integers(-2, 2))
    cells[position] = draw(st.sampled_from([b"v" * size, "é".encode() * (size // 2) + b"v" * (size % 2)]))
    return cells


def blank_record(draw: st.DrawFn, header: Header, delimiter: str) -> list[bytes]:
    """A record in which nothing is to be seen, of as many fields as the header, or nearly."""
    width = len(header.names)
    count = draw(st.sampled_from([width, width, width, max(1, width - 1), width + 1]))
    cell = st.sampled_from([b"", b"", b'""', b" ", "\u00a0".encode(), b'" "', b"\x1a", BOM, b'"\n"'])
    return draw(st.lists(cell, min_size=count, max_size=count))


def header_again(draw: st.DrawFn, header: Header, delimiter: str) -> list[bytes]:
    """The header, or what is nearly the header."""
    cells = write_header(header, delimiter, quoted=draw(st.booleans())).split(delimiter.encode())
    cells[0] = draw(st.sampled_from([b"", b"", BOM])) + cells[0]
    cells[-1] += draw(st.sampled_from([b"", b"", b" ", b"x"]))
    return cells


def blank_line(draw: st.DrawFn, header: Header, delimiter: str) -> list[bytes]:
    return [draw(st.sampled_from([b"", b"", b"\r", b"\r\r"]))]


def raw_line(draw: st.DrawFn, header: Header, delimiter: str) -> list[bytes]:
    return [draw(raw_bytes(max_size=12))]


Maker = Callable[[st.DrawFn, Header, str], list[bytes]]
RECORDS: list[Maker] = [
    *[sound_record] * 12,
    *[broken_record] * 4,
    *[ragged_record] * 2,
    *[empty_record] * 2,
    *[blank_line] * 2,
    *[blank_record] * 2,
    header_again,
    raw_line,
    heavy_record,
]
ENDINGS = {
    "lf": [b"\n"],
    "crlf": [b"\r\n"],
    "mixed": [b"\n", b"\r\n", b"\n", b"\r\n", b"\n", b"\r\n", b"\r\r\n", b"\r"],
}


def options_to_read(draw: st.DrawFn, header: Header, delimiter: str, *, auto: bool) -> dict[str, Any]:
    """Keyword arguments that say how to read an export with this header."""
    id_kind = draw(st.sampled_from(["thirdPartyId", "pcId"]))
    head_bytes = len("batch=" + ",".join([id_kind, *header.parameters().values()]) + "\n")
    small = st.integers(4, 600).map(lambda row_bytes: head_bytes + row_bytes)
    return {
        "id_column": header.names[header.id_at],
        "columns": header.columns,
        "unlisted": header.unlisted,
        "delimiter": "auto" if auto else delimiter,
        "on_delimiter": draw(st.sampled_from(["encode", "replace", "reject"])),
        "replacement": draw(st.sampled_from([" ", "_", " / ", "%é"])),
        "max_bytes": draw(st.one_of(st.just(MAX_BYTES), st.just(MAX_BYTES), small)),
        "id_kind": id_kind,
        "trim": draw(st.sampled_from(["ids", "ids", "all", "none"])),
        "null_values": draw(st.sampled_from([("\\N",), ("\\N",), (), ("NULL", "\\N", '"q"', "n,a", "gold")])),
        "id_placeholders": draw(st.sampled_from([PLACEHOLDERS, PLACEHOLDERS, (), ("É", "u3", ", ,")])),
        "number_ids": draw(st.sampled_from(["reject", "reject", "send"])),
    }


@st.composite
def exports(draw: st.DrawFn, *, max_records: int = 10) -> Export:
    """Exports with every fault there is but a record over the length limit, and the options to read them.

    The header can always be read. About two in three have the real size limit of a body, the others one that
    some of their rows exceed.
    """
    delimiter = draw(st.sampled_from(DELIMITERS))
    auto = draw(st.booleans())
    header = draw(headers())
    endings = st.sampled_from(ENDINGS[draw(st.sampled_from(sorted(ENDINGS)))])
    header_ending = draw(endings)

    before = draw(st.sampled_from([b"", b"", b"", b"\n", b"\r\n"]))
    parts = [
        draw(st.sampled_from([b"", BOM])),
        before,
        write_header(header, delimiter, quoted=draw(st.booleans())),
    ]
    # A lone CR would run the header into the first record.
    parts.append(b"\n" if header_ending == b"\r" or header_ending == b"\r\r\n" else header_ending)
    for make in draw(st.lists(st.sampled_from(RECORDS), max_size=max_records)):
        parts += [delimiter.encode().join(make(draw, header, delimiter)), draw(endings)]
    parts.append(draw(st.sampled_from([b""] * 12 + TAILS)).replace(b"D", delimiter.encode()))
    if parts[-1] == b"" and draw(st.booleans()):
        del parts[-2:]

    return Export(b"".join(parts), options_to_read(draw, header, delimiter, auto=auto))


#: Steps for the cells of a column, as [mapping] has them; what they list are values of `VALUES`.
COLUMN_STEPS: list[dict[str, Any]] = [
    {"case": "upper"},
    {"trim": True, "case": "lower", "values": {"g": "gold", "x,y": "a b", "silver": ""}, "other": "keep"},
    {
        "values": {"gold": "1", "line\nbreak": "x", "crlf\r\nin": "crlf", '"': "quote"},
        "other": "empty",
        "empty": "none",
    },
    {"values": {"gold": "1", "a": "2", "0": "3", "50%": "4"}, "other": "reject", "trim": True},
    {"date": ["%d.%m.%Y", "%Y-%m-%d"], "unreadable": "empty"},
    {"date": "%d.%m.%Y"},
    {"decimal": ",", "unreadable": "keep"},
    {"decimal": ".", "unreadable": "reject", "empty": "0"},
    {"boolean": {"true": ["J", "a"], "false": ["N", "0"]}, "unreadable": "keep"},
    {"clear_values": ["", "gold"], "clear_as": "unset", "case": "upper"},
    {"max_length": 3, "too_long": "truncate"},
    {"max_length": 12},
    {"hash": "sha256"},
    {"hash": "sha256_unsalted", "trim": True, "max_length": 2, "too_long": "truncate", "case": "lower"},
    {"trim": True},
]
ID_STEPS: list[dict[str, Any]] = [{"case": "upper"}, {"hash": "sha256"}, {"case": "lower", "hash": "sha256_unsalted"}]


@st.composite
def mapped_exports(draw: st.DrawFn) -> Export:
    """Exports with a [mapping] that names some of their columns."""
    export = draw(exports() | mixed_exports())
    names = sorted(export.options["columns"])
    mapping: dict[str, Any] = {}
    if names:
        for name in draw(st.lists(st.sampled_from(names), max_size=3, unique=True)):
            mapping[name] = draw(st.sampled_from(COLUMN_STEPS))
    judged = st.sampled_from([*names, export.options["id_column"]])
    for key in draw(st.lists(st.sampled_from(["exclude", "exclude_unless"]), max_size=1)):
        cells = [["gold"], ["", "a"], ["u1", "x,y", "g"]] if key == "exclude" else [["", "a", "gold", "0", "u1", "u2"]]
        mapping[key] = {draw(judged): draw(st.sampled_from(cells))}
    if draw(st.booleans()):
        mapping[export.options["id_column"]] = draw(st.sampled_from(ID_STEPS))
    if draw(st.booleans()):
        mapping["constants"] = {"source": "crm 1"}
    return Export(export.data, {**export.options, "mapping": mapping})


@st.composite
def raw_exports(draw: st.DrawFn, *, max_size: int = 40) -> Export:
    """A plain header, then anything at all over an alphabet in which everything means something."""
    delimiter = draw(st.sampled_from([",", ";"]))
    header = delimiter.join(["id", "a", "b"][: draw(st.integers(2, 3))]).encode()
    options: dict[str, Any] = {
        "id_column": draw(st.sampled_from(["id", "a"])),
        "columns": {},
        "unlisted": "send",
        "delimiter": draw(st.sampled_from(["auto", delimiter])),
        "on_delimiter": draw(st.sampled_from(["encode", "replace", "reject"])),
        "replacement": " ",
        "max_bytes": MAX_BYTES,
        "id_kind": "thirdPartyId",
    }
    return Export(header + draw(st.sampled_from([b"\n", b"\r\n"])) + draw(raw_bytes(max_size=max_size)), options)


#: Ids for which no row is rejected unless the options say so.
_PLAIN_IDS = [
    "u1",
    "u2",
    "u3",
    "é",
    "id 4",
    "50%&=",
    'i"d',
    "a,b;c|d\te",
    "a\nb",
    "a\rb",
    "i" * 128,
    "u1  ",
    "\ufeffu2",
    "12.0",
    "j.doe",
]
_IRREGULAR: list[Maker] = [
    blank_record,
    header_again,
    broken_record,
    ragged_record,
    empty_record,
    sound_record,
    heavy_record,
    blank_line,
    raw_line,
]


#: Of the sound records of an export: a cell of many kilobytes need not come sixty times.
_SOUND_BYTES = 100_000


@st.composite
def mixed_exports(draw: st.DrawFn) -> Export:
    """Exports most of whose records are sound, many more than of others, so that they are worth reading in blocks."""
    delimiter = draw(st.sampled_from(DELIMITERS))
    header = draw(headers())
    endings = st.sampled_from(draw(st.sampled_from([[b"\n"], [b"\r\n"], [b"\n", b"\r\n"]])))
    ids = [cell for value in _PLAIN_IDS for cell in as_written(value, delimiter)]
    sound = []
    for _ in range(draw(st.integers(1, 6))):
        cells = sound_record(draw, header, delimiter)
        cells[header.id_at] = draw(st.sampled_from(ids))
        sound.append(delimiter.encode().join(cells) + draw(endings))
    body, room = list[bytes](), _SOUND_BYTES
    for _ in range(draw(st.integers(0, 60))):
        line = draw(st.sampled_from(sound))
        if len(line) <= room:
            body.append(line)
            room -= len(line)
    for make in draw(st.lists(st.sampled_from(_IRREGULAR), max_size=5)):
        line = delimiter.encode().join(make(draw, header, delimiter)) + draw(endings)
        body.insert(draw(st.integers(0, len(body))), line)
    body.append(draw(st.sampled_from([b"", b"", sound[0].rstrip(b"\r\n"), *TAILS])).replace(b"D", delimiter.encode()))
    head = write_header(header, delimiter, quoted=True) + draw(endings)
    return Export(head + b"".join(body), options_to_read(draw, header, delimiter, auto=False))
