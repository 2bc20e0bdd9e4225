"""Signals in the first moments of a process: they do what they do later, and nothing is lost by them."""

import asyncio
import signal
import sys
from pathlib import Path

import orjson
import pytest

from tests.tools.dropping import dropping
from tests.tools.support import bench, ended, run_program, started, until

#: Starts the program, and sends itself a signal when one of its modules is about to be imported.
_STARTED = """
import os, runpy, signal, sys
# Whoever runs the tests in the background may have had them ignored.
for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(each, signal.SIG_DFL if each != signal.SIGINT else signal.default_int_handler)
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            for _ in range({times}):
                os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Interrupting())
sys.argv = ["profile-pipeline", *{arguments!r}]
runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
"""


async def interrupted(
    module: str, number: int, *arguments: str | Path, times: int = 1, then: int | None = None
) -> tuple[int, bytes, bytes]:
    """The program with a signal at an import; after its first line on stderr it may get another one."""
    script = _STARTED.format(module=module, number=int(number), arguments=[*map(str, arguments)], times=times)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        first = b""
        if then is not None and process.stderr is not None:
            while b"service_started" not in first and (line := await process.stderr.readline()):
                first += line
            process.send_signal(then)
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out, first + err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", ["pipeline.edges.standard_streams", "structlog", "pipeline.jobs.one_shot"])
async def test_a_load_ends_tidily_and_goes_on(tmp_path: Path, number: int, module: str) -> None:
    async with bench(tmp_path) as at:
        command = ("load", at.export("u1,gold,1"), "--config", at.config(), "--json")
        code, _, err = await interrupted(module, number, *command)
        assert code == 75, err
        assert b"Traceback" not in err
        again = await run_program(*command)
    assert again.code == 0
    assert again.report["rows"]["confirmed"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", ["pipeline.edges.standard_streams", "pipeline.service.process"])
async def test_a_service_ends_tidily(tmp_path: Path, number: int, module: str) -> None:
    async with dropping(tmp_path) as drop:
        code, _, err = await interrupted(module, number, "serve", "--config", drop.config())
    assert code == 0, err
    assert orjson.loads(err.splitlines()[-1])["event"] == "service_stopped"


@pytest.mark.parametrize("times", [1, 200])
@pytest.mark.parametrize("module", ["pipeline.edges.standard_streams", "pipeline.service.process"])
async def test_a_service_reads_its_configuration_again(tmp_path: Path, module: str, times: int) -> None:
    async with dropping(tmp_path) as drop:
        code, _, err = await interrupted(
            *(module, signal.SIGHUP, "serve", "--config", drop.config()), times=times, then=signal.SIGTERM
        )
    events = [orjson.loads(line)["event"] for line in err.splitlines()]
    assert code == 0, err
    assert "service_started" in events
    assert events[-1] == "service_stopped"


@pytest.mark.parametrize("command", [["status"], ["load", "--help"]])
async def test_other_commands_are_ended_by_the_system(command: list[str]) -> None:
    code, out, err = await interrupted("pipeline.cli.app", signal.SIGINT, *command)
    assert (code, out, err) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
async def test_a_retry_that_is_not_answered_can_be_ended(tmp_path: Path, number: int, code: int) -> None:
    async with dropping(tmp_path) as drop, drop.serving() as process:
        await until(lambda: (drop.at.state / "heartbeat").exists())
        process.send_signal(signal.SIGSTOP)
        async with started("retry", "no-job", "--config", drop.config(), cold=True) as asking:
            await until(lambda: list(drop.at.state.glob("requests/*.request")), within_s=60.0)
            asking.send_signal(number)
            done = await ended(asking, within_s=10.0)
        process.send_signal(signal.SIGCONT)
    assert (done.code, done.out) == (code, ""), done.said
    assert "Traceback" not in done.err
