"""Exports that are written as a directory of parts of all sizes and kinds, and where each of their rows is then."""

import gzip
import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

from pipeline.edges.exports import path_of
from tests.tools.faults.loading import Export

#: The share of parts that hold no row, and of those that are packed.
_WITHOUT_ROWS, _PACKED = 0.25, 0.25


@dataclass(slots=True)
class _Lines:
    """Rows that are still to be written, and the places of those that are."""

    left: list[str]
    places: list[tuple[str, int]]


def write_parts(export: Export, directory: Path, seed: int) -> None:
    """Write an export as a directory of parts, and note in it where its rows are.

    Among them are empty and blank parts, such with a header only, parts of one row, packed ones, and lines that end
    as on Windows; the last line of some has no end.
    """
    draw = random.Random(seed)
    header, *rows = export.text.splitlines()
    lines, number = _Lines(rows, []), 0
    directory.mkdir()
    while lines.left or number < 2:
        _write_part(directory / f"part-{number:04}.csv", header, lines, draw, len(rows))
        number += 1
    if draw.random() < 0.5:
        (directory / f"part-{number:04}.csv").write_bytes(draw.choice([b"", b"\n\n", header.encode()]))
    (directory / "_SUCCESS").touch()
    export.places = lines.places


def _write_part(path: Path, header: str, lines: _Lines, draw: random.Random, rows: int) -> None:
    end = draw.choice(["\n", "\n", "\r\n"])
    if draw.random() < _WITHOUT_ROWS:
        path.write_bytes(draw.choice([b"", end.encode() * 2, (header + end).encode(), b"\xef\xbb\xbf"]))
        return
    size = draw.choice([1, 2, draw.randrange(1, rows // 10 + 2), draw.randrange(1, rows // 3 + 2)])
    own, lines.left = lines.left[:size], lines.left[size:]
    content = (end.join((header, *own)) + end * (draw.random() < 0.7)).encode()
    if draw.random() < _PACKED:
        path, content = path.with_name(f"{path.name}.gz"), gzip.compress(content, mtime=0)
    path.write_bytes(content)
    lines.places += [(path.name, line) for line in range(2, len(own) + 2)]


def sha256_of(path: Path) -> str:
    """The digest of an export: of its parts one after the other, if it is a directory."""
    files = sorted(path.glob("part-*")) if path.is_dir() else [path]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def entered_as(path: Path) -> Path:
    """The path that the job of an export has."""
    return path_of(path) if path.is_dir() else path
