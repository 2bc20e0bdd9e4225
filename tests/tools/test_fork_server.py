"""A fork is a process like one that was started: its own files, signals, environment, directory and exit code."""

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.tools.drawn import share
from tests.tools.dropping import Drop
from tests.tools.support import Ended, ended, run_program, unheard, until

#: A command that ends well, one that does not, and others of which each run of the tests takes two.
ALWAYS: list[tuple[str, ...]] = [("--version",), ("serve", "--config", "none.toml")]
OTHERS: list[tuple[str, ...]] = [
    ("nonsense",),
    ("load", "a.csv"),
    ("status", "--config", "config.toml"),
    ("retry", "job", "--config", "config.toml"),
    ("prune", "--config", "config.toml"),
    ("config", "check", "--config", "config.toml"),
]


@pytest.mark.parametrize("arguments", [*ALWAYS, *share(OTHERS, 2)], ids=" ".join)
async def test_it_ends_as_the_command_does(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unheard(tmp_path).config()
    warm, cold = await run_program(*arguments), await run_program(*arguments, cold=True)
    assert comparable(warm) == comparable(cold)


def comparable(done: Ended) -> tuple[int, str, str]:
    """All but when it was and how many bytes are free."""
    return done.code, re.sub(r"[\d,]+ bytes", "", done.out), re.sub(r'"timestamp":"[^"]*"', "", done.err)


async def test_it_has_an_environment_and_a_directory_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unheard(tmp_path).config()
    monkeypatch.chdir(tmp_path)
    shown = await run_program(
        "config", "show", "--config", "config.toml", env={"PROFILE_PIPELINE__BATCH__MAX_ROWS": "7"}
    )
    assert (shown.code, "max_rows = 7" in shown.out) == (0, True), shown.said
    shown = await run_program("config", "show", "--config", "config.toml")
    assert (shown.code, "max_rows = 7" in shown.out) == (0, False), shown.said


async def test_it_is_a_process_that_signals_end(tmp_path: Path) -> None:
    """Each is told of its own end, and its output ends with it, whatever else was forked before and after."""
    drops = [drop_in(tmp_path / name) for name in ("first", "second", "third")]
    async with (
        drops[0].serving() as first,
        drops[1].serving() as second,
        drops[2].serving() as third,
    ):
        assert len({os.getpid(), first.pid, second.pid, third.pid}) == 4
        second.kill()
        assert (await ended(second)).code == -signal.SIGKILL
        with pytest.raises(ProcessLookupError):
            second.send_signal(signal.SIGTERM)
        assert (first.returncode, third.returncode) == (None, None)
        third.send_signal(signal.SIGTERM)
        stopped = await ended(third)
        assert (stopped.code, "service_stopped" in stopped.err) == (0, True), stopped.said
        first.send_signal(signal.SIGINT)
        assert (await ended(first)).code == 0


async def test_no_file_of_another_is_open_in_it(tmp_path: Path) -> None:
    drops = [drop_in(tmp_path / name) for name in ("first", "second")]
    async with drops[0].serving() as first, drops[1].serving() as second:
        await until(lambda: open_files(first.pid) == open_files(second.pid))


def drop_in(directory: Path) -> Drop:
    directory.mkdir()
    return Drop(unheard(directory))


def open_files(pid: int) -> list[str]:
    """The names of what a process has open; of pipes and sockets, which have none, their kind."""
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        # It may be closed while the others are looked at.
        with suppress(FileNotFoundError):
            links.append(str(link.readlink()))
    return sorted(Path(link.partition(":[")[0]).name for link in links)
