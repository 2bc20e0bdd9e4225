"""Output of commands, wherever it goes: to a terminal with or without colours, a closed pipe, a full disk, a script."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.tools.support import Ended, bench, program, run_program, unheard, write_config

VARIABLE = "PROFILE_PIPELINE_CONFIG"


def run_on_terminal(*arguments: str | Path, **variables: str) -> str:
    """All that the program shows on a terminal of 80 columns that knows colours."""
    ours, its = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **variables}
    with subprocess.Popen([*program(), *map(str, arguments)], stdin=its, stdout=its, stderr=its, env=env) as process:
        os.close(its)
        said = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:
                # So Linux says that nobody has the terminal open any more.
                break
            said += piece
        os.close(ours)
        process.wait()
    return said.decode()


async def on_terminal(*arguments: str | Path, **variables: str) -> str:
    return await asyncio.to_thread(run_on_terminal, *arguments, **variables)


class TestColours:
    async def test_of_a_load(self, tmp_path: Path) -> None:
        """A style or a colour is `ESC [ numbers m`; a bar moves the cursor, which is neither."""
        async with bench(tmp_path) as at:
            command = ("load", at.export("u1,gold,1", "u/2,gold,1"), "--again", "--config", at.config())
            export = {"max_rejects": 5}
            at.config(export=export)
            colored = await on_terminal(*command)
            plain = await on_terminal(*command, "-v", NO_COLOR="1")
            status = await on_terminal("status", "--config", at.config(), NO_COLOR="1")
        assert "\x1b[1m" in colored
        for said in (plain, status):
            assert not any(f"\x1b[{style}" in said for style in ("0m", "1m", "2m", "3", "9"))
        assert "1  confirmed" in plain
        assert "load_started" in plain
        assert "done" in status

    async def test_of_the_log(self, tmp_path: Path) -> None:
        at = unheard(tmp_path)
        config = at.config(drop={"directory": str(tmp_path)})
        (tmp_path / "a.csv.ready").touch()
        (tmp_path / "a.csv").write_text("")
        colored = await on_terminal("serve", "--drain", "--config", config)
        (tmp_path / "a.csv.ready").touch()
        (tmp_path / "a.csv").write_text("")
        plain = await on_terminal("serve", "--drain", "--config", config, NO_COLOR="1")
        assert "service_started" in plain
        assert "\x1b" in colored
        assert "\x1b" not in plain

    async def test_of_help(self) -> None:
        assert "\x1b" not in await on_terminal("load", "-h")


class TestHowMuch:
    async def test_quiet(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            export, config = at.export("u1,gold,1"), at.config()
            before = await run_program("-q", "load", export, "--config", config)
            behind = await run_program("load", export, "--again", "--config", config, "--json", "--quiet")
            shown = await on_terminal("-q", "load", export, "--again", "--config", config)
        assert (before.code, before.err) == (0, "")
        assert "confirmed" in before.out
        assert behind.err == ""
        assert behind.report["state"] == "done"
        assert "confirmed by Target" not in shown, "no bar"

    async def test_verbose(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            export, config = at.export("u1,gold,1"), at.config()
            usual = await on_terminal("load", export, "--config", config)
            shown = await on_terminal("-v", "load", export, "--again", "--config", config)
        assert "load_started" not in usual
        assert "load_started" in shown

    async def test_a_warning_is_there_all_the_same(self, tmp_path: Path) -> None:
        at = unheard(tmp_path)
        done = await run_program("-q", "load", tmp_path / "none.csv", "--config", at.config())
        assert done.code == 66


@pytest.mark.parametrize("command", ["-h", "load -h", "config check --help", "--version"])
async def test_a_help_text_that_nobody_reads(command: str) -> None:
    read, write = os.pipe()
    os.close(read)
    process = await asyncio.create_subprocess_exec(*program(), *command.split(), stdout=write)
    os.close(write)
    assert await process.wait() == 0


class TestConfigVariable:
    async def test_for_all_commands(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            env = {VARIABLE: str(at.config(drop={"directory": str(tmp_path / "drop")}))}
            (tmp_path / "drop").mkdir()
            assert (await run_program("load", at.export("u1,gold,1"), "--json", env=env)).code == 0
            for command in ("status", "pause", "resume", "prune", "config check", "config show", "serve --drain"):
                assert (await run_program(*command.split(), env=env)).code == 0, command
        health = await run_program("health", env=env)
        assert health.code == 1
        assert "no process serves" in health.out

    async def test_an_option_wins(self, tmp_path: Path) -> None:
        at = unheard(tmp_path)
        done = await run_program("config", "show", "--config", at.config(), env={VARIABLE: "/nowhere.toml"})
        assert done.code == 0
        assert "/nowhere.toml" in (await run_program("config", "show", env={VARIABLE: "/nowhere.toml"})).err

    async def test_a_file_is_tried_all_the_same(self, tmp_path: Path) -> None:
        """`--id-column` is instead of a configuration: that of the environment was not named for this."""
        export = unheard(tmp_path).export("u1,gold,1")
        env = {VARIABLE: "/nowhere.toml", "TMPDIR": str(tmp_path)}
        done = await run_program("load", export, "--sandbox", "--id-column", "id", "--json", env=env)
        assert done.code == 0, done.err


async def test_facts_as_json(tmp_path: Path) -> None:
    """Each command that prints facts does so as one line of JSON, and nothing else."""

    async def told(*arguments: str | Path) -> Any:
        done = await run_program(*arguments, "--config", config, "--json")
        (line,) = done.out.splitlines()
        return orjson.loads(line)

    async with bench(tmp_path) as at:
        config = at.config(drop={"keep_reports_days": 0, "keep_rejects_days": 0, "keep_exports_days": 0})
        report = await told("load", at.export("u1,gold,1"))
        assert (await told("status"))["client_code"] == "demo"
        paused = await told("pause")
        assert (paused["client_code"], paused["request"], paused["job"]) == ("demo", "pause", None)
        assert paused["told"]
        assert (await told("resume"))["request"] == "resume"
        assert (await told("retry", report["job"]))["job"] == report["job"]
        assert (await told("config", "show"))["target"]["client_code"] == "demo"
        subjects = [found["subject"] for found in (await told("config", "check"))["findings"]]
        assert "[target] token_file" in subjects
        assert (await told("health"))["is_well"] is False
        would = await told("prune", "--dry-run")
        assert would["dry_run"] is True
        assert would["removed"] == (await told("prune"))["removed"] != []


async def run_piped(arguments: tuple[str | Path, ...], *, reads: str) -> Ended:
    """Run the program in a shell; `reads` is what stands behind it: a pipe to a reader, or a redirection."""
    command = " ".join([f"'{word}'" for word in (*program(), *arguments)])
    script = f"set -o pipefail; {command} {reads}"
    process = await asyncio.create_subprocess_exec(
        "/bin/bash", "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="there is no bash")
class TestNobodyReads:
    #: A reader that is gone at once.
    GONE = "| true"

    @pytest.mark.parametrize("json", [(), ("--json",)])
    async def test_a_load_goes_on(self, tmp_path: Path, json: tuple[str, ...]) -> None:
        async with bench(tmp_path) as at:
            exports = [at.export(f"u{n},gold,1", name=f"{n}.csv") for n in range(3)]
            done = await run_piped(("load", *exports, "--config", at.config(), *json), reads=self.GONE)
            assert len(at.sandbox.profiles()) == 3
        assert done.code == 0, done.err
        assert "Traceback" not in done.err
        assert "Broken" not in done.err

    @pytest.mark.parametrize("command", ["config show", "status", "--version"])
    @pytest.mark.parametrize("reads", ["| true", "2>&-"])
    async def test_others_end_in_silence(self, tmp_path: Path, command: str, reads: str) -> None:
        config = () if command.startswith("-") else ("--config", unheard(tmp_path).config())
        done = await run_piped((*command.split(), *config), reads=reads)
        assert (done.code, done.err) == (0, "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
    async def test_a_full_disk_is_said(self, tmp_path: Path) -> None:
        config = unheard(tmp_path).config()
        done = await run_piped(("config", "show", "--config", config), reads="> /dev/full")
        assert done.code == 74
        assert "cannot write to stdout: No space left on device" in done.err
        assert "Traceback" not in done.err

    @pytest.mark.parametrize("variable", ["PYTHONIOENCODING=ascii", "LANG=C LC_ALL=C"])
    async def test_characters_that_a_terminal_does_not_have(self, tmp_path: Path, variable: str) -> None:
        at = unheard(tmp_path)
        config = write_config(
            tmp_path / "käse.toml",
            {
                "target": {"client_code": "demo", "base_url": at.base_url},
                "export": {"id_column": "Größe ☕"},
                "state": {"directory": str(tmp_path / "stäte")},
            },
        )
        done = await run_piped(
            (), reads=f"--version >/dev/null; {variable} {program()[0]} config show --config {config}"
        )
        assert "Traceback" not in done.err
        assert done.code == 0


async def test_an_end_while_it_starts_shows_no_traceback() -> None:
    """Ctrl-C is often pressed right behind the Enter that was too much."""
    script = (
        "import os, runpy, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'pipeline.cli.app':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "sys.argv = ['profile-pipeline', '--version']\n"
        "runpy.run_module('pipeline', run_name='__main__', alter_sys=True)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert await process.communicate() == (b"", b"")
    assert process.returncode == -signal.SIGINT
