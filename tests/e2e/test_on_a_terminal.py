"""A person at a terminal runs the real program on what others have named: no byte of theirs is obeyed.

The terminal is a dumb one, so the program itself writes no escape sequence: whatever is not printable came through.
"""

import os
import pty
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.tools.support import CLOSED, program, sections_for, write_config

ATTACKS = {
    "escape": "a\x1b[2J",
    "title": "a\x1b]0;b\x07",
    "C1": "a\x9b31m",
    "next line": "a\x85b",
    "backspace": "a\x08b",
    "bidi": "a\u202eb",
    "isolate": "a\u2066b",
    "zero width": "a\u200bb",
    "line separator": "a\u2028b",
    "DEL": "a\x7fb",
    "tag": "a\U000e0041b",
    "styles": "[bold red]a[/]",
}


def seen(*arguments: str | Path) -> str:
    """What the program writes to a terminal, which both its outputs are."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "200"}
    with subprocess.Popen([*program(), *arguments], stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        said = b""
        # So a terminal ends on Linux.
        with suppress(OSError):
            while piece := os.read(ours, 65_536):
                said += piece
        process.wait(60)
    os.close(ours)
    return said.decode("utf-8", "backslashreplace")


def assert_obeys_nothing(said: str) -> None:
    rest = re.sub(r"\r\n|\x1b\[\?25[lh]", "", said)
    assert rest.isprintable(), ascii(rest)


def config_of(directory: Path, **sections: Mapping[str, Any]) -> Path:
    return write_config(directory / "config.toml", sections_for(CLOSED, directory / "state", **sections))


@pytest.mark.parametrize("attacks", [[*ATTACKS][:6], [*ATTACKS][6:]])
def test_what_others_have_named(tmp_path: Path, attacks: list[str]) -> None:
    """An export, its columns, a signal and a file beside it, and the state directory of the configuration."""
    name = "".join(ATTACKS[attack] for attack in attacks).replace("/", "|")
    export = tmp_path / f"{name}.csv"
    column = name.replace("\x85", "").replace("\u2028", "")
    export.write_text(f"id,{column},x{column}\nu1,1,2\n")
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / f"{name}.csv").write_text("id,a\nu1,1\n")
    (drop / f"{name}.csv.ready").touch()
    (drop / "b.csv").write_text(f"id,{column}\nu1,1\n")
    (drop / "b.csv.ready").write_text(f"{name}={name}")
    sections: dict[str, Any] = {
        "export": {"id_column": "id", "unlisted": "stop"},
        "drop": {"directory": str(drop), "settle_s": 0.0, "signal_wait_s": 0.1},
        "state": {"directory": str(tmp_path / f"state {name}"), "min_free_bytes": 0},
        "web": {"port": 0},
    }
    config = config_of(tmp_path, **sections)
    said = seen("load", export, tmp_path / f"{name} is not there", "--config", config)
    said += seen("serve", "--drain", "--config", config)
    said += seen("status", "--all", "--config", config)
    said += seen("config", "check", "--config", config)
    said += seen("config", "show", "--config", config)
    assert_obeys_nothing(said)
    assert "internal error" not in said, said


def test_what_the_configuration_holds(tmp_path: Path) -> None:
    export = tmp_path / "a.csv"
    export.write_text("id,a\nu1,1\n")
    everything = "".join(ATTACKS.values())
    cases: list[dict[str, Any]] = [
        {"export": {"id_column": everything}},
        {"export": {"id_column": "id", "columns": {everything: everything}}},
        {"export": {"id_column": "id", "encoding": everything}},
        {"target": {"base_url": f"https://{everything}"}},
    ]
    for sections in cases:
        config = config_of(tmp_path, **sections)
        said = seen("load", export, "--config", config)
        assert_obeys_nothing(said)
        assert "internal error" not in said, said
