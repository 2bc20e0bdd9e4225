"""Writes exports as files of all kinds, and reads such files back by libraries that the product does not read them by.

A `Write` returns the place of each row, its file (or part) and line. A `Read` returns what it finds: file, line and
cells of each row that it can read, which is to be the same.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import orjson
from backports import zstd

from tests.tools.faults.content import Style
from tests.tools.faults.loading import COLUMNS, Export

HEADER = ("id", *COLUMNS)
Place = tuple[str, int]
Row = tuple[str, int, tuple[str, ...]]
Write = Callable[[Export, Path, Random], list[Place]]
Read = Callable[[Path], list[Row]]
#: Names that files may have -> how one piece is packed, and all of them together unpacked, by the standard library.
PACKED: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gz": (gzip.compress, gzip.decompress),
    "zst": (zstd.compress, zstd.decompress),
    "bz2": (bz2.compress, bz2.decompress),
    "xz": (lzma.compress, lzma.decompress),
}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def pieces_of(length: int, draw: Random) -> list[slice]:
    """Some pieces of what is so long, cut anywhere; one may be empty."""
    cuts = sorted(draw.randrange(length + 1) for _ in range(draw.randrange(1, 5)))
    return [slice(start, end) for start, end in zip([0, *cuts], [*cuts, length], strict=True)]


def packed_content(content: bytes, ending: str, draw: Random) -> bytes:
    """Content as an archive of several members."""
    pack, _ = PACKED[ending]
    return b"".join(pack(content[piece]) for piece in pieces_of(len(content), draw))


def csv_file(
    *, codecs: Sequence[str] = ("utf-8",), packed: str = "", styles: Sequence[Style] = (Style(), Style(end="\r\n"))
) -> Write:
    """Writes one of these styles in one of these encodings, packed so if a name's ending is given."""

    def write(export: Export, path: Path, draw: Random) -> list[Place]:
        text, starts = draw.choice(styles).text([export.header, *export.records])
        content = _encoded(text, draw.choice(codecs))
        path.write_bytes(packed_content(content, packed, draw) if packed else content)
        return [(path.name, line) for line in starts[1:]]

    return write


def _encoded(text: str, codec: str) -> bytes:
    """A text in an encoding; a byte order mark is a character of it."""
    return text.encode(codec, "surrogateescape" if not codec.startswith("utf-16") else "strict")


def read_csv(*, codec: str = "utf-8", packed: str = "", delimiter: str = ",", escape: str | None = None) -> Read:
    """Reads by the standard library."""

    def read(path: Path) -> list[Row]:
        content = PACKED[packed][1](path.read_bytes()) if packed else path.read_bytes()
        if codec == "utf-16":
            # Without a mark Python takes the order of this machine.
            text = content.decode("utf-16-be" if content[:1] == b"\0" else "utf-16")
        else:
            text = content.decode(codec, "surrogateescape")
        return [(path.name, line, cells) for line, cells in records_in(text, delimiter, escape)]

    return read


def records_in(text: str, delimiter: str = ",", escape: str | None = None) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The line and the cells of each record behind the header, as the standard library reads them."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, escapechar=escape, doublequote=escape is None
    )
    assert tuple(next(reader)) == HEADER
    begins = reader.line_num + 1
    for cells in reader:
        yield begins, tuple(cells)
        begins = reader.line_num + 1


def write_zip(export: Export, path: Path, draw: Random) -> list[Place]:
    """A zip archive: rows in members packed in different ways, one perhaps without rows, and what is no member."""
    places = []
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/._m0.csv", b"\0\5\26\7")
        for number, piece in enumerate(pieces_of(export.rows, draw)):
            text, starts = Style().text([export.header, *export.records[piece]])
            archive.writestr(name := f"m{number}.csv", _encoded(text, "utf-8"), draw.choice(_METHODS))
            places += [(name, line) for line in starts[1:]]
    return places


def read_zip(path: Path) -> list[Row]:
    """Reads by the standard library."""
    with zipfile.ZipFile(path) as archive:
        texts = {each: archive.read(each) for each in sorted(archive.namelist()) if not each.startswith("_")}
    decoded = {name: content.decode(errors="surrogateescape") for name, content in texts.items()}
    return [(name, line, cells) for name, text in decoded.items() for line, cells in records_in(text)]


def write_json_lines(export: Export, path: Path, draw: Random) -> list[Place]:
    """One object a line; a cell without value is empty, null or not there. A row that is broken ends too early."""
    broken = {line - 2 for line, reason in export.rejects if reason == "local.json_invalid"}
    lines = []
    for number, record in enumerate(export.records):
        empty = draw.choice(("", None, "not there"))
        cells = {
            name: cell or empty
            for name, cell in zip(export.header, record, strict=True)
            if cell or empty != "not there"
        }
        line = orjson.dumps(cells) if draw.random() < 0.5 else json.dumps(cells).encode()
        lines.append(line[:-1] if number in broken else line)
    path.write_bytes(b"\n".join(lines) + b"\n" * (draw.random() < 0.7))
    return [(path.name, number) for number in range(1, len(lines) + 1)]


def read_json_lines(path: Path) -> list[Row]:
    """Reads by the standard library."""
    rows = []
    for line, text in enumerate(path.read_text().splitlines(), 1):
        if text.endswith("}"):
            cells = json.loads(text)
            rows.append((path.name, line, tuple(cells.get(name) or "" for name in HEADER)))
    return rows


def write_parquet(export: Export, path: Path, draw: Random) -> list[Place]:
    """Row groups of any size."""
    parquet = import_module("pyarrow.parquet")
    size = draw.randrange(1, export.rows // 3 + 2)
    parquet.write_table(_table(export, draw), path, row_group_size=size, compression=draw.choice(("none", "zstd")))
    return [(path.name, number) for number in range(1, export.rows + 1)]


def write_arrow(export: Export, path: Path, draw: Random) -> list[Place]:
    """A file or a stream, with record batches of any size."""
    arrow, table = import_module("pyarrow"), _table(export, draw)
    new = draw.choice((arrow.ipc.new_file, arrow.ipc.new_stream))
    with arrow.OSFile(str(path), "wb") as out, new(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=draw.randrange(1, export.rows // 3 + 2))
    return [(path.name, number) for number in range(1, export.rows + 1)]


def _table(export: Export, draw: Random) -> Any:
    """Texts of several types; ids are binary, since some are no text. A cell without value is empty or null."""
    arrow = import_module("pyarrow")
    kinds = [arrow.binary(), arrow.string(), arrow.large_string(), arrow.dictionary(arrow.int32(), arrow.string())]
    columns = {}
    for name, kind, cells in zip(export.header, kinds, zip(*export.records, strict=True), strict=False):
        values = [cell if cell or draw.random() < 0.5 else None for cell in cells]
        as_bytes = [None if cell is None else cell.encode(errors="surrogateescape") for cell in values]
        columns[name] = arrow.array(as_bytes if name == "id" else values, kind)
    return arrow.table(columns)


def read_parquet(path: Path) -> list[Row]:
    """Reads by DuckDB."""
    found = import_module("duckdb").sql(f"select {', '.join(HEADER)} from read_parquet('{path}')").fetchall()
    return [(path.name, line, tuple(map(_text_of, cells))) for line, cells in enumerate(found, 1)]


def read_arrow(path: Path) -> list[Row]:
    """Reads by pyarrow's reader of whole files, and has DuckDB turn them into values."""
    arrow, content = import_module("pyarrow"), path.read_bytes()
    opened = arrow.ipc.open_file if content.startswith(b"ARROW1") else arrow.ipc.open_stream
    table = opened(arrow.py_buffer(content)).read_all()
    found = import_module("duckdb").from_arrow(table).select(*HEADER).fetchall()
    return [(path.name, line, tuple(map(_text_of, cells))) for line, cells in enumerate(found, 1)]


def _text_of(cell: str | bytes | None) -> str:
    return cell.decode(errors="surrogateescape") if isinstance(cell, bytes) else cell or ""
