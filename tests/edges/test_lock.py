"""One instance per state directory: real processes, ended in every way."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from threading import Timer

import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.lock import holder, state_lock
from tests.tools.support import as_nobody

ROOT = Path(__file__).resolve().parents[2]

HOLD = """
import sys
from pathlib import Path
from pipeline.edges.lock import state_lock
with state_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which holds the state directory until its stdin is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        with pytest.raises(FatalError, match=f"in use by process {process.pid}:") as caught, state_lock(tmp_path):
            pass
        assert caught.value.exit_code == ExitCode.ALREADY_RUNNING
        assert holder(tmp_path) == str(process.pid)


def test_it_is_free_once_the_process_has_ended(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        process.communicate()
        assert process.returncode == 0
        assert holder(tmp_path) is None
        with state_lock(tmp_path):
            assert holder(tmp_path) == str(os.getpid())


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert holder(tmp_path) is None
        with state_lock(tmp_path):
            pass


def test_who_was_refused_has_taken_nothing(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        before = (tmp_path / "lock").read_bytes()
        for _ in range(2):
            with pytest.raises(FatalError), state_lock(tmp_path):
                pass
        assert (tmp_path / "lock").read_bytes() == before == f"{process.pid}\n".encode()
        process.communicate()
        with state_lock(tmp_path):
            pass


def test_it_is_let_go_of_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), state_lock(tmp_path):
        raise KeyError
    assert holder(tmp_path) is None
    with state_lock(tmp_path):
        pass


def test_directories_are_held_apart(tmp_path: Path) -> None:
    with state_lock(tmp_path / "a"), state_lock(tmp_path / "b"):
        assert holder(tmp_path / "a") == holder(tmp_path / "b") == str(os.getpid())
        with pytest.raises(FatalError), state_lock(tmp_path / "a"):
            pass


def test_the_directory_is_made_and_for_the_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with state_lock(tmp_path / "a" / "state"):
            modes = [oct(path.stat().st_mode & 0o777) for path in (tmp_path / "a" / "state", tmp_path / "a/state/lock")]
    finally:
        os.umask(before)
    assert modes == ["0o700", "0o600"]


def test_the_name_of_an_earlier_holder_is_gone(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("9" * 15 + "\n")
    assert holder(tmp_path) is None, "what stands in the file holds nothing"
    with state_lock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_nobody_holds_what_is_not_there(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    assert holder(tmp_path / "nowhere") is None
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"


def test_a_holder_that_has_not_named_itself(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as file:
        flock(file, LOCK_EX | LOCK_NB)
        assert holder(tmp_path) == "unknown"
        with pytest.raises(FatalError, match="by process unknown"), state_lock(tmp_path):
            pass


def test_looking_does_not_take_it(tmp_path: Path) -> None:
    with state_lock(tmp_path):
        pass
    assert holder(tmp_path) is None
    with other_process(tmp_path) as process:
        assert holder(tmp_path) == holder(tmp_path) == str(process.pid)


def test_who_only_looks_at_that_moment_keeps_nobody_from_taking_it(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as looking:
        flock(looking, LOCK_SH | LOCK_NB)
        timer = Timer(0.01, looking.close)
        timer.start()
        with state_lock(tmp_path):
            assert looking.closed
        timer.join()


def test_a_lock_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(FatalError, match="cannot open") as caught, state_lock(tmp_path):
        pass
    assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER


def test_a_directory_that_may_not_be_looked_into(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "lock").touch(mode=0o600)
    with as_nobody():
        if os.access(closed, os.R_OK, effective_ids=True):
            pytest.skip("permissions bind nobody here")
        with pytest.raises(FatalError) as caught:
            holder(closed)
    assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER


def test_a_command_is_named(tmp_path: Path) -> None:
    """As a process's command line has it, where the system tells it."""
    command = [sys.executable, "-c", HOLD, str(tmp_path), "serve"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(FatalError) as caught, state_lock(tmp_path):
            pass
        process.kill()
    named = " (it is a `serve`)" if Path("/proc/self/cmdline").exists() else ""
    assert str(caught.value).endswith(f"process {process.pid}: wait for it, or end it{named}.")


def test_a_lock_that_was_removed_is_taken_again(tmp_path: Path) -> None:
    """Otherwise another process could take the one that is made in its place."""
    with state_lock(tmp_path) as held:
        held.check()
        (tmp_path / "lock").unlink()
        held.check()
        assert holder(tmp_path) == str(os.getpid())
        (tmp_path / "other").write_text("")
        (tmp_path / "other").replace(tmp_path / "lock")
        held.check()
        assert holder(tmp_path) == str(os.getpid())


def test_a_lock_that_another_process_has_taken_meanwhile_is_lost(tmp_path: Path) -> None:
    with state_lock(tmp_path) as held:
        (tmp_path / "lock").unlink()
        with other_process(tmp_path) as process:
            with pytest.raises(FatalError, match=f"by process {process.pid}") as caught:
                held.check()
            assert caught.value.exit_code is ExitCode.ALREADY_RUNNING


@pytest.mark.parametrize("how", ["replaced", "removed", "a file"])
def test_a_state_directory_that_is_another_one_now(tmp_path: Path, how: str) -> None:
    state = tmp_path / "state"
    with state_lock(state) as held:
        if how == "removed":
            (state / "lock").unlink()
            state.rmdir()
        else:
            state.rename(tmp_path / "old")
            state.mkdir() if how == "replaced" else state.write_text("")
        with pytest.raises(FatalError, match="removed or replaced while it was in use") as caught:
            held.check()
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


def test_a_state_directory_that_is_away_may_come_back(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with state_lock(state) as held:
        state.rename(tmp_path / "old")
        held.check()
        (tmp_path / "old").rename(state)
        held.check()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "lock").symlink_to(tmp_path / "kept")
    with pytest.raises(FatalError, match="cannot open"), state_lock(tmp_path):
        pass
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_pipe_in_place_of_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    assert holder(tmp_path) is None
