"""The lock that allows one process per directory; it is held as long as the process lives.

What is held is the directory that was there, by a descriptor, and the file `lock` in it. A path may lead to another
directory later, and the file may be replaced: then nothing is locked any more, so whoever holds one looks again.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.durable import disk_error, disk_errors, make_directory, sync_names

_NAME = "lock"
#: Attempts to take the lock, and seconds between them. A process that only asks whether the lock is held holds it for a
#: moment itself.
_TRIES = 4
_BETWEEN_S = 0.05
#: Commands that hold a directory, as a process's command line names them.
_COMMANDS = ("load", "serve", "retry", "abandon", "pause", "resume")


class Lock:
    """A directory that this process holds.

    `what`: the directory, in words. `descriptor`: of the directory; whoever made it closes it. All methods block.
    """

    def __init__(self, descriptor: int, what: str) -> None:
        """Hold it. Raises `FatalError`: 73, which names the process that holds it already, or 74."""
        self._directory = descriptor
        self._what = what
        self._file = self._take()

    def renew(self) -> bool:
        """Take the lock again if its file was removed or replaced; True then. Raises `FatalError` as the first time.

        Without that, another process could take the one that is there now.
        """
        with disk_errors(f"cannot look at the lock of {self._what}"):
            if self._is_in_place():
                return False
        before, self._file = self._file, self._take()
        os.close(before)
        return True

    def close(self) -> None:
        """Let go of it. The end of the process does so too, however it ends."""
        os.close(self._file)

    def _is_in_place(self) -> bool:
        held = os.fstat(self._file)
        try:
            there = os.stat(_NAME, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(held, there)

    def _take(self) -> int:
        with disk_errors(f"cannot open the lock of {self._what}"):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(_NAME, flags, 0o600, dir_fd=self._directory)
        try:
            if not take(file):
                raise FatalError(_in_use(self._what, _read_pid(file)), exit_code=ExitCode.ALREADY_RUNNING)
            with disk_errors(f"cannot write the lock of {self._what}"):
                os.ftruncate(file, 0)
                os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(file)
            raise
        return file


class StateLock:
    """The state directory that this process holds."""

    def __init__(self, directory: Path, descriptor: int) -> None:
        self._path = directory
        self._descriptor = descriptor
        self._lock = Lock(descriptor, f"the state directory {directory}")

    def check(self) -> None:
        """Make sure that it is still held, and still the one at its path. Blocks.

        Raises `FatalError`: 74 if another directory is there, or it was removed; 73 if another process holds it by now.
        """
        with disk_errors(f"cannot look at the state directory {self._path}"):
            if not self._is_in_place():
                raise FatalError(
                    f"the state directory {self._path} was removed or replaced while it was in use: what is there now "
                    "is not what this process began with. Put the one that was there back, or restore it whole, and "
                    "run again.",
                    exit_code=ExitCode.DISK_OR_LEDGER,
                )
        self._lock.renew()

    def close(self) -> None:
        """Let go of it."""
        self._lock.close()

    def _is_in_place(self) -> bool:
        held = os.fstat(self._descriptor)
        if not held.st_nlink:
            return False
        try:
            return os.path.samestat(held, self._path.stat())
        except OSError as error:
            # Away: who writes there meets an error of its own, and it may come back.
            return error.errno != errno.ENOTDIR


@contextmanager
def state_lock(state: Path) -> Iterator[StateLock]:
    """Hold the state directory, with all names in it durable.

    Raises `FatalError` (73), which names the process that holds it already.
    """
    make_directory(state)
    with disk_errors(f"cannot open {state}"):
        descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        held = StateLock(state, descriptor)
        try:
            sync_names(state)
            yield held
        finally:
            held.close()
    finally:
        os.close(descriptor)


def holder(state: Path) -> str | None:
    """The number of the process that holds the state directory, or None.

    "unknown" if the process did not write its number.
    """
    try:
        # A pipe in its place is not waited for.
        descriptor = os.open(state / "lock", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
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
