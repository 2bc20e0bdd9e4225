"""The same rows come to the same in every kind of export: rows, rejects and lines, whole and from any checkpoint on."""

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest
from backports import zstd

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.edges.exports import open_export
from pipeline.jobs.row_source import open_rows
from pipeline.settings.sections.export import ExportSettings

COLUMNS = ("id", "tier", "city", "note")
_TIERS, _CITIES = ("gold", "tin", "iron & steel"), ("Köln", "Orléans, Loire", "", "São Paulo")
_NOTES = ("", 'says "hi"', "two\nlines", "50 % + more", "a,b;c|d")


def _id_of(number: int) -> str:
    """Ids come up to six times; one row in 60 has none, and another one that Target cannot take."""
    return {7: "", 11: f"a/{number}"}.get(number % 60, f"u{number * 7 % 50}")


ROWS = tuple((_id_of(n), _TIERS[n % 3], _CITIES[n % 4], _NOTES[n % 5]) for n in range(300))
REASONS = {7: "local.empty_id", 11: "local.id_character"}


def text_of(*rows: tuple[str, ...], **dialect: Any) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n", **dialect).writerows(rows)
    return written.getvalue()


PLAIN = text_of(COLUMNS, *ROWS)


def lines_from(first: int) -> list[int]:
    """The line on which each row begins in a text, if the first does on that one."""
    lines = [first]
    for row in ROWS[:-1]:
        lines.append(lines[-1] + 1 + sum(cell.count("\n") for cell in row))
    return lines


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(4):
            archive.writestr(f"{number}.csv", text_of(COLUMNS, *ROWS[75 * number : 75 * (number + 1)]))


def in_parts(path: Path) -> None:
    path.mkdir()
    for number in range(20):
        (path / f"part-{number:05}").write_text(text_of(COLUMNS, *ROWS[15 * number : 15 * (number + 1)]))


def lines_in_parts(parts: int) -> list[int]:
    """Lines counted through all parts, each with a header."""
    return [line + place // (300 // parts) for place, line in enumerate(lines_from(2))]


def table() -> pa.Table:
    return pa.table({name: [row[place] for row in ROWS] for place, name in enumerate(COLUMNS)})


def arrow(path: Path) -> None:
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, table().schema) as writer:
        writer.write_table(table(), max_chunksize=70)


@dataclass(frozen=True)
class Kind:
    """`duckdb`: the function by which DuckDB reads such a file, if it can."""

    write: Callable[[Path], object]
    lines: list[int]
    keys: Mapping[str, Any]
    duckdb: str = ""


def text(content: str, codec: str = "utf-8", first: int = 2, **keys: Any) -> Kind:
    return Kind(lambda path: path.write_bytes(content.encode(codec)), lines_from(first), keys)


def packed(pack: Callable[[bytes], bytes], reader: str = "") -> Kind:
    return Kind(lambda path: path.write_bytes(pack(PLAIN.encode())), lines_from(2), {}, reader)


def json_lines(shape: Callable[[dict[str, str]], dict[str, Any]], **keys: Any) -> Kind:
    objects = [shape(dict(zip(COLUMNS, row, strict=True))) for row in ROWS]
    content = b"".join(orjson.dumps(each) + b"\n" for each in objects)
    return Kind(lambda path: path.write_bytes(content), [*range(1, 301)], keys, "" if keys else "read_json_auto('{}')")


_CSV = "read_csv('{}', all_varchar = true, header = true, delim = ',', quote = '\"'%s)"
_NAMES = {f"in.{name}": name for name in COLUMNS[1:]}
KINDS = {
    "plain": packed(bytes, _CSV % ""),
    "quoted": text(text_of(COLUMNS, *ROWS, quoting=csv.QUOTE_ALL)),
    "windows-1252": text(PLAIN, "windows-1252", encoding="windows-1252"),
    "UTF-16": text(PLAIN, "utf-16"),
    "semicolons": text(text_of(COLUMNS, *ROWS, delimiter=";")),
    "control characters": text(text_of(COLUMNS, *ROWS, delimiter="\x01")),
    "escapes": text(text_of(COLUMNS, *ROWS, doublequote=False, escapechar="\\"), escape="\\"),
    "no header": text(
        text_of(*ROWS), first=1, header=False, id_column="1", unlisted="ignore",
        columns={"2": "tier", "3": "city", "4": "note"},
    ),
    "a trailer": text(f"{PLAIN}TRL|300\n", trailer="TRL|{rows}"),
    "lines around": text(f"report\n{PLAIN}end\n", first=3, skip_first=1, skip_last=1),
    "gzip": packed(gzip.compress, _CSV % ", compression = 'gzip'"),
    "zstd": packed(zstd.compress, _CSV % ", compression = 'zstd'"),
    "bzip2": packed(bz2.compress),
    "xz": packed(lzma.compress),
    "zip": Kind(zipped, lines_in_parts(4), {}),
    "parts": Kind(in_parts, lines_in_parts(20), {}),
    "JSON Lines": json_lines(lambda row: row),
    "nested JSON Lines": json_lines(
        lambda row: {"id": row.pop("id"), "in": row}, columns=_NAMES, unlisted="stop"
    ),
    "Parquet": Kind(
        lambda path: pyarrow.parquet.write_table(table(), path, row_group_size=70), [*range(1, 301)], {},
        "read_parquet('{}')",
    ),
    "Arrow": Kind(arrow, [*range(1, 301)], {}),
}  # fmt: skip


@dataclass(frozen=True)
class Read:
    """Rows with their lines, rejects likewise, and checkpoints with the rows and rejects before each."""

    rows: list[tuple[bytes, int]]
    rejects: list[tuple[int, str]]
    checkpoints: list[tuple[Checkpoint, int, int]]


async def read(path: Path, settings: ExportSettings, checkpoint: Checkpoint) -> Read:
    """Read an export from a checkpoint on; each block is split, as the end of a batch does."""
    found = Read([], [], [])
    async with open_export(path, settings.encoding) as export:
        source = await open_rows(
            export, settings, checkpoint, open_export=open_export, carried=(), max_batch_bytes=10_000_000, salt=1
        )
        while (block := await source.read()) is not None:
            half = len(block.mapped.rows) // 2
            for piece in source.split(block, half) if half else (block,):
                checkpoint.begin(piece.begins)
                checkpoint.note(piece.mapped)
                checkpoint.position = piece.end
                checkpoint.digest_bytes, checkpoint.digest = export.bytes_read, export.sha256
                rows = piece.mapped.rows
                found.rows.extend((rows.text(index), line) for index, line in enumerate(rows.lines.tolist()))
                found.rejects.extend((each.line, each.reason.value) for each in piece.mapped.rejects)
                copy = Checkpoint.from_dict(checkpoint.as_dict())
                found.checkpoints.append((copy, len(found.rows), len(found.rejects)))
    return found


def made(name: str, directory: Path) -> tuple[Path, ExportSettings]:
    kind = KINDS[name]
    kind.write(directory / "export")
    return directory / "export", ExportSettings(**{"id_column": "id", "unlisted": "send", **kind.keys})


@pytest.mark.parametrize("name", KINDS)
async def test_each_kind_comes_to_the_rows_and_rejects_of_plain_csv(name: str, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    expected = await read(*made("plain", tmp_path / "plain"), Checkpoint())
    assert len(expected.rows) == 290
    path, settings = made(name, tmp_path)
    found = await read(path, settings, Checkpoint())
    lines = KINDS[name].lines
    sent = [line for place, line in enumerate(lines) if place % 60 not in REASONS]
    assert found.rows == [(row, line) for (row, _), line in zip(expected.rows, sent, strict=True)]
    assert found.rejects == [(line, REASONS[n % 60]) for n, line in enumerate(lines) if n % 60 in REASONS]
    assert len(found.checkpoints) > 1
    for checkpoint, rows, rejects in found.checkpoints[:: 1 + len(found.checkpoints) // 6]:
        again = await read(path, settings, checkpoint)
        assert (again.rows, again.rejects) == (found.rows[rows:], found.rejects[rejects:])


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.duckdb])
def test_another_program_reads_the_same_rows_of_it(name: str, tmp_path: Path) -> None:
    path, _ = made(name, tmp_path)
    read_as = duckdb.execute(f"select {', '.join(COLUMNS)} from {KINDS[name].duckdb.format(path)}").fetchall()
    assert [tuple(cell or "" for cell in row) for row in read_as] == [*ROWS]
