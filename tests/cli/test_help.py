"""The help of every command, as a person reads it; what a mistyped one is told; and completion in shells."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperArgument, TyperGroup

from pipeline.cli.app import app
from tests.tools.support import program, run_program

#: The columns of a terminal that nobody has widened.
WIDTH = 80


def commands_of(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that name it, groups too."""
    yield path, command
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from commands_of(below, *path, name)


COMMANDS = dict(commands_of(typer.main.get_command(app)))


def in_words(text: str) -> str:
    return " ".join(text.split())


async def help_of(*path: str, option: str = "-h", columns: int = WIDTH) -> str:
    done = await run_program(*path, option, env={"COLUMNS": str(columns), "TERM": "xterm-256color"})
    assert (done.code, done.err) == (0, "")
    return done.out


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
async def test_all_of_it_is_there(path: tuple[str, ...]) -> None:
    """No word is taken for markup, none is cut off, and each line fits a terminal."""
    command, text = COMMANDS[path], await help_of(*path)
    assert await help_of(*path, option="--help") == text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert in_words(command.help) in in_words(text)
    for parameter in command.params:
        assert in_words(parameter.help) in in_words(text), parameter.name
        for name in [str(parameter.metavar)] if isinstance(parameter, TyperArgument) else parameter.opts:
            assert name in text
    for name, below in getattr(command, "commands", {}).items():
        # Of a command the first sentence, whole.
        assert re.search(rf"^  {name} +{re.escape(below.help.split('.')[0])}\.$", text, re.MULTILINE), name
    for ugly in ("[[", "]]", "{", "}", "......", "<bool>", "list[", "\x1b", "  keep_exports_days"):
        assert ugly not in text, ugly
    assert not re.search(r"\.\.\.\S*\.\.\.", text), "an ellipsis behind an ellipsis"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
async def test_on_a_narrow_terminal(path: tuple[str, ...]) -> None:
    text = await help_of(*path, columns=40)
    assert in_words(COMMANDS[path].help) in in_words(text)


async def test_brackets_are_no_markup() -> None:
    assert "[drop] keep_exports_days" in await help_of("prune")
    assert "Usage: profile-pipeline load [OPTIONS] EXPORT...\n" in await help_of("load")


class TestMeant:
    """What a person may have meant, who typed something else."""

    ARGUMENTS = (
        (("loda", "a.csv"), "No such command 'loda'. Did you mean 'load'?"),
        (("config", "chekk"), "Did you mean 'check'"),
        (("load", "a.csv", "--jsn"), "No such option: --jsn. Did you mean --json?"),
        (("load", "a.csv", "-config", "c.toml"), "No such option: -config. Did you mean --config?"),
        (("load", "a.csv", "--id_column", "id"), "Did you mean --id-column?"),
        (("load", "a.csv", "--Sandbox"), "Did you mean --sandbox?"),
        (("prune", "--dryrun"), "Did you mean --dry-run?"),
        (("--versoin",), "No such option: --versoin. Did you mean --version?"),
        (("--config", "c.toml", "load", "a.csv"), "--config stands behind the command"),
        (("--config=c.toml", "load", "a.csv"), "--config stands behind the command"),
        (("load", "c.toml", "--config", "a.csv"), "c.toml is a configuration, not an export: name it with --config"),
        (("load", "a.csv", "--frobnicate"), "No such option: --frobnicate.\n"),
        (("help",), "Did you mean profile-pipeline -h?"),
        (("version",), "Did you mean profile-pipeline --version?"),
        (("load",), "Missing argument 'EXPORT'"),
        (("load", "a.csv", "--wait", "soon"), "'--wait'"),
        (("load", "a.csv", "--wait", "-1"), "'--wait'"),
        (("sandbox", "--port", "70000"), "'--port'"),
        (("status",), "'--config' (env var: 'PROFILE_PIPELINE_CONFIG')"),
        (("retry", "--config", "c.toml"), "Missing argument 'JOB'"),
    )

    @pytest.mark.parametrize(("arguments", "told"), ARGUMENTS, ids=str)
    async def test_it_is_told(self, arguments: tuple[str, ...], told: str) -> None:
        done = await run_program(*arguments)
        assert done.code == 64
        assert told in done.err
        assert done.out == ""

    async def test_a_file_in_the_place_of_a_command(self, tmp_path: Path) -> None:
        file = tmp_path / "customers.csv"
        file.touch()
        done = await run_program(file, "--config", "c.toml")
        assert done.code == 64
        assert f"profile-pipeline load {file} --config FILE" in done.err


VARIABLE = "_PROFILE_PIPELINE_COMPLETE"


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    async def test_there_is_a_script(self, shell: str) -> None:
        done = await run_program(env={VARIABLE: f"source_{shell}"})
        assert done.code == 0
        assert f"{VARIABLE}=complete_{shell}" in done.out

    @pytest.mark.parametrize(
        ("typed", "completed"),
        [
            ("co", ["config"]),
            ("p", ["plan", "pause", "prune"]),
            ("config s", ["show", "schema"]),
            ("load --sa", ["--sandbox"]),
            ("status --js", ["--json"]),
            # The shell completes names of files itself where the program has nothing to say.
            ("load cust", []),
            ("load a.csv --config my", []),
        ],
    )
    async def test_a_word_in_each_shell(self, typed: str, completed: list[str]) -> None:
        line = f"profile-pipeline {typed}"
        bash = {VARIABLE: "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(typed.split()))}
        zsh = {VARIABLE: "complete_zsh", "_TYPER_COMPLETE_ARGS": line}
        fish = {VARIABLE: "complete_fish", "_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        assert (await run_program(env=bash)).out.split() == completed
        told = (await run_program(env=zsh)).out
        assert re.findall(r'"([^":]+)":', told) == completed
        assert ("_files" in told) == (not completed)
        assert [line.split("\t")[0] for line in (await run_program(env=fish)).out.split("\n") if line] == completed

    @pytest.mark.skipif(not Path("/bin/bash").exists(), reason="there is no bash")
    def test_bash_itself(self) -> None:
        script = (
            'source /dev/stdin <<< "$SCRIPT"; COMP_WORDS=(profile-pipeline re); COMP_CWORD=1; '
            '_profile_pipeline_completion "$PROGRAM"; echo "${COMPREPLY[@]}"; complete -p profile-pipeline'
        )
        name = Path(sys.executable).parent / "profile-pipeline"
        if not name.exists():
            pytest.skip("the command is not installed beside this Python")
        source = subprocess.run(program(), env={VARIABLE: "source_bash"}, capture_output=True, text=True, check=True)
        done = subprocess.run(
            ["/bin/bash", "--norc", "-c", script],
            env={"SCRIPT": source.stdout, "PROGRAM": str(name), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        words, registered = done.stdout.splitlines()
        assert words.split() == ["resume", "retry"]
        # Files are completed where the program has nothing to say.
        assert "-o default" in registered
