"""One instance per state directory: a lock held as long as the process lives."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.durable import disk_error, make_directory


@contextmanager
def state_lock(state: Path) -> Iterator[None]:
    """Hold the state directory. Raises `FatalError` (73) naming the process that holds it already."""
    make_directory(state)
    path = state / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise disk_error(error, f"cannot open {path}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            raise FatalError(
                f"the state directory {state} is in use by process {holder}: wait for it, or end it.",
                exit_code=ExitCode.ALREADY_RUNNING,
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # Closing it lets go of the lock, and so does the end of the process however it ends.
        os.close(descriptor)


def is_locked(state: Path) -> bool:
    """Whether a process holds the state directory at the moment."""
    try:
        with state_lock(state):
            return False
    except FatalError as error:
        if error.exit_code is ExitCode.ALREADY_RUNNING:
            return True
        raise
