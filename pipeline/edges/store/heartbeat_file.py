"""The heartbeat: a small file that the serving process keeps locked, and writes again every few seconds.

A reader can tell three cases apart without asking the process:

* nobody serves: the lock is free; a file left by a crash, or a process of the same number, is not taken for life;
* a process serves: the file is locked, and the beat is fresh;
* its event loop hangs: the file is locked, and the beat is old.

Ages are measured by the machine's monotonic clock, which nobody sets.

The file is written in place and never changes its length, so a full disk does not stop it. It is one line of JSON,
padded with blanks.
"""

import errno
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from stat import S_ISREG
from typing import Any

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.durable import disk_error, disk_errors
from pipeline.edges.lock import is_free, take

#: Seconds between two beats.
BEAT_EVERY_S = 5.0
#: Bytes of the file. A beat without notices takes at most 256 of them.
_SIZE_BYTES = 4_096
_READ_TRIES = 3
#: What was put in its place is neither followed nor waited for.
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Beat:
    """The state of a serving process. Times are seconds of the monotonic clock.

    `at_s`: the time of this beat.
    `started_s`: the time at which the process began.
    `tasks`: the number of its tasks.
    `open_files`, `memory_bytes` (resident): None if the system does not say.
    `job`: the id of the job that runs, or None.
    `notices`: by client code, what the disk did not take: the `pause` of its service, and what holds up its `sending`;
    and what is `failing` because of a bug. With the first one, why the `web` server does not listen.
    `log_lines_dropped`: lines of the log that stderr did not take.
    """

    pid: int
    at_s: float
    started_s: float
    tasks: int
    open_files: int | None
    memory_bytes: int | None
    job: str | None = None
    is_paused: bool = False
    notices: dict[str, dict[str, Any]] = field(default_factory=dict)
    log_lines_dropped: int = 0


class Heart:
    """The heartbeat file, for the process that holds the state directory: it is the only one that writes the file."""

    def __init__(self, state: Path) -> None:
        self._path = _file(state)
        self._descriptor: int | None = None

    def write(self, beat: Beat) -> None:
        """Write a beat. Raises `FatalError` if the disk refuses even that; a later beat may succeed."""
        line = _line(beat)
        if len(line) >= _SIZE_BYTES:
            # Of many client codes at once: that it lives matters more than why each of them waits.
            line = _line(replace(beat, notices={}))
        with disk_errors(f"cannot write {self._path}"):
            if self._descriptor is None:
                self._descriptor = self._open()
            os.pwrite(self._descriptor, line.ljust(_SIZE_BYTES - 1) + b"\n", 0)

    def _open(self) -> int:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        if not S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a file", str(self._path))
        # No other process keeps this lock: a reader has it only for a moment.
        if not take(descriptor):
            os.close(descriptor)
            raise FatalError(f"{self._path} is held by another process: end it.", exit_code=ExitCode.ALREADY_RUNNING)
        return descriptor

    def stop(self) -> None:
        """Release the file: nobody serves any more. The end of the process does so too, however it ends."""
        if self._descriptor is not None:
            os.close(self._descriptor)


def _line(beat: Beat) -> bytes:
    return json.dumps(asdict(beat), separators=(",", ":")).encode()


def read_beat(state: Path) -> Beat | None:
    """The latest beat of the process that serves this state directory; None if there is no such process."""
    path = _file(state)
    try:
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, f"cannot open {path}") from error
    try:
        for _ in range(_READ_TRIES):
            if not S_ISREG(os.fstat(descriptor).st_mode) or is_free(descriptor):
                return None
            try:
                return Beat(**json.loads(os.pread(descriptor, _SIZE_BYTES, 0)))
            except (ValueError, TypeError):
                # Half of one beat and half of the next, or the beat of another version: read once more.
                continue
    finally:
        os.close(descriptor)
    raise FatalError(f"{path} is held, but is no heartbeat: another version writes it, or it is damaged.")


def _file(state: Path) -> Path:
    return state / "heartbeat"
