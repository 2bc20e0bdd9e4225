"""Exports of every kind, all with the same rows of data as it is in Europe; the same bytes each time.

Eight columns, some 75 bytes a row as CSV. One row in a thousand has no id, and is a reject.
"""

import bz2
import gzip
import lzma
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ID_COLUMN = "crm_id"
COLUMNS = (ID_COLUMN, "tier", "city", "name", "note", "born", "spent", "visits")
#: Of so many rows one has no id, and one of Spark a value with escaped quotes.
ROWS_PER_REJECT, ROWS_PER_ESCAPE = 1_000, 100
#: Files of a directory, members of a zip archive, and the least of a file of any other packing.
PARTS, MEMBERS = 20, 4
_CHUNK_ROWS = 50_000
_NAMES = ("Müller", "Dupont", "García", "Schmidt", "Lefèvre", "Weiß", "Martin", "Rossi", "Núñez", "Jensen")
_CITIES = ("Paris", "München", "Orléans", "Ulm", "Córdoba", "Nantes", "Köln", "Lyon", "Málaga", "Århus")
_NOTES = ("called by phone", "wrote a letter", "", "visited the store", "met at the fair")
_ESCAPED = '"called \\"urgent\\" by phone"'

Row: TypeAlias = tuple[str, ...]
Chunks: TypeAlias = Iterator[bytes]
#: From a row to its line, with the line end.
Line: TypeAlias = Callable[[Row], str]


def rejects(rows: int) -> int:
    """The number of rows without an id among so many."""
    return rows // ROWS_PER_REJECT


@lru_cache(maxsize=1)
def _drawn(rows: int) -> tuple[list[NDArray[np.object_]], NDArray[np.datetime64], list[NDArray[np.int64]]]:
    """What stands in so many rows, however they are cut: texts, days, and numbers."""
    draw = np.random.default_rng(1)
    picked = [
        np.array(texts, dtype=object)[draw.integers(0, len(texts), rows)]
        for texts in (("gold", "silver", "iron"), _CITIES, _NAMES, _NOTES)
    ]
    days = np.datetime64("1940-01-01") + draw.integers(0, 25_000, rows)
    return picked, days, [draw.integers(100, 100_000, rows), draw.integers(0, 100, rows)]


def chunks_of(rows: int, *, first: int = 0, end: int | None = None, size: int = _CHUNK_ROWS) -> Iterator[list[Row]]:
    """The rows from `first` to `end` of so many, in chunks of at most this size: cells in the order of `COLUMNS`."""
    picked, days, (cents, visits) = _drawn(rows)
    stop = rows if end is None else end
    for start in range(first, stop, size):
        its = slice(start, min(start + size, stop))
        ids = [f"C-{number:08d}" if number % ROWS_PER_REJECT else "" for number in range(its.start + 1, its.stop + 1)]
        spent = [f"{each / 100:.2f}" for each in cents[its].tolist()]
        texts = [each[its].tolist() for each in picked]
        dates: list[str] = np.datetime_as_string(days[its]).tolist()
        yield [*zip(ids, *texts, dates, spent, map(str, visits[its].tolist()), strict=True)]


def line_of(delimiter: str = ",", *, is_quoted: bool = False) -> Line:
    """A way to write rows."""
    between, around = (f'"{delimiter}"', '"') if is_quoted else (delimiter, "")
    return lambda row: f"{around}{between.join(row)}{around}\n"


def _with_escape(row: Row) -> str:
    """As Spark writes a row whose note holds quotes."""
    note = _ESCAPED if row[0].endswith("50") else row[4]
    return f"{','.join(row[:4])},{note},{','.join(row[5:])}\n"


def _with_german_date(row: Row) -> str:
    return f"{','.join(row[:5])},{'.'.join(reversed(row[5].split('-')))},{','.join(row[6:])}\n"


def write_text(path: Path, rows: int, *, line: Line, encoding: str = "utf-8", trailer: str = "") -> None:
    """Write CSV, with a last line if there is a trailer."""
    with path.open("w", encoding=encoding, newline="") as file:
        file.write(line(COLUMNS))
        for chunk in chunks_of(rows):
            file.write("".join(map(line, chunk)))
        file.write(trailer.format(rows=rows))


def write_packed(path: Path, rows: int, *, pack: Callable[[bytes], bytes]) -> None:
    """Write CSV, packed as members one behind the other, at least `MEMBERS` of them."""
    with path.open("wb") as file:
        file.write(pack(line_of()(COLUMNS).encode()))
        for chunk in chunks_of(rows, size=min(_CHUNK_ROWS, -(-rows // MEMBERS))):
            file.write(pack("".join(map(line_of(), chunk)).encode()))


def write_zip(path: Path, rows: int) -> None:
    """Write an archive of `MEMBERS` members, each with the header."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, part in enumerate(_parts(rows, MEMBERS)):
            with archive.open(f"part-{number:05d}.csv", "w") as file:
                file.writelines(part)


def write_directory(path: Path, rows: int) -> None:
    """Write `PARTS` files, each with the header, as Spark does."""
    path.mkdir()
    for number, part in enumerate(_parts(rows, PARTS)):
        with (path / f"part-{number:05d}.csv").open("wb") as file:
            file.writelines(part)
    (path / "_SUCCESS").touch()


def _parts(rows: int, count: int) -> Iterator[Chunks]:
    """CSV in so many parts of the same size, each in pieces."""
    return (_part(rows, rows * number // count, rows * (number + 1) // count) for number in range(count))


def _part(rows: int, first: int, end: int) -> Chunks:
    line = line_of()
    yield line(COLUMNS).encode()
    for chunk in chunks_of(rows, first=first, end=end):
        yield "".join(map(line, chunk)).encode()


def write_json(path: Path, rows: int, *, made: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write JSON Lines of objects that are made of those with the cells as texts, and `visits` as a number."""
    with path.open("wb") as file:
        for chunk in chunks_of(rows):
            objects = ({**dict(zip(COLUMNS, row, strict=True)), "visits": int(row[-1])} for row in chunk)
            file.write(b"".join(orjson.dumps(made(each)) + b"\n" for each in objects))


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    return {ID_COLUMN: row[ID_COLUMN], "person": {key: row[key] for key in COLUMNS[1:6]}, "sales": {
        key: row[key] for key in COLUMNS[6:]}}  # fmt: skip


_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in COLUMNS[:5]),
        ("born", pa.date32()),
        ("spent", pa.decimal128(12, 2)),
        ("visits", pa.int64()),
    ]
)


def _tables(rows: int) -> Iterator[pa.Table]:
    for chunk in chunks_of(rows):
        *texts, born, spent, visits = zip(*chunk, strict=True)
        cells = [[*map(date.fromisoformat, born)], [*map(Decimal, spent)], [*map(int, visits)]]
        yield pa.table([*texts, *cells], schema=_SCHEMA)


def write_parquet(path: Path, rows: int) -> None:
    """Write Parquet, a row group for each chunk."""
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        for table in _tables(rows):
            writer.write_table(table)


def write_arrow(path: Path, rows: int) -> None:
    """Write an Arrow file, a record batch for each chunk."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        for table in _tables(rows):
            writer.write_table(table)


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A kind of export.

    `name`: for people.
    `told`: how it is told, in a few words.
    `write`: writes so many rows at a path.
    `export`, `mapping`: the keys that a configuration needs for it, besides `id_column` and `unlisted`.
    """

    name: str
    told: str
    write: Callable[[Path, int], None]
    export: Mapping[str, Any] = field(default_factory=dict)
    mapping: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> str:
        """Its keys, as `transform` takes them."""
        export = {"id_column": ID_COLUMN, "unlisted": "send", **self.export}
        return orjson.dumps({"export": export, "mapping": dict(self.mapping)}).decode()


PLAIN = Kind("CSV", "it is nothing else", partial(write_text, line=line_of()))
_BY_HEADER, _BY_BYTES, _BY_BRACE = "the id column in its header", "its first bytes", "its first character, `{`"
#: Those that read another encoding.
TRANSCODED = ("UTF-16", "windows-1252", "ISO-8859-15")
_LISTED = {"unlisted": "ignore", "columns": {name: name for name in COLUMNS[1:]}}
_MAPPED = {
    ID_COLUMN: {"hash": "sha256_unsalted"},
    "tier": {"values": {"gold": "1", "silver": "2"}},
    "born": {"date": "%d.%m.%Y"},
    "spent": {"decimal": "."},
}

KINDS = (
    PLAIN,
    Kind("CSV, all cells in quotes", "as CSV", partial(write_text, line=line_of(is_quoted=True))),
    Kind("semicolons between cells", _BY_HEADER, partial(write_text, line=line_of(";"))),
    Kind("tabs", _BY_HEADER, partial(write_text, line=line_of("\t"))),
    Kind("`\\x01`, as Hive writes it", _BY_HEADER, partial(write_text, line=line_of("\x01"))),
    Kind("a backslash before quotes in 1 % of rows", "key `escape`", partial(write_text, line=_with_escape), {
        "escape": "\\"}),
    Kind("a trailer", "key `trailer`", partial(write_text, line=line_of(), trailer="TRL|{rows}\n"), {
        "trailer": "TRL|{rows}"}),
    Kind("UTF-16", "its byte order mark", partial(write_text, line=line_of(), encoding="utf-16")),
    *(
        Kind(name, "key `encoding`", partial(write_text, line=line_of(), encoding=name), {"encoding": name.lower()})
        for name in TRANSCODED[1:]
    ),
    Kind("gzip, several members", _BY_BYTES, partial(write_packed, pack=partial(gzip.compress, compresslevel=6))),
    Kind("zstd, several frames", _BY_BYTES, partial(write_packed, pack=zstd.compress)),
    Kind("bzip2, several streams", _BY_BYTES, partial(write_packed, pack=bz2.compress)),
    Kind("xz, several streams", _BY_BYTES, partial(write_packed, pack=partial(lzma.compress, preset=1))),
    Kind(f"zip, {MEMBERS} members", _BY_BYTES, write_zip),
    Kind(f"a directory of {PARTS} parts", "it is a directory", write_directory),
    Kind("JSON Lines", _BY_BRACE, partial(write_json, made=lambda row: row)),
    Kind("JSON Lines, `columns` listed", _BY_BRACE, partial(write_json, made=lambda row: row), _LISTED),
    Kind("JSON Lines, nested", _BY_BRACE, partial(write_json, made=_nested)),
    Kind("JSON Lines, an array joined", _BY_BRACE, partial(
        write_json, made=lambda row: {**row, "note": [row["tier"], row["city"]]})),
    Kind("JSON Lines, a number with decimals", _BY_BRACE, partial(
        write_json, made=lambda row: {**row, "spent": float(row["spent"])})),
    Kind("Parquet", _BY_BYTES, write_parquet),
    Kind("Arrow", _BY_BYTES, write_arrow),
    Kind("CSV, 3 columns mapped and ids hashed", "table `[mapping]`", partial(write_text, line=_with_german_date),
         mapping=_MAPPED),
)  # fmt: skip
