"""`init` writes a configuration with which `plan` works, of exports as people have them, without a value of theirs."""

import gzip
import tomllib
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.tools.support import Ended, run_program

CRM = (
    "Customer Id,Vorname,E-Mail,Loyalty Tier,LTV (EUR),profile.score\n"
    "c-1,Florence,florence@example.com,gold,1.5,7\n"
    "c-2,Ada,ada@example.com,,2.5,8\n"
    "c-1,Florence,,silver,3.5,9\n"
)
EXPORTS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "crm": (
        CRM.encode(),
        {
            "id_column": "Customer Id",
            "columns": {"Loyalty Tier": "Loyalty_Tier", "LTV (EUR)": "LTV_EUR", "profile.score": "score"},
        },
    ),
    "german": (
        (
            "\ufeffKunden_Nr;Straße;Umsatz;Kontakt\r\n1;Weg 1;1,5;+49 170 1234567\r\n2;Weg 2;2,5;+49 171 7654321\r\n"
        ).encode(),
        {"id_column": "Kunden_Nr", "columns": {"Umsatz": "Umsatz"}},
    ),
    "without header": (
        b"a@example.com,gold,1\nb@example.com,silver,2\n",
        {"id_column": "1", "columns": {"2": "crm_2", "3": "crm_3"}, "header": False},
    ),
    "without header, of names": (
        b"u0,g0,Frau X0\nu1,g1,Frau X1\nu2,g2,Frau X2\n",
        {"id_column": "1", "columns": {"2": "crm_2", "3": "crm_3"}, "header": False},
    ),
    "json": (
        b'{"id": "u1", "address": {"street": "Road 1", "zip": "1"}}\n{"id": "u2", "address": {"zip": "2"}}\n',
        {"id_column": "id", "columns": {"address.zip": "address_zip"}},
    ),
    "title, packed": (
        gzip.compress(b"Report of November\nid,tier\n1,gold\n2,silver\n3,gold\n"),
        {"id_column": "id", "columns": {"tier": "tier"}, "skip_first": 1},
    ),
    "escaped": (
        b'id,note,tier\n1,"say \\"hi, you\\"",a\n2,"\\"x\\",",b\n',
        {"id_column": "id", "columns": {"note": "note", "tier": "tier"}, "escape": "\\"},
    ),
    "escaped in quotes": (
        b'id,note,path\n1,"say \\"hi, you\\"",C:\\temp\n2,"\\"x\\",",\\N\n3,C:\\dir,c\n',
        {"id_column": "id", "columns": {"note": "note", "path": "path"}, "escape": "\\", "escape_in": "quotes"},
    ),
    "escaped everywhere": (
        b'id,note,path\n1,"say \\"hi, you\\"",C:\\\\temp\n2,"\\"x\\",",\\N\n3,a\\,b,c\n',
        {"id_column": "id", "columns": {"note": "note", "path": "path"}, "escape": "\\"},
    ),
    "escaped in quotes, at the ends of cells": (
        b'id,note,path\n1,"say \\"hi, you\\"",C:\\\\\n2,D:\\,"\\"b\\""\n3,E:\\,c\n',
        {"id_column": "id", "columns": {"note": "note", "path": "path"}, "escape": "\\", "escape_in": "quotes"},
    ),
}


async def drafted(directory: Path, data: bytes) -> tuple[Path, Ended]:
    export = directory / "export.csv"
    export.write_bytes(data)
    return export, await run_program("init", export)


async def test_ids_of_rows_without_any_value_count(tmp_path: Path) -> None:
    rows = "".join(f"c-{number},{'gold' if number % 2 else ''}\n" for number in range(40))
    _, ended = await drafted(tmp_path, b"customer_id,tier\n" + rows.encode())
    assert "Guessed: 40 different ids on 40 rows." in ended.out


@pytest.mark.parametrize("name", EXPORTS)
async def test_plan_and_check_work_with_it_and_no_value_is_in_it(tmp_path: Path, name: str) -> None:
    data, expected = EXPORTS[name]
    export, done = await drafted(tmp_path, data)
    assert (done.code, done.err) == (0, "")
    for value in (
        "Florence",
        "florence",
        "@example",
        "gold",
        "silver",
        "Weg 1",
        "+49",
        "Road",
        "say",
        "Report",
        "c-1",
        "Frau",
        "u0",
    ):
        assert value not in done.out, value
    config = tmp_path / "my.toml"
    config.write_text(done.out)
    of_export = tomllib.loads(done.out)["export"]
    assert of_export == {"unlisted": "ignore", **expected}
    planned = await run_program("plan", export, "--config", config, "--json")
    assert planned.code == 0, planned.said
    plan = orjson.loads(planned.out)
    assert plan["rows"]["rejected"] == 0
    assert plan["rows"]["read"] > 0
    assert {each["sent_as"] for each in plan["columns"]} - {None, "thirdPartyId"} == {*expected["columns"].values()}
    # Only the operator knows the client code.
    env = {"PROFILE_PIPELINE__TARGET__BASE_URL": "http://127.0.0.1:1"}
    checked = await run_program("config", "check", "--config", config, "--json", env=env)
    found = orjson.loads(checked.out)["findings"]
    assert {each["subject"] for each in found if each["verdict"] == "problem"} <= {"[target] base_url"}


async def test_personal_data_is_left_out_with_the_reason(tmp_path: Path) -> None:
    _, done = await drafted(tmp_path, CRM.encode())
    assert '# "Vorname" = "Vorname"    # left out: name of a person by its name' in done.out
    assert '# "E-Mail" = "E_Mail"    # left out: e-mail address by 100% of its values, and by its name' in done.out
    assert 'hash = "sha256"' in done.out
    assert "# Guessed: 2 different ids on 3 rows, 1 of them on several rows" in done.out


async def test_ids_that_are_mail_addresses(tmp_path: Path) -> None:
    _, done = await drafted(tmp_path, b"E-Mail,tier\na@example.com,x\nb@example.com,x\n")
    assert tomllib.loads(done.out)["export"]["id_column"] == "E-Mail"
    assert "The ids are e-mail addresses" in done.out
    assert '# [mapping."E-Mail"]\n# hash = "sha256"' in done.out


async def test_another_encoding_is_for_whoever_knows_it(tmp_path: Path) -> None:
    export, done = await drafted(tmp_path, "id,Straßenname,Prämie\n1,Süd,x\n2,Öl,y\n".encode("windows-1252"))
    assert done.code == 0
    assert '# encoding = "windows-1252"' in done.out
    assert "encoding" not in tomllib.loads(done.out)["export"]
    config = tmp_path / "my.toml"
    config.write_text(done.out.replace('# encoding = "windows-1252"', 'encoding = "windows-1252"'))
    planned = await run_program("plan", export, "--config", config)
    assert planned.code == 0, planned.said
    assert "WINDOWS-1252" in planned.out or "CP1252" in planned.out


async def test_without_a_column_that_looks_like_an_id(tmp_path: Path) -> None:
    _, done = await drafted(tmp_path, b"tier,note\ngold,a\ngold,a\n")
    assert tomllib.loads(done.out)["export"]["id_column"] == "NAME_OF_THE_ID_COLUMN"


async def test_names_that_are_hostile(tmp_path: Path) -> None:
    _, done = await drafted(tmp_path, 'id,"a""]\\\x1b[2J",b#\u202ec,b#\u202ec\n1,2,3,4\n2,3,4,5\n'.encode())
    assert done.code == 0
    assert tomllib.loads(done.out)["export"]["columns"] == {'a"]\\\x1b[2J': "a_2J"}
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out


class TestOutput:
    async def test_a_file_is_never_replaced_unasked(self, tmp_path: Path) -> None:
        export, output = tmp_path / "e.csv", tmp_path / "my.toml"
        export.write_text(CRM)
        output.write_text("precious")
        refused = await run_program("init", export, "--output", output)
        assert (refused.code, output.read_text()) == (64, "precious")
        forced = await run_program("init", export, "--output", output, "--force")
        assert (forced.code, forced.out) == (0, "")
        assert tomllib.loads(output.read_text())["export"]["id_column"] == "Customer Id"
        assert "Fill in what is in capitals" in forced.err

    async def test_where_it_cannot_be_written(self, tmp_path: Path) -> None:
        export = tmp_path / "e.csv"
        export.write_text(CRM)
        done = await run_program("init", export, "--output", tmp_path / "none" / "my.toml")
        assert done.code == 78
        assert "cannot write" in done.err

    @pytest.mark.parametrize(("data", "code"), [(None, 66), (b"", 65), (b"%PDF-1.7", 65)])
    async def test_of_no_export(self, tmp_path: Path, data: bytes | None, code: int) -> None:
        export = tmp_path / "e.csv"
        if data is not None:
            export.write_bytes(data)
        done = await run_program("init", export)
        assert (done.code, done.out) == (code, "")
