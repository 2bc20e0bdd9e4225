"""A whole load with a [mapping]: what Target gets, what the report says, and what the salt decides."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.cli.config.mapping_check import check_mapping
from pipeline.core.errors import FatalError
from pipeline.settings.settings import load_settings
from tests.simulation.staged import deliver

LINES = ["a+1,G,3", "b,s,", "c,x,1", "d,S,2"]


def mapping(salt: Path, **more: Any) -> dict[str, Any]:
    steps = {"id": {"hash": "sha256"}, "tier": {"case": "lower", "values": {"g": "gold", "s": "silver", "x": "x"}}}
    return {"salt_file": str(salt), "constants": {"source": "crm"}, "exclude": {"ltv": ["2"]}, **steps, **more}


def test_ids_are_hashed_values_mapped_and_rows_left_out(tmp_path: Path) -> None:
    salt = tmp_path / "salt"
    salt.write_bytes(b"a salt that is long enough\n")
    done = deliver(tmp_path, *LINES, mapping=mapping(salt))
    hashed = {each: sha256(f"a salt that is long enough{each}".encode()).hexdigest() for each in ("a+1", "b", "c")}
    assert done.profiles == {
        hashed["a+1"]: {"tier": "gold", "ltv": "3", "source": "crm"},
        hashed["b"]: {"tier": "silver", "source": "crm"},
        hashed["c"]: {"tier": "x", "ltv": "1", "source": "crm"},
    }
    assert (done.report["rows"]["excluded"], done.report["excluded"]) == (1, {"ltv": 1})


def test_ids_alone_are_sent_with_constants(tmp_path: Path) -> None:
    """The third row is read by the letter."""
    export = {"columns": {}, "unlisted": "ignore"}
    done = deliver(tmp_path, "a,,", "b,x,", "  c ,x,", mapping={"constants": {"source": "crm"}}, export=export)
    assert done.profiles == {each: {"source": "crm"} for each in "abc"}


def test_a_rejected_row_is_shown_as_the_export_has_it(tmp_path: Path) -> None:
    salt = tmp_path / "salt"
    salt.write_bytes(b"a salt that is long enough")
    steps = mapping(salt, ltv={"decimal": ","}, exclude={})
    done = deliver(tmp_path, "a,G,3", "b,s,z", mapping=steps, export={"max_rejects": 5})
    (reject,) = map(orjson.loads, (done.folder / "rejects.jsonl").read_bytes().splitlines())
    assert (reject["reason"], reject["id"], reject["raw"]) == ("local.mapping_number", "b", "b,s,z")


def settings_with(tmp_path: Path, more: str) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(
        '[target]\nclient_code = "demo"\n[export]\nid_column = "id"\nunlisted = "ignore"\n'
        f'columns = {{ tier = "tier" }}\n[state]\ndirectory = "{tmp_path}"\n{more}'
    )
    return file


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[mapping.tier]\nvalues = { G = "gold" }\ncase = "lower"', "lists 'G'"),
        ('[mapping.tier]\ndate = "%d.%m.%Y"\ndecimal = ","', "date and decimal"),
        ('[mapping.tier]\nclear_as = "none"', "clear_values and clear_as together"),
        ('[mapping.tier]\nhash = "sha256"', "salt_file is required"),
        ('[mapping.city]\ncase = "lower"', "'city' is not sent"),
        ('[mapping.id]\nempty = "x"', "'id' is the id column"),
        ('[mapping]\nconstants = { tier = "x" }', "parameter 'tier'"),
        ("[mapping.tier]\ncas = 5", "did you mean case?"),
        ("[mapping.constants]\ntrim = true", "a column named 'constants' cannot be mapped"),
    ],
)
def test_contradictions_are_told(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(FatalError) as caught:
        load_settings(settings_with(tmp_path, more), env={})
    assert said in str(caught.value)


def test_config_check_tries_the_examples(tmp_path: Path) -> None:
    more = (
        '[mapping.tier]\ncase = "lower"\n[mapping.exclude]\nconsent = ["N"]\n'
        '[[mapping.examples]]\nin = { id = "7", tier = "G" }\nout = { id = "7", tier = "g" }\n'
        '[[mapping.examples]]\nin = { id = "7", consent = "N" }\nout = "excluded"\n'
    )
    assert [verdict for _, verdict, _ in check_mapping(load_settings(settings_with(tmp_path, more), env={}))] == ["ok"]
    wrong = more.replace('tier = "g" }', 'tier = "G" }')
    ((subject, verdict, text),) = check_mapping(load_settings(settings_with(tmp_path, wrong), env={}))
    assert (verdict, "number 1" in subject, text) == ("problem", True, "'tier' is to be 'G', and is 'g'")
