"""Exports as systems write them, through the real program: without a word where it can be told, else with a key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.tools.support import Bench, Ended, bench, run_program

BOM = b"\xef\xbb\xbf"
EXPORT: Mapping[str, Any] = {"id_column": "crm_id", "columns": {}, "unlisted": "send"}


@dataclass(frozen=True, slots=True)
class File:
    """What a system writes, the keys of [export] that it takes, and the profiles that there are then."""

    content: bytes
    profiles: Mapping[str, Mapping[str, str]]
    keys: Mapping[str, Any] = field(default_factory=dict)


def crlf(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()


TOLD: Mapping[str, File] = {
    # Every cell in quotes, CR LF.
    "salesforce.csv": File(
        crlf('"crm_id","Tier","City"', '"0031t00002xyAAQ","Gold","Sankt Gallen"', '"0031t00002xyBBQ","","Zürich"'),
        {"0031t00002xyAAQ": {"Tier": "Gold", "City": "Sankt Gallen"}, "0031t00002xyBBQ": {"City": "Zürich"}},
    ),
    # A byte order mark, and semicolons.
    "dynamics.csv": File(
        BOM + crlf("crm_id;Tier;City", "d-1;Gold;Århus", 'd-2;Silver;"Køge; Havn"'),
        {"d-1": {"Tier": "Gold", "City": "Århus"}, "d-2": {"Tier": "Silver", "City": "Køge; Havn"}},
    ),
    "hubspot.csv": File(
        b'"crm_id","Lifecycle","Note"\n"8101","lead","said ""yes""\nto all"\n"8102","customer",""\n',
        {"8101": {"Lifecycle": "lead", "Note": 'said "yes" to all'}, "8102": {"Lifecycle": "customer"}},
    ),
    "adobe_campaign.txt": File(
        crlf("crm_id\tTier\tCity", "ac-1\tgold\tLa Défense", "ac-2\t\tNîmes"),
        {"ac-1": {"Tier": "gold", "City": "La Défense"}, "ac-2": {"City": "Nîmes"}},
    ),
    # Without a value: \N; quotes only where they must be.
    "snowflake.csv": File(
        b'crm_id,Tier,City\nsf-1,\\N,"Washington"\nsf-2,gold,\\N\n',
        {"sf-1": {"City": "Washington"}, "sf-2": {"Tier": "gold"}},
    ),
    "bigquery.csv": File(b"crm_id,Tier,City\nbq-1,,Oslo\n", {"bq-1": {"City": "Oslo"}}),
    # "Unicode text" of Excel.
    "excel.txt": File(
        "crm_id\tTier\tCity\r\nx-1\tgold\tŁódź\r\n".encode("utf-16"), {"x-1": {"Tier": "gold", "City": "Łódź"}}
    ),
    "sep.csv": File(crlf("sep=;", "crm_id;Tier", "x-2;gold"), {"x-2": {"Tier": "gold"}}),
    "caret.csv": File(b"crm_id^Tier^City\nm-1^gold^a|b;c\n", {"m-1": {"Tier": "gold", "City": "a|b;c"}}),
    "hive_with_a_header.txt": File(b"crm_id\x01Tier\x01City\nh-1\x01\\N\x01a,\tb\n", {"h-1": {"City": "a \tb"}}),
}


async def load(at: Bench, content: bytes, name: str = "export.csv", **keys: Any) -> Ended:
    """Load these bytes as a file."""
    file = at.directory / name
    file.write_bytes(content)
    return await run_program("load", file, "--config", at.config(export={**EXPORT, **keys}), "--json")


async def test_without_a_word(tmp_path: Path) -> None:
    """All of them with the same configuration, which names the id column."""
    for name, file in TOLD.items():
        (tmp_path / name).write_bytes(file.content)
    files = [tmp_path / name for name in TOLD]
    async with bench(tmp_path) as at:
        done = await run_program("load", *files, "--config", at.config(export=dict(EXPORT)), "--json")
        assert done.code == 0, done.said
        reports = [orjson.loads(line) for line in done.out.splitlines()]
        assert [(report["export"]["name"], report["state"]) for report in reports] == [(name, "done") for name in TOLD]
        assert at.sandbox.profiles() == {key: value for file in TOLD.values() for key, value in file.profiles.items()}


NO_HEADER: Mapping[str, Any] = {
    "header": False,
    "id_column": "1",
    "columns": {"2": "tier", "3": "city"},
    "unlisted": "ignore",
}
WITH_KEYS: Mapping[str, File] = {
    "Excel": File(
        crlf("sep=;", "crm_id;Größe;Ort", "x-1;8 €;Köln").decode().encode("windows-1252"),
        {"x-1": {"groesse": "8 €", "Ort": "Köln"}},
        {"encoding": "windows-1252", "columns": {"Größe": "groesse"}},
    ),
    "Redshift": File(
        b'rs-1|gold|a\\|b\\\\\nrs-2|\\N|C:\\new\nrs-3|iron|two\\\nlines\nrs-4|\\"x\\"|Bonn\n',
        {
            "rs-1": {"tier": "gold", "city": "a|b\\"},
            "rs-2": {"city": "C:\\new"},
            "rs-3": {"tier": "iron", "city": "two lines"},
            "rs-4": {"tier": '"x"', "city": "Bonn"},
        },
        {**NO_HEADER, "delimiter": "|", "escape": "\\"},
    ),
    "Hive": File(
        b'h-1\x01gold\x01a, "b" and c\nh-2\x01\\N\x01Bern\n',
        {"h-1": {"tier": "gold", "city": 'a  "b" and c'}, "h-2": {"city": "Bern"}},
        {**NO_HEADER, "delimiter": "\x01", "quote": ""},
    ),
    "Spark": File(
        b'crm_id,tier,city\nsp-1,"say \\"hi\\", friend","a\\\\"\nsp-2,gold,Ulm\n',
        {"sp-1": {"tier": 'say "hi"  friend', "city": "a\\"}, "sp-2": {"tier": "gold", "city": "Ulm"}},
        {"escape": "\\"},
    ),
    "a mainframe": File(
        crlf("HDR|20261128|CRM", "crm_id|tier|city", "t-1|gold|Reims", "t-2|iron|Metz", "TRL|0000000002") + b"\r\n\x1a",
        {"t-1": {"tier": "gold", "city": "Reims"}, "t-2": {"tier": "iron", "city": "Metz"}},
        {"skip_first": 1, "trailer": "TRL|{rows}"},
    ),
}


@pytest.mark.parametrize("system", WITH_KEYS)
async def test_with_a_key(tmp_path: Path, system: str) -> None:
    file = WITH_KEYS[system]
    async with bench(tmp_path) as at:
        done = await load(at, file.content, **file.keys)
        assert done.code == 0, done.said
        assert at.sandbox.profiles() == file.profiles


class TestTrailers:
    """A file that was cut off, or from which rows are missing, is never done; nothing is sent of a small one."""

    ROWS = b"crm_id,tier\nt-1,gold\nt-2,iron\n"

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (ROWS, "its last line is no trailer as [export] trailer = 'TRL|{rows}' says"),
            (ROWS + b"TRL|3\n", "its trailer tells 3 rows, and 2 were read"),
        ],
    )
    async def test_a_file_that_is_not_whole(self, tmp_path: Path, content: bytes, told: str) -> None:
        async with bench(tmp_path) as at:
            done = await load(at, content, trailer="TRL|{rows}")
            assert (done.code, done.report["state"], at.sandbox.profiles()) == (65, "failed", {})
            assert told in done.report["error"]
            assert "iron" not in done.out + done.err

    async def test_each_part_has_its_own(self, tmp_path: Path) -> None:
        parts = tmp_path / "parts"
        parts.mkdir()
        (parts / "part-1.csv").write_bytes(self.ROWS + b"TRL|2\n")
        (parts / "part-2.csv").write_bytes(b"crm_id,tier\nt-3,tin\nTRL|1")
        keys = {**EXPORT, "trailer": "TRL|{rows}"}
        async with bench(tmp_path) as at:
            done = await run_program("load", parts, "--config", at.config(export=keys), "--json")
            assert done.code == 0, done.said
            assert at.sandbox.profiles() == {"t-1": {"tier": "gold"}, "t-2": {"tier": "iron"}, "t-3": {"tier": "tin"}}
            (parts / "part-2.csv").write_bytes(b"crm_id,tier\nt-4,tin\nTRL|3")
            done = await run_program("load", parts, "--config", at.config(export=keys), "--json")
            assert done.code == 65
            assert f"{parts / 'part-2.csv'} is not whole: its trailer tells 3 rows, and 1 were" in done.report["error"]
            (parts / "part-2.csv").write_bytes(b"\n")
            done = await run_program("load", parts, "--config", at.config(export=keys), "--json")
            assert done.code == 65
            assert "nothing stands in it, not even a trailer" in done.report["error"]
