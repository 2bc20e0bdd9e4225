"""Mistakes of the operator and machines that refuse: a code, where it is, and what to do; never a bug of ours."""

import os
import shutil
from pathlib import Path

import orjson
import pytest

from pipeline.edges.process.machine import refused_by_machine
from tests.tools.support import NOBODY, Ended, bench, program, put_no_file, run_in_shell, run_program, unheard

pytestmark = pytest.mark.skipif(not Path("/bin/bash").exists(), reason="there is no bash")

#: Root without what lets it read and write everything: it is bound by permissions as any user is.
_BOUND = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


async def shell(before: str, *arguments: str | Path, after: str = "", within: tuple[str, ...] = ()) -> Ended:
    """Run the program in a shell, behind a command such as `ulimit`."""
    command = " ".join(f"'{word}'" for word in (*within, *program(), *arguments))
    return await run_in_shell(f"{before}; exec {command} {after}")


def assert_told(done: Ended, code: int, *words: str) -> None:
    assert done.code == code, done.said
    for word in words:
        assert word in done.said, done.said
    assert "Traceback" not in done.err
    assert "a bug" not in done.err


class TestLimits:
    @pytest.mark.parametrize(("limit", "told"), [("-v 150000", "memory"), ("-n 12", "open files")])
    async def test_a_load_that_is_refused_what_it_needs(self, tmp_path: Path, limit: str, told: str) -> None:
        async with bench(tmp_path) as at:
            command = ("load", at.export("u1,gold,1"), "--config", at.config(), "--json")
            done = await shell(f"ulimit {limit}", *command)
            assert_told(done, 74)
            assert told in done.said or "Too many open files" in done.said
            assert (await run_program(*command)).report["rows"]["confirmed"] == 1

    async def test_no_memory_for_a_library(self, tmp_path: Path) -> None:
        command = ("status", "--config", unheard(tmp_path).config())
        assert_told(await shell("ulimit -v 60000", *command), 74, "not enough memory for the libraries")

    def test_no_memory_for_a_library_that_is_imported_later(self) -> None:
        refused = refused_by_machine(ImportError("/usr/lib/x.so: failed to map segment from shared object"))
        assert refused is not None
        assert refused.exit_code == 74
        assert refused_by_machine(ImportError("No module named 'x'")) is None


class TestConfigurationFile:
    @pytest.mark.parametrize(
        ("kind", "told"),
        [
            ("fifo", "is a pipe or a device"),
            ("endless", "is a pipe or a device"),
            ("directory", "it is a directory"),
            ("loop", "there is no configuration file"),
            ("binary", "is not valid TOML"),
            ("huge", "is longer than"),
            ("deep", "is not valid TOML"),
        ],
    )
    async def test_one_that_is_none(self, tmp_path: Path, kind: str, told: str) -> None:
        """Neither waited for nor read whole; a probe says it too."""
        file = put_no_file(tmp_path / "c.toml", kind)
        contents = {"binary": b"\x80\x81" * 99, "huge": b"# x\n" * 2_600_000, "deep": b"a = " + b"[" * 99_999}
        if kind in contents:
            file.write_bytes(contents[kind])
        export = unheard(tmp_path).export("u1,gold,1")
        assert_told(await run_program("load", export, "--config", file), 78, told, str(file))
        assert_told(await run_program("health", "--config", file, cold=True), 1, str(file))

    async def test_a_variable_that_is_nested_without_end(self, tmp_path: Path) -> None:
        env = {"PROFILE_PIPELINE__EXPORT__COLUMNS": "[" * 100_000}
        done = await run_program("config", "check", "--config", unheard(tmp_path).config(), env=env)
        assert_told(done, 78, "PROFILE_PIPELINE__EXPORT__COLUMNS", "must be JSON")


class TestDirectories:
    @pytest.mark.parametrize("command", ["load", "config check", "serve --drain", "demo"])
    async def test_the_working_directory_is_gone(self, tmp_path: Path, command: str) -> None:
        state, drop = {"directory": "state"}, {"directory": "drop"}
        config = unheard(tmp_path).config(state=state, drop=drop)
        arguments = [*command.split(), *(["a.csv"] if command == "load" else [])]
        gone = tmp_path / "gone"
        gone.mkdir()
        done = await shell(
            f"cd '{gone}'; rmdir '{gone}'", *arguments, *([] if command == "demo" else ["--config", str(config)])
        )
        codes = {"load": (66, 74), "config check": (78,), "demo": (0, 74)}
        assert done.code in codes.get(command, (74,)), done.said
        assert "Traceback" not in done.err
        assert "a bug" not in done.err

    @pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root gives directories away")
    @pytest.mark.parametrize("mode", [0o700, 0o000])
    async def test_a_state_directory_of_somebody_else(self, tmp_path: Path, mode: int) -> None:
        at = unheard(tmp_path)
        at.state.mkdir()
        os.chown(at.state, NOBODY, NOBODY)
        at.state.chmod(mode)
        config = ("--config", at.config())
        for command in (("load", str(at.export("u1,gold,1"))), ("status",)):
            done = await shell("true", *command, *config, within=_BOUND)
            assert_told(done, 74, "Permission denied", str(at.state))
        assert_told(await shell("true", "config", "check", *config, within=_BOUND), 78, "Permission denied")

    @pytest.mark.parametrize("kind", ["name", "path", "file", "loop"])
    async def test_a_state_directory_that_cannot_be(self, tmp_path: Path, kind: str) -> None:
        at = unheard(tmp_path)
        places = {"name": tmp_path / ("n" * 300), "path": tmp_path / "/".join(["d" * 200] * 25)}
        place = places.get(kind, tmp_path / kind)
        if kind == "file":
            place.write_text("")
        elif kind == "loop":
            place.symlink_to(place)
        config = ("--config", at.config(state={"directory": str(place)}))
        assert_told(await run_program("load", at.export("u1,gold,1"), *config), 74, "cannot")
        assert_told(await run_program("config", "check", *config), 78, "cannot be used")

    @pytest.mark.parametrize(
        ("kind", "told"), [("fifo", "is no file"), ("directory", "is no file"), ("link", "nowhere")]
    )
    async def test_a_ledger_that_is_no_file(self, tmp_path: Path, kind: str, told: str) -> None:
        """It is neither waited for, nor taken for none."""
        at = unheard(tmp_path)
        at.state.mkdir()
        ledger = at.state / "ledger.db"
        if kind == "fifo":
            os.mkfifo(ledger)
        elif kind == "directory":
            ledger.mkdir()
        else:
            ledger.symlink_to(tmp_path / "none")
        for command in (("status",), ("load", at.export("u1,gold,1"))):
            assert_told(await run_program(*command, "--config", at.config()), 74, told, str(ledger))
        assert not (tmp_path / "none").exists()

    async def test_a_lock_that_is_a_pipe(self, tmp_path: Path) -> None:
        """`status` does not wait for it, and `load` does not take it for its own."""
        at = unheard(tmp_path)
        at.state.mkdir()
        os.mkfifo(at.state / "lock")
        config = ("--config", at.config())
        assert_told(await run_program("status", *config), 0)
        assert_told(await run_program("load", at.export("u1,gold,1"), *config), 74, "the lock of the state directory")

    async def test_a_drop_directory_that_leads_to_itself(self, tmp_path: Path) -> None:
        drop = tmp_path / "drop"
        drop.symlink_to(drop)
        config = unheard(tmp_path).config(drop={"directory": str(drop)})
        assert_told(await run_program("serve", "--drain", "--config", config), 78, "symbolic links", str(drop))


@pytest.mark.parametrize("options", [("--json",), (), ("--sandbox", "--id-column", "id", "--json")])
async def test_an_export_whose_name_is_not_utf_8(tmp_path: Path, options: tuple[str, ...]) -> None:
    at = unheard(tmp_path)
    at.export("u1,gold", header="id,tier", name=os.fsdecode(b"\xff.csv"))
    config = () if "--sandbox" in options else ("--config", at.config())
    before = f"cd '{tmp_path}'"
    done = await shell(before, "load", *options, *config, after="*.csv")
    assert_told(done, 66, "is not UTF-8")
    if "--json" in options:
        assert orjson.loads(done.out.splitlines()[0])["state"] == "failed"
