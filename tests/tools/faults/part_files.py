"""Exports that are written as a directory of parts of all sizes and packings, and read back from one."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pipeline.edges.exports import path_of
from tests.tools.faults.content import Style
from tests.tools.faults.kind_files import PACKED, Place, Row, packed_content, records_in
from tests.tools.faults.loading import Export

#: The share of parts that hold no row, and of those that are packed.
_WITHOUT_ROWS, _PACKED = 0.25, 0.25


@dataclass(slots=True)
class _Rows:
    """Rows that are still to be written, and the places of those that are."""

    left: list[tuple[str, ...]]
    places: list[Place]


def write_parts(export: Export, directory: Path, draw: Random) -> list[Place]:
    """Write an export as a directory of parts, without a signal; the places of its rows.

    Among them are empty and blank parts, such with a header only, parts of one row, packed ones, and lines that end
    as on Windows; the last line of some has no end.
    """
    rows, number = _Rows([*export.records], []), 0
    directory.mkdir()
    while rows.left or number < 2:
        _write_part(directory / f"part-{number:04}.csv", rows, draw, export)
        number += 1
    if draw.random() < 0.5:
        (directory / f"part-{number:04}.csv").write_bytes(draw.choice([b"", b"\n\n", ",".join(export.header).encode()]))
    return rows.places


def _write_part(path: Path, rows: _Rows, draw: Random, export: Export) -> None:
    style = Style(end=draw.choice(["\n", "\n", "\r\n"]))
    if draw.random() < _WITHOUT_ROWS:
        header = style.line(export.header) + style.end
        path.write_bytes(draw.choice([b"", style.end.encode() * 2, header.encode(), b"\xef\xbb\xbf"]))
        return
    size = draw.choice([1, 2, draw.randrange(1, export.rows // 10 + 2), draw.randrange(1, export.rows // 3 + 2)])
    own, rows.left = rows.left[:size], rows.left[size:]
    text, starts = style.text([export.header, *own])
    content = (text if draw.random() < 0.7 else text.removesuffix(style.end)).encode(errors="surrogateescape")
    if draw.random() < _PACKED:
        ending = draw.choice([*PACKED])
        path, content = path.with_name(f"{path.name}.{ending}"), packed_content(content, ending, draw)
    path.write_bytes(content)
    rows.places += [(path.name, line) for line in starts[1:]]


def read_parts(directory: Path) -> list[Row]:
    """Read the parts by the standard library."""
    rows: list[Row] = []
    for file in sorted(directory.glob("part-*")):
        packed, content = file.suffix[1:], file.read_bytes()
        text = (PACKED[packed][1](content) if packed in PACKED else content).decode("utf-8-sig", "surrogateescape")
        if text.strip():
            rows += [(file.name, line, cells) for line, cells in records_in(text)]
    return rows


def sha256_of(path: Path) -> str:
    """The digest of an export: of its parts one after the other, if it is a directory."""
    files = sorted(path.glob("part-*")) if path.is_dir() else [path]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def entered_as(path: Path) -> Path:
    """The path that the job of an export has."""
    return path_of(path) if path.is_dir() else path
