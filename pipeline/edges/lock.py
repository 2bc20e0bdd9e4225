"""The lock that allows one process per directory; it is held as long as the process lives."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.durable import disk_error, disk_errors, make_directory, sync_names

#: Attempts to take the lock, and seconds between them. A process that only asks whether the lock is held holds it for a
#: moment itself.
_TRIES = 4
_BETWEEN_S = 0.05
#: Commands that hold a directory, as a process's command line names them.
_COMMANDS = ("load", "serve", "retry", "abandon", "pause", "resume")


def state_lock(state: Path) -> AbstractContextManager[None]:
    """Hold the state directory. Raises `FatalError` (73), which names the process that holds it already."""
    return lock(state, f"the state directory {state}")


@contextmanager
def lock(directory: Path, what: str) -> Iterator[None]:
    """Hold a directory, with all names in it durable. Raises `FatalError` (73), which names the process that holds it.

    `what`: the directory, in the words of that message.
    """
    make_directory(directory)
    path = directory / "lock"
    with disk_errors(f"cannot open {path}"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not take(descriptor):
            message = _in_use(what, _read_pid(descriptor))
            raise FatalError(message, exit_code=ExitCode.ALREADY_RUNNING)
        with disk_errors(f"cannot write {path}"):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        sync_names(directory)
        yield
    finally:
        # Closing the file releases the lock. The end of the process does so too, however it ends.
        os.close(descriptor)


def holder(state: Path) -> str | None:
    """The number of the process that holds the state directory, or None.

    "unknown" if the process did not write its number.
    """
    try:
        descriptor = os.open(state / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, f"cannot open {state / 'lock'}") from error
    try:
        return None if is_free(descriptor) else _read_pid(descriptor)
    finally:
        os.close(descriptor)


def held_since(state: Path) -> datetime | None:
    """The time, in UTC, at which the state directory was last locked; None if it never was.

    While it is held, its holder locked it then.
    """
    try:
        return datetime.fromtimestamp((state / "lock").stat().st_mtime, UTC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, f"cannot look at {state / 'lock'}") from error


def take(descriptor: int) -> bool:
    """Lock an open file until it is closed; False if another process holds it."""
    for tried in range(_TRIES):
        if _try(descriptor, fcntl.LOCK_EX):
            return True
        time.sleep(_BETWEEN_S if tried < _TRIES - 1 else 0)
    return False


def is_free(descriptor: int) -> bool:
    """True if no process has locked an open file.

    The question locks it for a moment itself: close the file soon.
    """
    return _try(descriptor, fcntl.LOCK_SH)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_pid(descriptor: int) -> str:
    return os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"


def _in_use(what: str, pid: str) -> str:
    """The message that a directory is held, with who holds it and, where the system tells it, by which command."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="backslashreplace").split("\0")
    except OSError:
        words = []
    command = next((word for word in words if word in _COMMANDS), "")
    return f"{what} is in use by process {pid}: wait for it, or end it{f' (it is a `{command}`)' if command else ''}."
