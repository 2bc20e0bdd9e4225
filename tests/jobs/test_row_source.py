"""An open export gives the rows behind its header, however long that is."""

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.edges.export_start import SHORT_BYTES
from pipeline.edges.exports import BLOCK_BYTES, open_export
from pipeline.jobs.row_source import measure, open_rows, read_columns
from pipeline.settings.sections.engine import TARGET_MAX_BYTES
from pipeline.settings.sections.export import ExportSettings

NAME_BYTES = 100


def names_of(header_bytes: int) -> list[str]:
    """Names in a header line of at least so many bytes."""
    return ["id", *(f"n{number:0{NAME_BYTES - 1}}" for number in range(1 + header_bytes // NAME_BYTES))]


@pytest.mark.parametrize("header_bytes", [0, SHORT_BYTES - NAME_BYTES, SHORT_BYTES, BLOCK_BYTES, 2 * BLOCK_BYTES])
@pytest.mark.parametrize(("mark", "value_bytes"), [(b"", 1), (b"\xef\xbb\xbf", 1), (b"", SHORT_BYTES)])
async def test_the_rows_behind_a_header(tmp_path: Path, header_bytes: int, mark: bytes, value_bytes: int) -> None:
    names = names_of(header_bytes)
    rows = [f"u{number},{'x' * value_bytes}" + "," * (len(names) - 2) + "\n" for number in range(3)]
    path = tmp_path / "export.csv"
    path.write_bytes(mark + (",".join(names) + "\n" + "".join(rows)).encode())
    assert await read_columns(path, ExportSettings(id_column="id")) == names
    settings = ExportSettings(id_column="id", unlisted="send")
    texts, lines = [], []
    async with open_export(path) as export:
        source = await open_rows(
            export,
            settings,
            Checkpoint(),
            open_export=open_export,
            carried=(),
            max_batch_bytes=TARGET_MAX_BYTES,
            salt=1,
        )
        while (block := await source.read()) is not None:
            texts += [block.mapped.rows.text(index).decode() for index in range(len(block.mapped.rows))]
            lines += block.mapped.rows.lines.tolist()
            end = block.end
    assert texts == rows
    assert lines == [2, 3, 4]
    assert (end.offset, end.line) == (path.stat().st_size, 5)


EXPORTS: Mapping[str, tuple[bytes, Mapping[str, Any]]] = {
    "CR": (b"id,a\r" + b"".join(b'u%d,"x\ry"\r' % n for n in range(60_000)) + b"u,z\nv,w\r\n", {}),
    "a trailer": (b"id,a\n" + b"".join(b"u%d,x\n" % n for n in range(80_000)) + b"TOTAL\n80000\n", {"skip_last": 2}),
    "a trailer that counts": (
        b"id,a\n" + b"".join(b"u%d,x\n" % n for n in range(80_000)) + b"TRL|80000\n\n",
        {"trailer": "TRL|{rows}"},
    ),
    "lines before, an escape": (
        b"sep=;\ntitle\nid;a\n" + b"".join(b"u%d;x\\;\\\n%b\n" % (n, b"y" * 80) for n in range(8_000)),
        {"skip_first": 2, "escape": "\\"},
    ),
    "no header": (
        b"".join(b"u%d|x\r\n" % n for n in range(80_000)),
        {"header": False, "id_column": "1", "columns": {"2": "a"}, "unlisted": "ignore"},
    ),
}


@pytest.mark.parametrize("name", EXPORTS)
async def test_a_process_that_goes_on_reads_the_same(tmp_path: Path, name: str) -> None:
    """From wherever the one before stood, with all it found out from the beginning of the export."""
    data, keys = EXPORTS[name]
    path = tmp_path / "export.csv"
    path.write_bytes(data)
    settings = ExportSettings.model_validate({"id_column": "id", "unlisted": "send", **keys})

    async def read(checkpoint: Checkpoint) -> list[tuple[bytes, Checkpoint]]:
        """The rows of each block, and where reading stands behind it."""
        found, rows = [], checkpoint.read
        async with open_export(path) as export:
            source = await open_rows(
                export,
                settings,
                checkpoint,
                open_export=open_export,
                carried=(),
                max_batch_bytes=TARGET_MAX_BYTES,
                salt=1,
            )
            while (block := await source.read()) is not None:
                assert not block.mapped.rejects
                rows += block.mapped.read
                stands = Checkpoint(block.end, export.bytes_read, export.sha256, read=rows)
                found.append((block.mapped.rows.body, stands))
        return found

    whole = await read(Checkpoint())
    assert len(whole) > 2
    for number, (_, checkpoint) in enumerate(whole, 1):
        rest = await read(checkpoint)
        assert b"".join(body for body, _ in rest) == b"".join(body for body, _ in whole[number:])
        assert rest[-1][1].position == whole[-1][1].position


async def texts_of(path: Path, settings: ExportSettings, checkpoint: Checkpoint) -> list[tuple[Checkpoint, list[str]]]:
    """The encoded rows of each block from a checkpoint on, and the checkpoint behind it."""
    found = []
    async with open_export(path, settings.encoding) as export:
        source = await open_rows(
            export,
            settings,
            checkpoint,
            open_export=open_export,
            carried=(),
            max_batch_bytes=TARGET_MAX_BYTES,
            salt=1,
        )
        while (block := await source.read()) is not None:
            rows = block.mapped.rows
            texts = [f"{line} {rows.text(index).decode()}" for index, line in enumerate(rows.lines.tolist())]
            behind = Checkpoint(position=block.end, digest_bytes=export.bytes_read, digest=export.sha256)
            found.append((behind, texts))
    return found


AS_CSV = "id,city\n" + "".join(f"C-{n},München{n * n % 9_973}\n" for n in range(60_000))
AS_JSON = "\n".join(f'{{"id":"C-{n}","address":{{"city":"München{n * n % 9_973}"}}}}' for n in range(60_000))


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (gzip.compress(AS_CSV.encode()), "auto"),
        (AS_CSV.encode("utf-16"), "auto"),
        (gzip.compress(AS_CSV.encode("windows-1252")), "windows-1252"),
        (AS_JSON.encode("utf-8-sig"), "auto"),
        (gzip.compress(AS_JSON.encode()), "auto"),
    ],
    ids=["gzip", "utf-16", "gzip of windows-1252", "jsonl", "gzip of jsonl"],
)
async def test_going_on_in_a_form_that_is_not_csv_in_utf_8(tmp_path: Path, content: bytes, encoding: str) -> None:
    path = tmp_path / "export"
    path.write_bytes(content)
    settings = ExportSettings(id_column="id", unlisted="send", encoding=encoding)
    blocks = await texts_of(path, settings, Checkpoint())
    texts = [text for _, texts in blocks for text in texts]
    assert len(texts) == 60_000
    assert "C-59999,M%C3%BCnchen" in texts[-1]
    done = 0
    for place, (checkpoint, of_block) in enumerate(blocks):
        done += len(of_block)
        if place in (0, 3, len(blocks) - 2):
            again = await texts_of(path, settings, checkpoint)
            assert [text for _, texts in again for text in texts] == texts[done:]


@pytest.mark.parametrize(
    ("content", "rows", "columns"),
    [
        (gzip.compress(AS_CSV.encode()), 60_000, ("id", "city")),
        (AS_CSV.encode("utf-16"), 60_000, ("id", "city")),
        (AS_JSON.encode() + b"\n\nbroken\n", 60_001, ("id", "address.city")),
    ],
    ids=["gzip", "utf-16", "jsonl"],
)
async def test_measures(tmp_path: Path, content: bytes, rows: int, columns: tuple[str, ...]) -> None:
    """Sizes and digests are those of the file, as a manifest gives them."""
    path = tmp_path / "export"
    path.write_bytes(content)
    found = await measure(path, open_export, ExportSettings(id_column="id"))
    assert (found.size_bytes, found.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (found.rows, found.columns) == (rows, columns)
