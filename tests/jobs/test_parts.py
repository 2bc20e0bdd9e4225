"""An export of several parts gives the rows of the one file that they were cut from, from any checkpoint on."""

import asyncio
import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.errors import InputError
from pipeline.edges.exports import open_export
from pipeline.jobs.row_source import measure, open_rows
from pipeline.settings.sections.export import ExportSettings

SETTINGS = ExportSettings(id_column="id", unlisted="send")
#: The text of a row, the file it stands in, and its line there.
Row = tuple[bytes, str, int]


async def read(path: Path, checkpoint: Checkpoint, settings: ExportSettings = SETTINGS) -> list[Row | Checkpoint]:
    """The rows from a checkpoint on, and the checkpoint behind each block."""
    found: list[tuple[bytes, int] | Checkpoint] = []
    async with open_export(path, settings.encoding) as export:
        source = await open_rows(
            export, settings, checkpoint, open_export=open_export, carried=(), max_batch_bytes=10_000_000, salt=1
        )
        while (block := await source.read()) is not None:
            checkpoint.begin(block.begins)
            checkpoint.note(block.mapped)
            checkpoint.position = block.end
            checkpoint.digest_bytes, checkpoint.digest = block.bytes_read, block.sha256
            rows = block.mapped.rows
            found += [(rows.text(index), line) for index, line in enumerate(rows.lines.tolist())]
            found.append(Checkpoint.from_dict(checkpoint.as_dict()))
    # At the end, as the places of rows that were held or sent are told long after they were read.
    places = checkpoint.places("export")
    return [each if isinstance(each, Checkpoint) else (each[0], *places.of(each[1])) for each in found]


def rows_of(found: list[Row | Checkpoint]) -> list[Row]:
    return [each for each in found if not isinstance(each, Checkpoint)]


def write(directory: Path, parts: list[bytes]) -> Path:
    for number, part in enumerate(parts):
        (directory / f"part-{number:03}").write_bytes(part)
    (directory / "_SUCCESS").touch()
    return directory


RECORDS = st.lists(st.sampled_from([b"u1,x", b'u2,"a\nb"', b"u3,", b"u4,y", b""]), max_size=4)
MARKS = st.sampled_from([b"", b"\xef\xbb\xbf"])
PARTS = st.lists(
    st.one_of(
        st.sampled_from([b"", b"\n", b"\xef\xbb\xbf", b"id,a"]),
        st.tuples(
            RECORDS, st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.sampled_from([b"", b"\xef\xbb\xbf"])
        ).map(lambda drawn: drawn[3] + drawn[1].join([b"id,a", *drawn[0]]) + drawn[1] * drawn[2]),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=15)
@given(PARTS)
def test_any_parts_are_read_as_each_of_them_alone_and_from_anywhere(parts: list[bytes]) -> None:
    async def check(directory: Path) -> None:
        path = write(directory, [b"id,a\n", *parts])
        alone: list[Row] = []
        for number, part in enumerate(parts, 1):
            if part.removeprefix(b"\xef\xbb\xbf").strip():
                name = f"part-{number:03}"
                alone += [(text, name, line) for text, _, line in rows_of(await read(path / name, Checkpoint()))]
        whole = await read(path, Checkpoint())
        assert rows_of(whole) == alone
        last = whole[-1]
        assert isinstance(last, Checkpoint)
        assert [part.name for part in last.parts] == [f"part-{number:03}" for number in range(len(parts) + 1)]
        assert sum(part.rows for part in last.parts) == last.read
        for place, stands in enumerate(whole):
            if isinstance(stands, Checkpoint):
                goes_on = Checkpoint.from_dict(stands.as_dict())
                assert rows_of(await read(path, goes_on)) == rows_of(whole[place:])
                assert (goes_on.parts, goes_on.read, goes_on.digest) == (last.parts, last.read, last.digest)
        found = await measure(path, open_export, SETTINGS)
        content = b"id,a\n" + b"".join(parts)
        assert (found.rows, found.size_bytes) == (last.read, len(content))
        assert found.sha256 == hashlib.sha256(content).hexdigest()

    with TemporaryDirectory() as directory:
        asyncio.run(check(Path(directory)))


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (b"id,b\nu1,x\n", "the header of .*part-001 is not that of part-000, .*: column 2 is another"),
        (b"a,id\nu1,x\n", "column 1 is another"),
        (b"id,a,b\nu1,x,y\n", "which has 2 columns: it has 3 columns"),
        (b'{"id":"u1","a":"x"}\n', "part-001 is JSON Lines, and part-000 before it is CSV"),
    ],
)
async def test_another_form_is_refused(tmp_path: Path, second: bytes, told: str) -> None:
    with pytest.raises(InputError, match=told):
        await read(write(tmp_path, [b"id,a\nu0,x\n", second]), Checkpoint())


@pytest.mark.parametrize("is_columnar_first", [False, True])
async def test_a_columnar_part_among_others_is_refused(tmp_path: Path, is_columnar_first: bool) -> None:
    path = write(tmp_path, [b"id,a\nu0,x\n"] * 2)
    pq.write_table(pa.table({"id": ["u1"], "a": ["x"]}), path / f"part-00{1 - is_columnar_first:d}")
    kinds = ("Parquet or Arrow", "CSV") if is_columnar_first else ("CSV", "Parquet or Arrow")
    with pytest.raises(InputError, match=f"part-001 is {kinds[1]}, and part-000 before it is {kinds[0]}"):
        await read(path, Checkpoint())


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("part-003", b"id,b\nu1,x\n", "the header of .*part-003 is not that of part-000"),
        ("part-003", b'\n\n{"id":"u1"}\n', "part-003 is JSON Lines"),
        ("part-003.gz", b"\x1f\x8b\x08 and no archive", "part-003.gz cannot be loaded"),
    ],
)
async def test_a_wrong_part_is_refused_before_any_row_is_read(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    path = write(tmp_path, [b"id,a\nu0,x\n", b"", b"id,a\nu2,x\n"])
    (path / name).write_bytes(content)
    async with open_export(path, "auto") as export:
        with pytest.raises(InputError, match=told):
            await open_rows(
                export, SETTINGS, Checkpoint(), open_export=open_export, carried=(), max_batch_bytes=10_000, salt=1
            )


async def test_where_reading_goes_on_no_beginning_of_other_parts_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, [b"id,a\nu0,x\n", b"id,a\nu2,x\n"])
    first = (await read(path, Checkpoint()))[0]
    assert isinstance(first, Checkpoint)
    (path / "part-001").write_bytes(b"id,b\nu2,x\n")
    async with open_export(path, "auto") as export:
        await open_rows(export, SETTINGS, first, open_export=open_export, carried=(), max_batch_bytes=10_000, salt=1)


async def test_json_lines_have_the_keys_of_all_parts(tmp_path: Path) -> None:
    """The last line of a part has no line feed, and is none with the first of the next."""
    path = write(tmp_path, [b'{"id":"u1","a":"x"}', b"", b'{"id":"u2","b":"y"}\n'])
    assert rows_of(await read(path, Checkpoint())) == [(b"u1,x,\n", "part-000", 1), (b"u2,,y\n", "part-002", 1)]


async def test_a_part_that_changed_is_refused_when_reading_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path, [b"id,a\nu1,x\n", b"id,a\nu2,x\n"])
    last = (await read(path, Checkpoint()))[-1]
    assert isinstance(last, Checkpoint)
    (path / "part-000").write_bytes(b"id,a\nu1,y\n")
    with pytest.raises(InputError, match="part-001 was changed"):
        await read(path, last)


async def test_a_directory_within_is_refused(tmp_path: Path) -> None:
    (tmp_path / "year=2026").mkdir()
    with pytest.raises(InputError, match="holds the directory year=2026"):
        await read(tmp_path, Checkpoint())
