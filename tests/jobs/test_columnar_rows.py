"""Parquet and Arrow files give the rows that CSV and JSON Lines of the same content give, from any checkpoint on."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.errors import InputError
from pipeline.edges.exports import open_export
from pipeline.jobs.row_source import measure, open_rows
from pipeline.settings.sections.export import ExportSettings
from tests.jobs.test_parts import Row, read, rows_of

SETTINGS = ExportSettings(id_column="id", unlisted="send")
#: What another program makes of it stands in all four files; it writes them.
CONTENT = """
    select 'C-' || n as id,
        case when n % 7 = 0 then null else n * 1000000007 end as points,
        cast(n / 4 as decimal(18, 2)) as amount,
        date '2020-01-01' + cast(n as integer) as born,
        n % 2 = 0 as is_member,
        case when n % 5 = 0 then '' else 'München, "' || n || '"' || chr(10) || 'b' end as note
    from range(3000) as numbers(n)
"""
COPIES = {
    "export.csv": "format csv, header",
    "export.json": "format json",
    "export.parquet": "format parquet, row_group_size 2048",
    "export.zstd.parquet": "format parquet, compression zstd",
}


def copied(name: str, directory: Path) -> Path:
    duckdb.execute(f"copy ({CONTENT}) to '{directory / name}' ({COPIES[name]})")
    return directory / name


def arrow(directory: Path) -> Path:
    table = pq.read_table(copied("export.parquet", directory))
    with pa.OSFile(str(directory / "export.arrow"), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=1_000)
    return directory / "export.arrow"


async def texts_of(path: Path) -> list[bytes]:
    return [row[0] for row in rows_of(await read(path, Checkpoint(), SETTINGS))]


async def test_all_kinds_of_one_content_give_the_same_rows(tmp_path: Path) -> None:
    expected = await texts_of(copied("export.csv", tmp_path))
    assert len(expected) == 3_000
    for path in [*(copied(name, tmp_path) for name in COPIES if name != "export.csv"), arrow(tmp_path)]:
        assert await texts_of(path) == expected, path.name
    found = await measure(tmp_path / "export.parquet", open_export, SETTINGS)
    assert found.rows == 3_000
    assert found.columns == ("id", "points", "amount", "born", "is_member", "note")


@pytest.mark.parametrize("made", [lambda at: copied("export.parquet", at), arrow], ids=["parquet", "arrow"])
async def test_a_process_that_goes_on_reads_the_same(tmp_path: Path, made: Callable[[Path], Path]) -> None:
    path = made(tmp_path)
    found = await read(path, Checkpoint(), SETTINGS)
    rows: list[Row] = []
    for each in found:
        if isinstance(each, Checkpoint):
            assert rows_of(await read(path, each, SETTINGS)) == rows_of(found)[len(rows) :]
        else:
            rows.append(each)
    assert [row[2] for row in rows] == [*range(1, 3_001)]


async def test_a_process_goes_on_in_the_middle_of_a_block(tmp_path: Path) -> None:
    path = copied("export.parquet", tmp_path)
    expected = await texts_of(path)
    async with open_export(path, SETTINGS.encoding) as export:
        source = await open_rows(
            export, SETTINGS, Checkpoint(), open_export=open_export, carried=(), max_batch_bytes=10_000_000, salt=1
        )
        block = await source.read()
        assert block is not None
        first, _ = source.split(block, 1_234)
        stands = Checkpoint()
        stands.note(first.mapped)
        stands.position, stands.digest_bytes, stands.digest = first.end, export.bytes_read, export.sha256
    assert [row[0] for row in rows_of(await read(path, stands, SETTINGS))] == expected[1_234:]


async def test_files_of_a_directory_are_parts(tmp_path: Path) -> None:
    for number, ids in enumerate((["a", "b"], [], ["c"])):
        columns = {"id": pa.array(ids, pa.string()), "v": pa.array([1] * len(ids), pa.int64())}
        pq.write_table(pa.table(columns), tmp_path / f"part-{number}.parquet")
    (tmp_path / "_SUCCESS").touch()
    assert rows_of(await read(tmp_path, Checkpoint(), SETTINGS)) == [
        (b"a,1\n", "part-0.parquet", 1),
        (b"b,1\n", "part-0.parquet", 2),
        (b"c,1\n", "part-2.parquet", 1),
    ]


async def test_nested_names_become_names_that_target_takes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "address": [{"city": "Ulm"}]}), tmp_path / "export.parquet")
    async with open_export(tmp_path / "export.parquet", SETTINGS.encoding) as export:
        source = await open_rows(
            export, SETTINGS, Checkpoint(), open_export=open_export, carried=(), max_batch_bytes=10_000_000, salt=1
        )
        assert source.plan.parameters == ("address_city",)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("export.parquet", {"format": "csv"}, "it is a Parquet or Arrow file by its first bytes, and .export. format"),
        ("export.csv", {"format": "parquet"}, "it is no Parquet or Arrow file by its first bytes"),
        ("export.parquet", {"max_columns": 5}, "6 columns"),
    ],
)
async def test_what_is_refused(tmp_path: Path, name: str, options: dict[str, str], told: str) -> None:
    settings = SETTINGS.model_copy(update=options)
    with pytest.raises(InputError, match=told):
        await read(copied(name, tmp_path), Checkpoint(), settings)
