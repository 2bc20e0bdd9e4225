"""Parquet and Arrow files are read as the text that people would write, in slices, and never halfway."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import FileIO
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import InputError
from pipeline.core.formats.cells import CellFramer
from pipeline.core.formats.file_kind import HEAD_BYTES, columnar_kind
from pipeline.edges.containers.columnar import ColumnarFile, open_columnar


def write_parquet(table: pa.Table, file: Path) -> None:
    pq.write_table(table, file)


def write_arrow(table: pa.Table, file: Path) -> None:
    with pa.OSFile(str(file), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def write_stream(table: pa.Table, file: Path) -> None:
    with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


KINDS = {"Parquet file": write_parquet, "Arrow file": write_arrow, "Arrow stream": write_stream}
Writer = Callable[[pa.Table, Path], None]


@contextmanager
def opened(file: Path) -> Iterator[ColumnarFile]:
    kind = columnar_kind(file.read_bytes()[:HEAD_BYTES])
    assert kind is not None
    with FileIO(file) as content:
        yield open_columnar(content, kind)


def rows_of(file: Path) -> list[list[str]]:
    with opened(file) as found:
        width, text = len(found.columns), b"".join(found.blocks())
    cells = text.split(b"\0")[:-1]
    return [[each.decode() for each in cells[at : at + width]] for at in range(0, len(cells), width)]


def texts_of(array: pa.Array, tmp_path: Path, write: Writer = write_arrow) -> list[str]:
    write(pa.table({"v": array}), tmp_path / "file")
    return [row[0] for row in rows_of(tmp_path / "file")]


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        ([True, False, None], pa.bool_(), ["true", "false", ""]),
        ([1, -2, None], pa.int8(), ["1", "-2", ""]),
        ([2**64 - 1], pa.uint64(), ["18446744073709551615"]),
        (
            [3.0, 0.1, -0.0, 12345678901.0, 123456789.5, 1e16, 1e-7, float("nan"), float("inf"), None],
            pa.float64(),
            ["3", "0.1", "0", "12345678901", "123456789.5", "1e+16", "1e-07", "", "inf", ""],
        ),
        ([0.1, 3.0, 1234.5, float("nan"), None], pa.float32(), ["0.1", "3", "1234.5", "", ""]),
        # As ids they would stand for several, and what has an exponent is rejected as one.
        (
            [2.0**53 - 1, 2.0**53, -(2.0**53)],
            pa.float64(),
            ["9007199254740991", "9.007199254740992e+15", "-9.007199254740992e+15"],
        ),
        ([2.0**24 - 1, 2.0**24], pa.float32(), ["16777215", "1.6777216e+07"]),
        ([1.5, None], pa.float16(), ["1.5", ""]),
        ([Decimal("0.0000001"), Decimal("1.5"), None], pa.decimal128(20, 7), ["0.0000001", "1.5000000", ""]),
        ([Decimal(12), Decimal(-7)], pa.decimal256(40, 0), ["12", "-7"]),
        ([date(2026, 11, 29), None], pa.date32(), ["2026-11-29", ""]),
        ([date(1912, 1, 2)], pa.date64(), ["1912-01-02"]),
        ([datetime.fromisoformat("2026-11-29T10:00")], pa.timestamp("s"), ["2026-11-29T10:00:00"]),
        ([datetime.fromisoformat("2026-11-29T10:00:00.120"), None], pa.timestamp("us"), ["2026-11-29T10:00:00.12", ""]),
        ([datetime(2026, 11, 29, 10, tzinfo=UTC)], pa.timestamp("ns", "Europe/Berlin"), ["2026-11-29T10:00:00Z"]),
        ([time(10, 5), time(1, 2, 3, 500_000)], pa.time64("us"), ["10:05:00", "01:02:03.5"]),
        ([timedelta(days=1), timedelta(milliseconds=1_500), None], pa.duration("ms"), ["86400", "1.5", ""]),
        (["München", "", None], pa.string(), ["München", "", ""]),
        (["a", "b" * 20, None], pa.string_view(), ["a", "b" * 20, ""]),
        ([b"abc", None], pa.binary(), ["abc", ""]),
        ([b"abc", None], pa.binary(3), ["abc", ""]),
        ([None, None], pa.null(), ["", ""]),
        ([UUID(int=5).bytes, None], pa.uuid(), [str(UUID(int=5)), ""]),
        ([[("k", "v")], [], None], pa.map_(pa.string(), pa.string()), ['{"k":"v"}', "", ""]),
        (["x", "y", None, "x"], pa.dictionary(pa.int32(), pa.string()), ["x", "y", "", "x"]),
    ],
)
def test_texts(values: list[Any], kind: pa.DataType, texts: list[str], tmp_path: Path) -> None:
    assert texts_of(pa.array(values, kind), tmp_path) == texts


@pytest.mark.parametrize("kind", KINDS)
def test_nested_columns_and_arrays(kind: str, tmp_path: Path) -> None:
    geo = pa.struct([("lat", pa.float64()), ("tags", pa.list_(pa.string()))])
    table = pa.table(
        {
            "id": ["C-1", "C-2", "C-3"],
            "address": pa.array(
                [{"city": "Ulm", "geo": {"lat": 48.4, "tags": ["a", "b"]}}, None, {"city": None, "geo": None}],
                pa.struct([("city", pa.string()), ("geo", geo)]),
            ),
            "orders": pa.array(
                [[{"sku": "x", "n": 1.5}], [], None], pa.list_(pa.struct({"sku": pa.string(), "n": pa.float64()}))
            ),
        }
    )
    KINDS[kind](table, tmp_path / "file")
    with opened(tmp_path / "file") as found:
        columns, text = found.columns, b"".join(found.blocks())
    assert columns == ("id", "address.city", "address.geo.lat", "address.geo.tags", "orders")
    framed = CellFramer(len(columns), sent=range(5)).feed(text)
    records = framed.exactly(np.arange(len(framed.ends)), b",")
    assert [getattr(each, "fields", None) for each in records] == [
        [b"C-1", b"Ulm", b"48.4", b"a|b", b'{"sku":"x","n":1.5}'],
        [b"C-2", b"", b"", b"", b""],
        [b"C-3", b"", b"", b"", b""],
    ]


def test_what_is_no_text_is_left_to_the_judge(tmp_path: Path) -> None:
    write_parquet(pa.table({"id": [b"a\0b", b"\xff", b"ok"], "v": ["x\n", "y", "z"]}), tmp_path / "file")
    with opened(tmp_path / "file") as found:
        text = b"".join(found.blocks())
    assert text == b"a\xc0\x80b\0x\n\0\xff\0y\0ok\0z\0"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("left", [0.02, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_never_whole(kind: str, left: float, tmp_path: Path) -> None:
    KINDS[kind](pa.table({"id": [f"secret-{n}" for n in range(5_000)]}), tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(whole[: int(len(whole) * left)])
    with pytest.raises(InputError) as error:
        rows_of(tmp_path / "file")
    told = "without its mark at the end" if kind == "Arrow stream" else f"{kind} that is cut off"
    assert told in str(error.value)
    assert "secret" not in str(error.value)


def test_a_stream_that_ends_between_two_batches_is_cut_off(tmp_path: Path) -> None:
    write_stream(pa.table({"id": ["a", "b", "c"]}), tmp_path / "file")
    (tmp_path / "file").write_bytes((tmp_path / "file").read_bytes()[:-8])
    with pytest.raises(InputError, match="without its mark at the end"):
        rows_of(tmp_path / "file")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_behind_another_is_not_lost(kind: str, tmp_path: Path) -> None:
    KINDS[kind](pa.table({"id": ["a"]}), tmp_path / "file")
    content = (tmp_path / "file").read_bytes()
    KINDS[kind](pa.table({"id": ["b", "c"]}), tmp_path / "file")
    (tmp_path / "file").write_bytes(content + (tmp_path / "file").read_bytes())
    with pytest.raises(InputError, match=f"{kind} with another one behind it"):
        rows_of(tmp_path / "file")


def test_a_page_that_is_damaged_fails_the_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [f"C-{n}" for n in range(5_000)]}), tmp_path / "file", compression="zstd")
    content = bytearray((tmp_path / "file").read_bytes())
    content[300:340] = bytes(40)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match="a Parquet file that is cut off"):
        rows_of(tmp_path / "file")


def test_a_type_that_has_no_text_is_refused_with_its_place(tmp_path: Path) -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    write_arrow(pa.table({"id": ["a"], "secret": union}), tmp_path / "file")
    with pytest.raises(InputError) as error, opened(tmp_path / "file"):
        pass
    assert "column 2 is of a type that has no text" in str(error.value)
    assert "secret" not in str(error.value)


def test_slices_of_one_large_row_group(tmp_path: Path) -> None:
    rows = 40_000
    pq.write_table(pa.table({"id": [f"C-{n}" for n in range(rows)], "v": list(range(rows))}), tmp_path / "file")
    assert rows_of(tmp_path / "file") == [[f"C-{n}", str(n)] for n in range(rows)]


def test_another_reader_says_the_same(tmp_path: Path) -> None:
    rows = 500
    table = pa.table(
        {
            "id": [f"C-{n}" for n in range(rows)],
            "n": pa.array([None if n % 7 == 0 else n * 10**9 for n in range(rows)], pa.int64()),
            "d": pa.array([Decimal(n).scaleb(-2) for n in range(rows)], pa.decimal128(18, 2)),
            "day": pa.array([date(2020, 1, 1) + timedelta(days=n) for n in range(rows)], pa.date32()),
            "text": [f'München, "{n}"\n' for n in range(rows)],
            "is": [n % 2 == 0 for n in range(rows)],
        }
    )
    pq.write_table(table, tmp_path / "file.parquet", row_group_size=64)
    query = f"select * from read_parquet('{tmp_path / 'file.parquet'}')"
    names = ", ".join(
        f"coalesce(cast({name} as varchar), '')" for name in ('"id"', "n", "d", '"day"', '"text"', '"is"')
    )
    expected = duckdb.execute(query.replace("*", names)).fetchall()
    assert rows_of(tmp_path / "file.parquet") == [list(row) for row in expected]


def test_a_file_that_grows_beyond_all_measure_is_no_export(tmp_path: Path) -> None:
    write_parquet(pa.table({"id": ["x" * 1_000] * 20_000}), tmp_path / "file")
    assert (tmp_path / "file").stat().st_size < 20_000
    with FileIO(tmp_path / "file") as content:
        file = open_columnar(content, "Parquet file", judged_from_bytes=1_000_000)
        told = "the Parquet file grows to more than 500 times its size: .* write the export as CSV"
        with pytest.raises(InputError, match=told):
            list(file.blocks())
        # No more than a gigabyte is worth a word.
        assert sum(map(len, open_columnar(content, "Parquet file").blocks())) == 20_020_000


def test_without_pyarrow_the_message_says_how_to_get_it(tmp_path: Path) -> None:
    write_parquet(pa.table({"id": ["a"]}), tmp_path / "file")
    program = (
        "import sys; from io import FileIO; sys.modules['pyarrow'] = None\n"
        "from pipeline.edges.containers.columnar import open_columnar\n"
        "try: open_columnar(FileIO(sys.argv[1]), 'Parquet file')\n"
        "except Exception as error: print(error)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "file")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Parquet file" in told
    assert "make install EXTRA=columnar" in told
