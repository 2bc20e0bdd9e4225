"""The benchmark of kinds of exports: they hold the same rows, all are read, and its table says what was seen."""

import zipfile
from pathlib import Path

import orjson
import pytest

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.edges.exports import open_export
from pipeline.jobs.row_source import open_rows
from pipeline.settings.sections.engine import TARGET_MAX_BYTES
from pipeline.settings.sections.export import ExportSettings
from pipeline.settings.sections.mapping import MappingSettings
from tests.tools.bench import parts
from tests.tools.bench.format_files import COLUMNS, KINDS, MEMBERS, PARTS, PLAIN, Kind, chunks_of, rejects
from tests.tools.bench.formats import BEGIN, END, Measured, put_in, read, said

ROWS = 2_100
#: Kinds whose rows are made to be others than those of plain CSV.
OTHER = ("a backslash", "joined", "with decimals", "mapped")


async def sent(kind: Kind, directory: Path) -> tuple[bytes, int, int]:
    """The rows that an export of a kind comes to, and the numbers of records read and of those rejected."""
    path = directory / "export"
    kind.write(path, ROWS)
    keys = orjson.loads(kind.keys)
    settings = ExportSettings.model_validate(keys["export"])
    body, read, rejected = b"", 0, 0
    async with open_export(path, settings.encoding) as export:
        source = await open_rows(
            export,
            settings,
            Checkpoint(),
            open_export=open_export,
            carried=(),
            max_batch_bytes=TARGET_MAX_BYTES,
            salt=1,
            steps=MappingSettings.model_validate(keys["mapping"]).steps(b"", {}),
        )
        while (block := await source.read()) is not None:
            body += block.mapped.rows.body
            read += block.mapped.read
            rejected += len(block.mapped.rejects)
    return body, read, rejected


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_all_kinds_come_to_the_same_rows(kind: Kind, tmp_path: Path) -> None:
    for name in ("plain", "other"):
        (tmp_path / name).mkdir()
    plain = await sent(PLAIN, tmp_path / "plain")
    assert plain[1:] == (ROWS, rejects(ROWS)) == (2_100, 2)
    found = await sent(kind, tmp_path / "other")
    assert found[1:] == plain[1:]
    assert found[0].count(b"\n") == ROWS - 2
    assert (found[0] == plain[0]) is not any(name in kind.name for name in OTHER)


def test_rows_are_the_same_however_they_are_cut() -> None:
    (whole,) = chunks_of(ROWS)
    assert [row for chunk in chunks_of(ROWS, size=99) for row in chunk] == whole
    assert [row for chunk in chunks_of(ROWS, first=7, end=1_000, size=100) for row in chunk] == whole[7:1_000]
    assert {len(row) for row in whole} == {len(COLUMNS)}


def test_packed_files_have_several_members_and_directories_several_parts(tmp_path: Path) -> None:
    written = {kind.name: tmp_path / str(number) for number, kind in enumerate(KINDS)}
    for kind in KINDS:
        kind.write(written[kind.name], ROWS)
    assert len(zipfile.ZipFile(written["zip, 4 members"]).namelist()) == MEMBERS
    assert len([*written["a directory of 20 parts"].glob("part-*")]) == PARTS
    for name, magic in (("gzip, several members", b"\x1f\x8b\x08\0"), ("xz, several streams", b"\xfd7zXZ")):
        assert written[name].read_bytes().count(magic) >= MEMBERS


def test_a_reading_of_other_rows_than_were_written_ends_the_benchmark(tmp_path: Path) -> None:
    PLAIN.write(tmp_path / "export", ROWS)
    reading = read(PLAIN, tmp_path / "export", ROWS)
    assert reading.wall_s > 0
    assert reading.peak_bytes > 10_000_000
    with pytest.raises(SystemExit, match="read 2,100 rows of 2,101, 2 of them rejected"):
        read(PLAIN, tmp_path / "export", ROWS + 1)


def measured(name: str, wall_s: float, long_peak_bytes: int = 84_000_000) -> Measured:
    kind = next(kind for kind in KINDS if kind.name == name)
    return Measured(kind, wall_s, 2 * wall_s, 80_000_000, long_peak_bytes)


def test_the_table_says_what_was_seen() -> None:
    text = said([measured("CSV", 1.0), measured("UTF-16", 1.6), measured("Parquet", 4.0)], ROWS, 3)
    assert "2,100 rows of 8 columns, least times of 3 interleaved rounds" in text
    assert "| UTF-16 | its byte order mark | 0.62 | 1.6 × | 80 | 84 |" in text
    assert "Memory is flat: with 4 times the rows, no kind takes more than 1.05 × as much." in text
    assert "Other encodings than UTF-8 keep at least 0.62 of the speed." in text


def test_memory_that_grows_is_told() -> None:
    text = said([measured("CSV", 1.0), measured("Arrow", 1.0, 320_000_000)], ROWS, 3)
    assert "Memory grows with the rows: Arrow (4.00 ×)." in text
    assert "flat" not in text


def test_the_table_is_put_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}old\n{END}after\n")
    for _ in range(2):
        put_in(document, "new")
        assert document.read_text() == f"before\n{BEGIN}\nnew\n\n{END}after\n"
    document.write_text("no marks\n")
    with pytest.raises(SystemExit, match="has no lines"):
        put_in(document, "new")
    assert document.read_text() == "no marks\n"


def test_the_page_has_the_marks() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md").read_text()
    assert text.index(BEGIN) < text.index(END)


def test_parts_come_to_the_same_batches_as_one_file() -> None:
    told = parts.compared(parts=3, rows=50)
    assert "150 rows in 3 parts: 1 batches, 1 POSTs" in told
    assert "in one file: 1 batches, 1 POSTs" in told
