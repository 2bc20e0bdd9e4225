"""Whatever is wrong with an export or its manifest, no cell, id or line of it is told anywhere outside the state.

Each fault is met by `load` or by the service. What everybody may read is looked through: output, log, reports, pages,
status and notices. Rejects and a header that cannot be used are kept in files that only their owner may read.
"""

import stat
from pathlib import Path
from typing import Any

import pytest

from tests.tools.dropping import Drop
from tests.tools.support import Ended, bench, run_program

CANARY = "Canary77"
#: In every cell, in the header too where that may be none.
ROW, OTHER = f"{CANARY}-a,{CANARY} gold,{CANARY}@b.example", f"{CANARY}-b,{CANARY},{CANARY}"
HEADER = "id,tier,ltv"
STRICT = {"max_rejects": 0}

EXPORTS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "no header": (f"{ROW}\n{OTHER}\n".encode(), {}),
    "no header, one column": (f"{CANARY}\n".encode(), {}),
    "a row with the name of a column": (
        f"{CANARY},tier,{CANARY} tie\n".encode(),
        {"columns": {"tier": "t", "anary7 tie": "x"}},
    ),
    "a header that is spelled alike": (f"I D,{CANARY},tiers\n{ROW}\n".encode(), {"columns": {"tier": "t"}}),
    "a row of line breaks": (f'id,"{CANARY}\n{CANARY}"\n{ROW}\n'.encode(), {}),
    "a header with a NUL": (f"{CANARY},\0\n{ROW}\n".encode(), {}),
    "a header that is not UTF-8": (f"{CANARY},\xff\n".encode("latin-1"), {}),
    "a header that does not close": (f'"{CANARY},{CANARY}\n{ROW}\n'.encode(), {}),
    "too many columns": (f"{ROW},{ROW},{ROW}\n".encode(), {"max_columns": 5}),
    "no such position": (f"{ROW}\n".encode(), {"header": False, "id_column": "9", "columns": {"8": "t"}}),
    "ragged rows": (f"{HEADER}\n{ROW},{ROW}\n{CANARY}\n".encode(), STRICT),
    "rows that are not UTF-8": (f"{HEADER}\n{CANARY}\xff,{CANARY},1\n".encode("latin-1"), STRICT),
    "rows with a NUL": (f"{HEADER}\n{CANARY}\0,{CANARY},1\n".encode(), STRICT),
    "a quote that does not close": (f'{HEADER}\n"{ROW}\n{OTHER}\n'.encode(), STRICT),
    "text behind a quote": (f'{HEADER}\n"{CANARY}"{CANARY},1,1\n'.encode(), STRICT),
    "the header in another order": (f"{HEADER}\n{ROW}\nltv,id,tier\n{OTHER}\n".encode(), {}),
    "the wrong encoding": (f"{HEADER}\n{ROW}\n".encode("utf-16"), {"encoding": "utf-8"}),
    "windows-1252": ("".join(f"{CANARY}\xe9,{CANARY}\xe9,1\n" for _ in range(30)).encode("latin-1"), {}),
    "a page": (f"<html><body>{CANARY}</body></html>".encode(), {}),
    "a workbook": (b"PK\x03\x04[Content_Types].xml" + CANARY.encode(), {}),
    "JSON that is none": (f'{{"id":"{CANARY}"}}\n{{"{CANARY}":}}\n'.encode(), STRICT),
    "JSON without the id": (f'{{"{CANARY}":"{CANARY}"}}\n'.encode(), {}),
    "a JSON array": (f'[{{"id":"{CANARY}"}}]'.encode(), {}),
    "ids that are none": (f"{HEADER}\n{CANARY}/1,{CANARY},1\n{CANARY}+,1,1\n".encode(), STRICT),
    "a sep that is none": (f"sep={CANARY[0]}\n{ROW}\n".encode(), {}),
}
MANIFESTS = {
    "rows": f"rows={CANARY}",
    "sha256": f"sha256={CANARY}",
    "columns": f"columns={ROW}",
    "another first column": f"columns={CANARY},tier,ltv",
    "a row": ROW,
    "an unknown key": f"{CANARY}={CANARY}",
    "an export": f"{HEADER}\n{ROW}\n",
    "JSON of an unknown key": f'{{"{CANARY}":"{CANARY}"}}',
    "a flag": f"again={CANARY}",
    "twice": f"{CANARY}=1\n{CANARY}=2",
    "a list": f'{{"columns":[["{CANARY}"]]}}',
}


def with_canaries(directory: Path) -> list[Path]:
    return [file for file in directory.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()]


async def assert_nothing_told(state: Path, config: Path, *ends: Ended) -> None:
    """No canary in what everybody may read; what holds one may be read by its owner only."""
    looked = [
        await run_program("status", "--all", "--config", config),
        await run_program("status", "--all", "--json", "--config", config),
    ]
    said = "".join(done.said for done in (*looked, *ends))
    assert CANARY not in said, said
    for file in with_canaries(state):
        # What was dropped keeps its own mode, in a folder that only its owner may enter.
        place = file.parent if file.parent.name == "drop" else file
        assert place != file or file.name in (
            "rejects.jsonl",
            "rejects.csv",
            "columns.json",
            "header.txt",
            "ledger.db",
            "ledger.db-wal",
        ), file
        assert not stat.S_IMODE(place.stat().st_mode) & 0o077, file


@pytest.mark.parametrize("name", EXPORTS)
async def test_a_load_tells_nothing_of_an_export(tmp_path: Path, name: str) -> None:
    content, export = EXPORTS[name]
    async with bench(tmp_path) as at:
        (tmp_path / "export.csv").write_bytes(content)
        config = at.config(export={"unlisted": "ignore" if "columns" in export else "send", **export})
        people = await run_program("load", tmp_path / "export.csv", "--config", config)
        assert people.code == 65, people.said
        await assert_nothing_told(at.state, config, people)


async def test_the_service_tells_nothing_of_exports(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        drop = Drop(at)
        for number, content in enumerate(content for content, export in EXPORTS.values() if not export):
            (drop.directory / f"{number}.csv").write_bytes(content)
            (drop.directory / f"{number}.csv.ready").touch()
        done = await drop.drain()
        assert {report["state"] for report in drop.reports()} == {"failed"}
        await assert_nothing_told(at.state, drop.config(), done)


async def test_the_service_tells_nothing_of_manifests(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        drop = Drop(at)
        for number, manifest in enumerate(MANIFESTS.values()):
            drop.put(f"{number}.csv", "u1,1,1", signal_as=f"{number}.csv.ready", manifest=manifest)
        done = await drop.drain(export={"header": True})
        errors = [report["error"] for report in drop.reports()]
        assert len(errors) == len(MANIFESTS)
        assert all(errors), errors
        await assert_nothing_told(at.state, drop.config(), done)
