"""`plan` and `load --dry-run` send nothing, touch no state directory, and end with the code with which a load would."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.tools.support import names_in, run_program, unheard, write_config, write_export

SECRET = ("Nightingale", "florence@nightingale.example", "4111111111111111")


async def test_the_shape_of_json(tmp_path: Path) -> None:
    export = write_export(tmp_path / "e.csv", "u1,gold,1", "u2,,2", ",gold,3")
    config = unheard(tmp_path).config(export={"max_rejects": "50%"})
    done = await run_program("plan", export, export, "--config", config, "--json")
    dry = await run_program("load", export, "--dry-run", "--config", config, "--json")
    assert (done.code, done.err) == (0, "")
    first, second = done.out.splitlines()
    assert first == second == dry.out.rstrip()
    told = orjson.loads(first)
    assert list(told)[:9] == [
        *("export", "columns", "rows", "rejects", "warnings", "batches", "calls", "spool_bytes", "minutes"),
    ]
    assert next(iter(told["rows"])) == "read"
    assert (told["rows"]["read"], told["rows"]["confirmed"], told["rows"]["rejected"]) == (3, 2, 1)
    assert told["rejects"]["by_reason"] == {"local.empty_id": 1}
    assert list(told["minutes"]) == ["1", "10", "60"]
    assert (told["batches"], told["calls"]) == (1, 2)
    assert names_in(tmp_path) == ["config.toml", "e.csv"]


async def test_no_value_is_shown(tmp_path: Path) -> None:
    name, mail, card = SECRET
    lines = [f"{card},{name},{mail},FR"] * 3 + [f'{card},"{name},{mail},FR']
    export = write_export(tmp_path / "e.csv", *lines, header="id,name,mail,land")
    for options in ([], ["--json"]):
        done = await run_program("plan", export, "--id-column", "id", *options, env={"COLUMNS": "200"})
        assert done.code == 65, "too many rejects"
        for text in (*SECRET, "FR", "florence"):
            assert text not in done.said
        assert "xx" in done.out
        assert "e-mail address" in done.out


async def test_what_a_person_reads(tmp_path: Path) -> None:
    lines = [*(f"u{number},a & b,{number}" for number in range(300)), "u1,,", "3.91E16,gold,1"]
    export = write_export(tmp_path / "e.csv", *lines)
    done = await run_program("plan", export, "--id-column", "id", env={"COLUMNS": "200"})
    assert done.code == 0
    for said in (
        "nothing was sent",
        "comma between cells (told by the header)",
        "302  rows read",
        "300  confirmed  would be sent",
        "Rejected: 1 local.id_number",
        "300 & not encoded",
        "300 rows lost; first on line 2",
        "1 batch of",
        "2 calls to Target at least",
        "10 min if a batch takes 10 min",
    ):
        assert said in done.out, said
    assert "\x1b" not in done.out


async def test_rows_before_and_after_the_mapping(tmp_path: Path) -> None:
    export = write_export(tmp_path / "e.csv", " u1 ,gold,1", "u2,,2", "u3,x,3")
    mapping = {"tier": {"case": "upper", "empty": "none"}, "exclude": {"ltv": ["3"]}, "constants": {"source": "crm"}}
    config = unheard(tmp_path).config(mapping=mapping)
    done = await run_program("plan", export, "--config", config, env={"COLUMNS": "200"})
    told = done.out[done.out.index("  As [mapping]") :].splitlines()[:10]
    assert told == [
        "  As [mapping] makes rows, masked:",
        "    line 2: sent",
        "      id: ' x9 ' becomes 'x9'",
        "      tier: 'xxxx' becomes 'XXXX'",
        "      source: 'crm' in every row",
        "    line 3: sent",
        "      tier: '' becomes 'xxxx'",
        "      source: 'crm' in every row",
        "    line 4: left out by column ltv",
        "",
    ]


async def test_while_another_process_holds_the_state_directory(tmp_path: Path) -> None:
    """It is not even looked at: nobody may make it, or read it."""
    export = write_export(tmp_path / "e.csv", "u1,gold,1")
    at = unheard(tmp_path)
    at.state.write_text("no directory")
    done = await run_program("plan", export, "--config", at.config(), "--json")
    assert done.code == 0


async def test_as_a_route_says(tmp_path: Path) -> None:
    export = write_export(tmp_path / "e.csv", "u1,gold,1")
    of_route = {
        "name": "crm",
        "drop": {"directory": str(tmp_path / "drop")},
        "export": {"id_column": "id", "columns": {"tier": "loyalty"}, "unlisted": "ignore"},
    }
    sections: dict[str, Any] = {
        "target": {"client_code": "acme"},
        "export": {"id_column": "nobody"},
        "state": {"directory": str(tmp_path / "state")},
        "routes": [of_route],
    }
    config = write_config(tmp_path / "c.toml", sections)
    done = await run_program("plan", export, "--config", config, "--route", "crm", "--json")
    assert done.code == 0
    told = orjson.loads(done.out)
    assert {each["name"]: each["sent_as"] for each in told["columns"]} == {
        "id": "thirdPartyId",
        "tier": "loyalty",
        "ltv": None,
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("plan", "gone.csv", "--id-column", "id"), 66, "gone.csv"),
        (("plan", "e.csv", "--id-column", "Id"), 65, "Did you mean 'id'?"),
        (("plan", "e.csv", "gone.csv", "--id-column", "id"), 66, "gone.csv"),
        (("plan", "e.csv"), 64, "--id-column NAME"),
        (("plan", "e.csv", "--config", "none.toml"), 78, "none.toml"),
        (("plan", "e.csv", "--config", "c.toml", "--id-column", "id"), 64, "instead of a --config"),
        (("plan", "c.toml", "--id-column", "id"), 64, "is a configuration, not an export"),
        (("load", "e.csv", "--dry-run"), 64, "--id-column NAME"),
    ],
    ids=str,
)
async def test_how_it_ends(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    write_export(tmp_path / "e.csv", "u1,gold,1")
    named = [str(tmp_path / each) if "." in each else each for each in arguments]
    done = await run_program(*named)
    assert done.code == code
    assert said in done.said
