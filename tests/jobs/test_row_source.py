"""An open export gives the rows behind its header, however long that is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.edges.export_start import SHORT_BYTES
from pipeline.edges.exports import BLOCK_BYTES, open_export
from pipeline.jobs.row_source import open_rows, read_columns
from pipeline.settings.sections import TARGET_MAX_BYTES, ExportSettings

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
    assert await read_columns(path) == names
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
    "lines before, an escape": (
        b"sep=;\ntitle\nid;a\n" + b"".join(b"u%d;x\\;\\\ny\n" % n for n in range(60_000)),
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
        found = []
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
                stands = Checkpoint(position=block.end, digest_bytes=export.bytes_read, digest=export.sha256)
                found.append((block.mapped.rows.body, stands))
        return found

    whole = await read(Checkpoint())
    assert len(whole) > 2
    for number, (_, checkpoint) in enumerate(whole, 1):
        rest = await read(checkpoint)
        assert b"".join(body for body, _ in rest) == b"".join(body for body, _ in whole[number:])
        assert rest[-1][1].position == whole[-1][1].position
