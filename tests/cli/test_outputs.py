"""Outputs that cannot be written: each command finishes what it does, and says so by its code where that is amiss."""

import asyncio
import contextlib
import fcntl
import os
import pty
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from tests.tools.dropping import dropping
from tests.tools.support import Ended, bench, program, run_in_shell, run_program, started, unheard, until

pytestmark = pytest.mark.skipif(
    not (Path("/bin/bash").exists() and Path("/dev/full").exists()), reason="there is no bash, or no /dev/full"
)

#: The ways in which an output refuses, as a shell redirects it.
CLOSED, FULL, READ_ONLY, GONE = "{0}>&-", "{0}>/dev/full", "{0}</dev/null", "{0}> >(exec true)"
WAYS = {"closed": CLOSED, "full": FULL, "read-only": READ_ONLY, "gone": GONE}
#: A variable of the environment for `gone`: the command begins when its reader has ended.
_WAIT = "sleep 0.2; "


async def redirected(*arguments: str | Path, out: str | None = None, err: str | None = None) -> Ended:
    """Run the program with one of its outputs redirected so; what the other one holds."""
    command = " ".join(f"'{word}'" for word in (*program(), *arguments))
    redirections = " ".join([*([out.format(1)] if out else []), *([err.format(2)] if err else [])])
    wait = _WAIT if GONE in (out, err) else ""
    return await run_in_shell(f"exec {redirections}; {wait}exec {command}")


def code_of(way: str) -> int:
    return 0 if way == "gone" else 74


@pytest.mark.parametrize("way", WAYS)
class TestOfStdout:
    @pytest.mark.parametrize("json", [(), ("--json",)])
    async def test_all_exports_are_loaded(self, tmp_path: Path, way: str, json: tuple[str, ...]) -> None:
        async with bench(tmp_path) as at:
            exports = [at.export(f"u{n},gold,1", name=f"{n}.csv") for n in range(3)]
            done = await redirected("load", *exports, "--config", at.config(), *json, out=WAYS[way])
            assert len(at.sandbox.profiles()) == 3
        assert done.code == code_of(way), done.err
        assert ("cannot write to stdout" in done.err) == (way != "gone")
        assert "Traceback" not in done.err
        assert "bug" not in done.err

    @pytest.mark.parametrize(
        "command",
        [
            "status",
            "status --json",
            "config show",
            "config schema",
            "--version",
            "-h",
            "load -h",
            "config check",
            "prune",
        ],
    )
    async def test_others_say_it(self, tmp_path: Path, way: str, command: str) -> None:
        async with bench(tmp_path) as at:
            config = () if command in ("--version", "-h", "load -h", "config schema") else ("--config", at.config())
            done = await redirected(*command.split(), *config, out=WAYS[way])
        is_silent = command == "prune"
        assert done.code == (0 if is_silent else code_of(way)), done.err
        assert ("cannot write to stdout" in done.err) == (way != "gone" and not is_silent)
        assert "Traceback" not in done.err

    async def test_a_probe_answers_by_its_code(self, tmp_path: Path, way: str) -> None:
        done = await redirected("health", "--config", unheard(tmp_path).config(), out=WAYS[way])
        assert (done.code, done.err) == (1, "")

    async def test_a_code_that_says_more_stays(self, tmp_path: Path, way: str) -> None:
        async with bench(tmp_path, token="right") as at:
            done = await redirected("load", at.export("u1,gold,1"), "--config", at.config(), out=WAYS[way])
        assert done.code == 77


@pytest.mark.parametrize("way", WAYS)
class TestOfStderr:
    async def test_a_load(self, tmp_path: Path, way: str) -> None:
        async with bench(tmp_path) as at:
            exports = [at.export(f"u{n},gold,1", name=f"{n}.csv") for n in range(3)]
            done = await redirected("-v", "load", *exports, "--config", at.config(), "--json", err=WAYS[way])
            assert len(at.sandbox.profiles()) == 3
        assert done.code == 0
        assert [orjson.loads(line)["state"] for line in done.out.splitlines()] == ["done"] * 3

    async def test_a_service(self, tmp_path: Path, way: str) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
            drop.put("b.csv", "u2,gold,1", signal_as="b.csv.ready")
            done = await redirected("serve", "--drain", "--config", drop.config(), err=WAYS[way])
            assert len(drop.at.sandbox.profiles()) == 2
        assert done.code == 0

    async def test_errors_keep_their_codes(self, tmp_path: Path, way: str) -> None:
        at = unheard(tmp_path)
        for code, command in ((78, "config check"), (64, "nonsense"), (66, "load none.csv")):
            config = ("--config", tmp_path / "none.toml" if code == 78 else at.config())
            assert (await redirected(*command.split(), *config, err=WAYS[way])).code == code, command


async def test_a_result_is_there_as_soon_as_its_job_has_ended(tmp_path: Path) -> None:
    """Whoever reads it need not wait for the jobs behind, and has it still if the process is killed among them."""
    async with bench(tmp_path, apply_min_s=600.0, apply_max_s=600.0) as at:
        header_only, endless = at.export(name="header.csv"), at.export("u1,gold,1", name="endless.csv")
        async with started("load", header_only, endless, "--config", at.config(), "--json", cold=True) as process:
            assert process.stdout is not None
            async with asyncio.timeout(40):
                line = await process.stdout.readline()
            assert process.returncode is None
    assert (orjson.loads(line)["export"]["name"], orjson.loads(line)["state"]) == ("header.csv", "done")


def filled_pipe() -> tuple[int, int]:
    """A pipe of one page that is full."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4_096)
    os.write(write, b"." * 4_095 + b"\n")
    return read, write


@asynccontextmanager
async def with_stderr(stderr: int, *arguments: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program with this stderr, which it closes here; killed if the test ends before it."""
    process = await asyncio.create_subprocess_exec(
        *program(), *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=stderr
    )
    os.close(stderr)
    try:
        async with asyncio.timeout(50):
            yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def read_all(descriptor: int) -> bytes:
    return b"".join(iter(lambda: os.read(descriptor, 65_536), b""))


class TestReaderThatStandsStill:
    """The event loop never waits for whoever reads the log."""

    async def test_of_a_load(self, tmp_path: Path) -> None:
        read, write = filled_pipe()
        async with bench(tmp_path) as at:
            exports = [at.export(f"u{n},gold,1", name=f"{n}.csv") for n in range(4)]
            async with with_stderr(write, "-v", "load", *exports, "--config", at.config(), "--json") as process:
                out, _ = await process.communicate()
        os.close(read)
        assert process.returncode == 0
        assert len(out.splitlines()) == 4

    async def test_what_was_kept_comes_when_it_goes_on(self, tmp_path: Path) -> None:
        read, write = filled_pipe()
        async with (
            dropping(tmp_path) as drop,
            with_stderr(write, "serve", "--config", drop.config()) as process,
        ):
            for name in ("a.csv", "b.csv", "c.csv"):
                drop.put(name, "u1,gold,1", signal_as=f"{name}.ready")
            await until(lambda: len(drop.ends()) == 3, within_s=40)
            process.terminate()
            said = await asyncio.to_thread(read_all, read)
            assert await process.wait() == 0
        os.close(read)
        told = [orjson.loads(line)["event"] for line in said.splitlines()[1:]]
        assert told[0] == "service_started"
        assert told.count("load_finished") == 3
        assert told[-1] == "service_stopped"

    async def test_a_terminal_that_is_gone(self, tmp_path: Path) -> None:
        ours, its = pty.openpty()
        async with bench(tmp_path, apply_min_s=0.5, apply_max_s=0.5) as at:
            command = ("load", at.export("u1,gold,1"), "--config", at.config(), "--json")
            async with with_stderr(its, *command) as process:
                await until(lambda: select.select([ours], [], [], 0)[0], within_s=40)
                os.close(ours)
                assert await process.wait() == 0


async def test_lines_that_were_dropped_are_counted_and_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    stderr = os.open(log, os.O_WRONLY)
    async with (
        dropping(tmp_path) as drop,
        with_stderr(stderr, "serve", "--config", drop.config()) as process,
    ):
        await until(lambda: (drop.directory / ".processing" / "lock").exists())
        os.close(reader)
        drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
        await until(drop.ends, within_s=40)
        config = ("--config", drop.config())
        await until(lambda: orjson.loads((drop.at.state / "heartbeat").read_bytes())["log_lines_dropped"] > 2)
        assert "of the log" in (await run_program("health", *config)).out
        status = await run_program("status", "--json", *config)
        shown = await run_program("status", *config)
        reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
        process.terminate()
        assert await process.wait() == 0
        told = {line["event"]: line for line in map(orjson.loads, os.read(reader, 65_536).splitlines())}
        os.close(reader)
    assert told["log_lines_dropped"]["lines"] > 2
    assert orjson.loads(status.out)["log_lines_dropped"] > 2
    assert "Its log lacks" in shown.out
    assert {"service_stopping", "service_stopped"} <= told.keys()


def standard_descriptors(pid: int) -> list[str]:
    return [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]


async def test_nothing_of_ours_gets_the_number_of_a_closed_output(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        command = " ".join([f"'{word}'" for word in (*program(), "serve", "--config", str(drop.config()))])
        process = await asyncio.create_subprocess_exec("/bin/bash", "-c", f"exec {command} <&- >&- 2>&-")
        try:
            await until(lambda: (drop.directory / ".processing" / "lock").exists())
            opened = standard_descriptors(process.pid)
        finally:
            process.terminate()
            assert await process.wait() == 0
    assert opened == [os.devnull] * 3
