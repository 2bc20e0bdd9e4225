"""Exports and drops that are made to take long: each is small or a few megabytes, and costs more than that."""

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backports import zstd

from tests.tools.faults.rawtarget import Answer
from tests.tools.support import Sections

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Hostile:
    """An export, written to a file by `write`, and the settings with which it is loaded.

    `is_dropped`: it is the content of a drop directory, which `write` gets. `posts`, `statuses`: the first answers of
    the server; behind them, and without any, it does as it should.
    """

    name: str
    write: Callable[[Path], object]
    sections: Sections = field(default_factory=dict)
    is_dropped: bool = False
    posts: tuple[Answer, ...] = ()
    statuses: tuple[Answer, ...] = ()


def _text(*pieces: bytes | Iterator[bytes]) -> Callable[[Path], object]:
    def write(file: Path) -> None:
        with file.open("wb") as out:
            for piece in pieces:
                out.writelines([piece] if isinstance(piece, bytes) else piece)

    return write


def _packed(content: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(gzip.compress(content, 1))


def _burst(pack: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """An archive of kilobytes that holds 2 GB of line feeds: the same member a thousand times."""
    member = pack(b"\n" * (2 * MEGABYTE))
    return lambda file: file.write_bytes(pack(b"id,tier\nu1,1\n") + member * 1_000)


def _zipped(members: Mapping[str, bytes], *, copies: int) -> Callable[[Path], object]:
    """The same members again and again, under names with a number before them."""

    def write(file: Path) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for copy in range(copies):
                for name, content in members.items():
                    archive.writestr(f"{copy:05}{name}", content)

    return write


def _names(count: int, *, first: str = "id", name: str = "c{}", delimiter: str = ",") -> Iterator[bytes]:
    """A header, made when it is written: who takes one of the table does not pay for all of it."""
    yield delimiter.join([first, *(name.format(number) for number in range(count))]).encode()


def _rows(header: str, row: str, count: int) -> bytes:
    return f"{header}\n".encode() + b"".join(f"{row}\n".format(number).encode() for number in range(count))


def _objects(values: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    """Lines of JSON, each made when it is written."""
    for value in values:
        yield json.dumps(value).encode() + b"\n"


def _with(**export: Any) -> Sections:
    return {"export": export}


def headers() -> list[Hostile]:
    """Headers that are large in one way or another."""
    many = {f"wanted {number}": f"w{number}" for number in range(5_000)}
    return [
        Hostile("a header of 20,000 columns", _text(_names(20_000), b"\nu1,1\n")),
        Hostile("a header of 40,000 columns", _text(_names(40_000), b"\nu1,1\n")),
        Hostile("a header of 9,990 columns", _text(_names(9_989), b"\nu1" + b"," * 9_989 + b"\n")),
        Hostile("a header of 100,000 equal columns", _text(b"id" + b",tier" * 100_000, b"\nu1,1\n")),
        Hostile("a megabyte of commas", _text(b"," * MEGABYTE)),
        Hostile("a megabyte of commas behind the id column", _text(b"id" + b"," * MEGABYTE, b"\nu1\n")),
        Hostile("a header of 50 MB", _text(_names(7_000_000), b"\nu1\n")),
        Hostile("50 MB of commas", _text(b"," * (50 * MEGABYTE))),
        Hostile("50 MB without a line end", _text(b"a" * (50 * MEGABYTE))),
        Hostile("a megabyte of semicolons", _text(b"id" + b";" * MEGABYTE, b"\nu1\n")),
        Hostile("a megabyte of tabs", _text(b"id" + b"\t" * MEGABYTE, b"\nu1\n"), _with(delimiter="\t")),
        Hostile("a megabyte of quotes before any line end", _text(b'"' * MEGABYTE)),
        Hostile("quoted names by the hundred thousand", _text(b'"id"' + b',""' * 300_000, b"\nu1\n")),
        Hostile("a header in UTF-16", _text(("id" + ",c" * 400_000 + "\nu1\n").encode("utf-16"))),
        Hostile("a header of 50 MB, packed", _packed(b"id" + b",tier" * 10_000_000 + b"\nu1\n")),
        Hostile("a column with a name of 900,000 characters", _text(b"id," + b"a" * 900_000, b"\nu1,1\n")),
        Hostile("names that are all but the id column", _text(_names(9_000, first="x", name="customer_i{}"), b"\n")),
        Hostile(
            "names that are all but the columns configured",
            _text(_names(9_000, name="wanted_{} "), b"\nu1\n"),
            _with(columns=many, unlisted="ignore"),
        ),
        Hostile(
            "long names that are all but the columns configured",
            _text(_names(5_000, name="wanted " + "x" * 150 + " {}"), b"\nu1\n"),
            _with(columns={f"wanted {'x' * 150}, {number}": f"w{number}" for number in range(20)}, unlisted="ignore"),
        ),
        Hostile(
            "marks upon marks in names",
            _text(("id," + "a" + "\u0301\u0327" * 200_000).encode(), b"\nu1\n"),
            _with(columns={"a\u0301": "a"}, unlisted="ignore"),
        ),
        Hostile("columns that Target would not take", _text(_names(9_000, name="mbox{}"), b"\nu1\n")),
        Hostile("columns that nobody listed", _text(_names(9_000, name="ö {}"), b"\nu1\n"), _with(unlisted="stop")),
        Hostile("lines of commas before a header", _text((b"," * 100_000 + b"\n") * 90, b"id,tier\nu1,1\n")),
        Hostile(
            "a hundred long lines to skip",
            _text((b"x" * 500_000 + b"\n") * 100, b"id,tier\nu1,1\n"),
            _with(skip_first=100),
        ),
        Hostile(
            "a first row of a million cells, without header",
            _text(b"u1" + b"," * MEGABYTE, b"\n"),
            _with(header=False, id_column="1", columns={"2": "tier"}, unlisted="ignore"),
        ),
        Hostile("blanks before a sep", _text(b" " * 30_000 + b"x\n", b"id,tier\nu1,1\n")),
        Hostile("comments of a page", _text(b"<!---->" * 20_000 + b"x\n", b"id,tier\nu1,1\n")),
        Hostile("byte order marks", _text(b"\xef\xbb\xbf" * 80_000, b"\nid,tier\nu1,1\n")),
        Hostile("line ends of old by the million before a header", _text(b"\r" * MEGABYTE, b"id,tier\ru1,1\r")),
        Hostile("a million line ends before a header", _text(b"\n" * (5 * MEGABYTE), b"id,tier\nu1,1\n")),
    ]


def bodies() -> list[Hostile]:
    """Rows that are many, odd or long."""
    header, plain = b"id,tier\n", b"id,tier\nu1,1\n"
    return [
        Hostile("a million quotes", _text(header, b'u1,"' + b'"' * MEGABYTE + b"\nu2,1\n")),
        Hostile("rows of quotes", _text(header, (b'u1,"' + b'""' * 500 + b'"\n') * 3_000)),
        Hostile("a quote unclosed on each line", _text(header, b'"u1,1\n' * 100_000)),
        Hostile("a quote unclosed, then 3 MB", _text(header, b'u0,"1\n', b"u1,1\n" * 500_000)),
        Hostile("30,000 broken rows", _text(header, b"x\n" * 30_000), _with(max_rejects="100%")),
        Hostile("400,000 broken rows", _text(header, b"x\n" * 400_000), _with(max_rejects="100%")),
        Hostile(
            "rejects of all kinds", _text(header, b'x\na/b,1\n,1\nnull,1\n"a"b,1\n' * 60_000), _with(max_rejects="100%")
        ),
        Hostile("a million NULs", _text(header, b"\0" * MEGABYTE, b"\n")),
        Hostile("rows of NULs", _text(header, b"\0,\0\n" * 200_000), _with(max_rejects="100%")),
        Hostile("rows that are not UTF-8", _text(header, b"u\xff,\xfe\n" * 150_000), _with(max_rejects="100%")),
        Hostile(
            "rows that are not windows-1252",
            _text(header, b"u\x81,\x8d\n" * 150_000),
            _with(max_rejects="100%", encoding="windows-1252"),
        ),
        Hostile(
            "rows in UTF-16 with half characters",
            _text((header.decode() + "u1,1\n").encode("utf-16"), b"u\0,\0\0\xd8\n\0" * 100_000),
            _with(max_rejects="100%"),
        ),
        Hostile("ids of a megabyte", _text(header, (b"u" * (MEGABYTE - 10) + b",1\n") * 20), _with(max_rejects="100%")),
        Hostile(
            "ids that are numbers of a megabyte",
            _text(header, (b"1" * (MEGABYTE - 10) + b",1\n") * 20),
            _with(max_rejects="100%"),
        ),
        Hostile(
            "values of a megabyte",
            _text(header, (b"u1," + b"%" * (MEGABYTE - 10) + b"\n") * 20),
            _with(max_rejects="100%"),
        ),
        Hostile("values beyond ASCII, near the limit", _text(header, ("u1," + "ö" * 32_000 + "\n").encode() * 300)),
        Hostile(
            "a row of a megabyte of commas",
            _text(header, (b"u1" + b"," * (MEGABYTE - 10) + b"\n") * 5),
            _with(max_rejects="100%"),
        ),
        Hostile(
            "rows of 200,000 quoted cells",
            _text(header, (b"u1" + b',""' * 200_000 + b"\n") * 5),
            _with(max_rejects="100%"),
        ),
        Hostile("five million blank lines", _text(header, b"\n" * (5 * MEGABYTE))),
        Hostile("300,000 blank records", _text(header, b" , \n" * 300_000)),
        Hostile("blank records in quotes", _text(header, b'"",""\n' * 300_000)),
        Hostile("all of one id", _text(header, b"u1,1\n" * (2 * MEGABYTE))),
        Hostile("the header 300,000 times", _text(header, header * 300_000)),
        Hostile("padded cells", _text(header, "\u00a0u1\u00a0,\u00a01\u200b\n".encode() * 150_000), _with(trim="all")),
        Hostile("line breaks in values", _text(header, b'u1,"a\nb,c"\n' * 150_000)),
        Hostile("values that are encoded", _text(header, "u1,é&%=+\n".encode() * 200_000)),
        Hostile(
            "escapes everywhere", _text(header, b'u1,\\"\\,\\\\\\"\n' * 100_000), _with(escape="\\", max_rejects="100%")
        ),
        Hostile(
            "a megabyte of escapes", _text(header, b'u1,"' + b"\\\\" * 500_000), _with(escape="\\", max_rejects="100%")
        ),
        Hostile("other quotes", _text(header, b"u1,'a''b'\n" * 100_000), _with(quote="'")),
        Hostile("line ends of old", _text(b"id,tier\r", b"u1,1\r" * 300_000)),
        Hostile("line ends of old, one record", _text(b"id,tier\r", b"u" * (2 * MEGABYTE))),
        Hostile(
            "a trailer of a thousand long lines",
            _text(header, b"u1,1\n" * 1_000, (b"x" * 16_000 + b"\n") * 1_000),
            _with(skip_last=1_000, max_rejects="100%"),
        ),
        Hostile("many tiny batches", _text(_rows("id,tier", "u{},1", 400)), {"batch": {"max_rows": 1}}),
        Hostile("a gzip archive of 30 MB of blank lines", _packed(header + b"\n" * (30 * MEGABYTE))),
        Hostile("a gzip archive of 2 GB", _burst(gzip.compress)),
        Hostile("a zstd archive of 2 GB", _burst(zstd.compress)),
        Hostile("a bzip2 archive of 2 GB", _burst(bz2.compress)),
        Hostile("an xz archive of 2 GB", _burst(lzma.compress)),
        Hostile(
            "300,000 empty members of gzip", _text(gzip.compress(header + b"u1,1\n"), gzip.compress(b"") * 300_000)
        ),
        Hostile("300,000 empty frames of zstd", _text(zstd.compress(header + b"u1,1\n"), zstd.compress(b"") * 300_000)),
        Hostile("a zip archive of 2 GB", _zipped({"a.csv": plain + b"\n" * (20 * MEGABYTE)}, copies=100)),
        Hostile("a zip archive of 10,000 members", _zipped({"a.csv": plain}, copies=10_000)),
        Hostile("a zip archive of 20,000 members", _zipped({"a.csv": plain}, copies=20_000)),
        Hostile("a zip archive of long names", _zipped({"x" * 60_000: plain}, copies=200)),
        Hostile("100,000 members of one row", _text(gzip.compress(header), gzip.compress(b"u1,1\n") * 100_000)),
    ]


def json_lines() -> list[Hostile]:
    """JSON Lines that are many, deep or long."""
    return [
        Hostile(
            "an object of a million keys",
            _text(_objects({f"k{at}": at for at in range(count)} for count in [MEGABYTE])),
        ),
        Hostile(
            "objects of 900 keys each, all others",
            _text(_objects({"id": "u", **{f"k{row}_{at}": 1 for at in range(900)}} for row in range(300))),
        ),
        Hostile(
            "an object of 50,000 keys", _text(_objects(iter([{"id": "u1", **{f"k{at}": "" for at in range(50_000)}}])))
        ),
        Hostile("lines of 50 MB", _text(b'{"id": "', b"u" * (50 * MEGABYTE), b'"}\n')),
        Hostile(
            "deep objects",
            _text((b'{"id": "u", "a":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}\n") * 5),
            _with(max_rejects="100%", format="jsonl"),
        ),
        Hostile(
            "deep arrays",
            _text((b'{"id": "u", "a":' + b"[" * 400_000 + b"]" * 400_000 + b"}\n") * 5),
            _with(max_rejects="100%"),
        ),
        Hostile("300,000 empty objects", _text(b'{"id":"u","a":1}\n', b"{}\n" * 300_000), _with(max_rejects="100%")),
        Hostile(
            "300,000 lines that are no JSON",
            _text(b'{"id":"u","a":1}\n', b"{\n" * 300_000),
            _with(max_rejects="100%", unlisted="ignore", columns={"a": "a"}),
        ),
        Hostile("numbers with fractions", _text(b'{"id":"u","a":1.10,"b":[1.5,2.5]}\n' * 60_000)),
        Hostile(
            "a number of 900,000 digits",
            _text((b'{"id":"u","a":' + b"1" * 900_000 + b"}\n") * 20),
            _with(max_rejects="100%"),
        ),
        Hostile(
            "arrays of 300,000 values",
            _text((b'{"id":"u","a":[' + b"1," * 400_000 + b"1]}\n") * 10),
            _with(max_rejects="100%"),
        ),
        Hostile(
            "byte order marks before an object",
            _text(b'{"id":"u","a":1}\n', (b"\xef\xbb\xbf" * 300_000 + b"{}\n") * 3),
            _with(max_rejects="100%"),
        ),
        Hostile(
            "paths without end",
            _text((b'{"id":"u"' + b"".join(b',"k%d":{"a":1}' % at for at in range(40_000)) + b"}\n") * 5),
        ),
        Hostile("one id, 200,000 rows", _text(b'{"id":"u","a":"1"}\n' * 200_000)),
    ]


def drops() -> list[Hostile]:
    """What a dropper may put into a drop directory."""

    def dropped(content: bytes, manifest: bytes) -> Callable[[Path], object]:
        def write(directory: Path) -> None:
            (directory / "a.csv").write_bytes(content)
            (directory / "a.csv.ready").write_bytes(manifest)

        return write

    def many(count: int, name: str, *signals: str) -> Callable[[Path], object]:
        def write(directory: Path) -> None:
            for number in range(count):
                file = directory / name.format(number)
                file.parent.mkdir(exist_ok=True)
                file.write_text("id,tier\n")
            for signal in signals:
                (directory / signal).write_text("")

        return write

    plain = b"id,tier\nu1,1\n"
    long_list = json.dumps({"columns": [f"c{at}" for at in range(6_000)]}).encode()
    many_columns = ",".join(["id", *(f"c{at}" for at in range(8_000))])
    return [
        Hostile("a manifest of a megabyte", dropped(plain, b"columns=" + b"c," * 500_000), is_dropped=True),
        Hostile(
            "a manifest of a million columns",
            dropped(plain, json.dumps({"columns": ["c"] * MEGABYTE}).encode()),
            is_dropped=True,
        ),
        Hostile("a manifest of 64 KB", dropped(plain, long_list[:65_000] + b"]}"), is_dropped=True),
        Hostile("a manifest of 60,000 lines", dropped(plain, b"\n" * 60_000 + b"rows=1"), is_dropped=True),
        Hostile("a manifest that is deep", dropped(plain, b"[" * 60_000), is_dropped=True),
        Hostile(
            "a manifest that names 8,000 columns",
            dropped(many_columns.encode() + b"\n", ("columns=" + many_columns).encode()),
            is_dropped=True,
        ),
        Hostile(
            "a manifest of rows for a million", dropped(b"id,tier\n" + b"x\n" * MEGABYTE, b"rows=1"), is_dropped=True
        ),
        Hostile(
            "a manifest for a header of commas", dropped(b"id" + b"," * MEGABYTE, b"columns=id,tier"), is_dropped=True
        ),
        Hostile("100 parts", many(100, "all/part-{:05}.csv", "all/_SUCCESS"), is_dropped=True),
        Hostile("3,000 files without a signal", many(3_000, "{:05}.csv", "x.csv.ready"), is_dropped=True),
        Hostile(
            "names that are alike",
            many(2_000, "x" * 150 + "{:05}.csv", *("x" * 150 + f"{at:05}-.ready" for at in range(100))),
            is_dropped=True,
        ),
    ]
