"""A sign of life of the process that serves: a small file that it holds locked, and writes again every few seconds.

Whoever looks can tell three things apart without asking the process. Nobody serves: the lock is free, so neither what a
crash left nor another process of the same number is taken for life. It serves: locked, and the beat is fresh. Its loop
does not turn: locked, and the beat is old. Ages are told by the machine's monotonic clock, which no one sets.

The file is written in place and never changes its length, so a full disk does not stop it. One line of JSON, filled up
with blanks.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.durable import disk_error
from pipeline.edges.lock import is_free, take

#: How often the process writes it (seconds).
BEAT_EVERY_S = 5.0
#: Length of the file; the longest beat has half of it.
_SIZE_BYTES = 512
_READ_TRIES = 3


@dataclass(frozen=True, slots=True)
class Beat:
    """What a process says of itself: times on the monotonic clock (seconds), and what it has open at the moment.

    `job` is the one it runs; `open_files` and `memory_bytes` (resident) are None where the system does not tell.
    """

    pid: int
    at_s: float
    started_s: float
    tasks: int
    open_files: int | None
    memory_bytes: int | None
    job: str | None = None
    is_paused: bool = False


class Heart:
    """The file, as the process sees it that holds the state directory, and so is the only one that writes it."""

    def __init__(self, state: Path) -> None:
        self._path = _file(state)
        self._descriptor: int | None = None

    def write(self, beat: Beat) -> None:
        """Say that it lives. Raises `FatalError` where the disk refuses even that; the next time it may go better."""
        line = json.dumps(asdict(beat), separators=(",", ":")).encode()
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
            os.pwrite(self._descriptor, line.ljust(_SIZE_BYTES - 1) + b"\n", 0)
        except OSError as error:
            raise disk_error(error, f"cannot write {self._path}") from error

    def _open(self) -> int:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Nobody else wants it: whoever looks at it has it for a moment only.
        if not take(descriptor):
            os.close(descriptor)
            raise FatalError(f"{self._path} is held by another process: end it.", exit_code=ExitCode.ALREADY_RUNNING)
        return descriptor

    def stop(self) -> None:
        """Nobody serves any more; so says the end of the process, too, however it ends."""
        if self._descriptor is not None:
            os.close(self._descriptor)


def read_beat(state: Path) -> Beat | None:
    """The latest beat of the process that serves this state directory; None where there is no such process."""
    path = _file(state)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, f"cannot open {path}") from error
    try:
        for _ in range(_READ_TRIES):
            if is_free(descriptor):
                return None
            try:
                return Beat(**json.loads(os.pread(descriptor, _SIZE_BYTES, 0)))
            except (ValueError, TypeError):
                # Half of one beat and half of the next, or a version of another process: look once more.
                continue
    finally:
        os.close(descriptor)
    raise FatalError(f"{path} is held, but is no heartbeat: another version writes it, or it is damaged.")


def _file(state: Path) -> Path:
    return state / "heartbeat"
