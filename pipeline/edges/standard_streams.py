"""stdout and stderr of this process, which may be closed, full, read-only, or without a reader.

A write to them never raises: what a command does matters more than who listens. What could not be written is counted,
and whoever ends the command asks. Everything that writes to `sys.stdout` and `sys.stderr` goes through here, libraries
too.

stdout is waited for, as nothing of it may be missing. stderr is not: a reader that stands still would hold up the event
loop. What it does not take at once is kept, up to a bound, and written with the next line.
"""

import errno
import fcntl
import io
import os
import select
import sys
import threading
from typing import TextIO

#: Bytes that stderr keeps for a reader that stands still. Ours: some thousand lines.
MAX_KEPT_BYTES = 1_048_576
#: Bytes that a pipe takes without waiting once it says that it can be written (POSIX).
_AT_ONCE_BYTES = select.PIPE_BUF
#: Seconds for which the end of the process waits for a reader of stderr.
LAST_WAIT_S = 1.0
_AGAIN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)
_STANDARD = 3


class _Stream(io.RawIOBase):
    """A descriptor that may refuse. `is_open`: False if whoever started us had closed it."""

    def __init__(self, descriptor: int, *, is_open: bool) -> None:
        self._descriptor = descriptor
        self._is_open = is_open

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return self._is_open and os.isatty(self._descriptor)

    def _write(self, data: bytes | memoryview) -> int:
        if not self._is_open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return os.write(self._descriptor, data)

    def _is_ready(self, within_s: float | None) -> bool:
        """True if the descriptor takes something now, or can only say by an error why it does not."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(None if within_s is None else within_s * 1_000))


class Stdout(_Stream):
    """stdout. `failure`: the error at which it stopped to take anything; None while it takes all."""

    failure: OSError | None = None

    def write(self, data: object) -> int:
        """Write all of it, or nothing more from the first error on; returns the length of `data`."""
        left = memoryview(data)  # type: ignore[arg-type]  # what the buffer above hands down
        size = len(left)
        while left and self.failure is None:
            try:
                left = left[self._write(left) :]
            except OSError as error:
                if error.errno not in _AGAIN:
                    self.failure = error
                elif error.errno != errno.EINTR:
                    self._is_ready(None)
        return size


class Stderr(_Stream):
    """stderr. `dropped_in_all`: the lines that it did not take."""

    def __init__(self, descriptor: int, *, is_open: bool) -> None:
        super().__init__(descriptor, is_open=is_open)
        self._lock = threading.Lock()
        self._kept = bytearray()
        #: The last byte that was taken ends no line: the rest of the line was dropped.
        self._is_within_line = False
        self._refuses = False
        self._untold = 0
        self.dropped_in_all = 0

    @property
    def works(self) -> bool:
        """True if all was taken that came since the last error."""
        return not self._kept and not self._refuses

    def write(self, data: object) -> int:
        """Write it, keep it or drop it; returns the length of `data`."""
        line = bytes(data)  # type: ignore[call-overload]  # what the buffer above hands down
        with self._lock:
            if len(self._kept) + len(line) > MAX_KEPT_BYTES:
                self._drop(line)
            else:
                self._kept += line
            self._write_kept(0.0)
        return len(line)

    def write_kept(self, within_s: float = 0.0) -> None:
        """Write what was kept, as far as it is taken; `within_s` is the longest pause between two pieces."""
        with self._lock:
            self._write_kept(within_s)

    def take_dropped(self) -> int:
        """The number of lines that were dropped and of which nobody was told; somebody is, then."""
        with self._lock:
            lines, self._untold = self._untold, 0
        return lines

    def _write_kept(self, within_s: float) -> None:
        while self._kept:
            try:
                if self._is_open and not self._is_ready(within_s):
                    return
                begins_anew = self._refuses and self._is_within_line
                if begins_anew:
                    self._write(b"\n")
                taken = self._write(memoryview(self._kept)[:_AT_ONCE_BYTES].tobytes())
            except OSError as error:
                if error.errno in _AGAIN:
                    return
                self._refuses = True
                self._drop(self._kept)
                self._kept.clear()
                return
            self._refuses = False
            self._is_within_line = self._kept[taken - 1] != ord("\n") if taken else self._is_within_line
            del self._kept[:taken]

    def _drop(self, lines: bytes | bytearray) -> None:
        count = lines.count(b"\n")
        self._untold += count
        self.dropped_in_all += count


def open_standard_descriptors() -> None:
    """Put /dev/null where stdin, stdout or stderr was closed: else a file of ours gets its number, and their output."""
    for descriptor in range(_STANDARD):
        try:
            fcntl.fcntl(descriptor, fcntl.F_GETFD)
        except OSError:
            # The lowest that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)


def bear_all_output() -> None:
    """Have nothing raised by a write to stdout or stderr, and characters escaped that a terminal cannot show."""
    sys.stdout = _text(sys.stdout, Stdout(1, is_open=sys.stdout is not None))
    sys.stderr = _text(sys.stderr, Stderr(2, is_open=sys.stderr is not None))


def _text(before: TextIO | None, stream: _Stream) -> TextIO:
    if before is not None:
        before.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(stream),
        encoding="utf-8" if before is None else before.encoding,
        errors="backslashreplace",
        line_buffering=isinstance(stream, Stderr) or stream.isatty(),
    )


def stdout_failure() -> OSError | None:
    """The error at which stdout stopped to take anything, of all that was written so far; None if it takes all."""
    sys.stdout.flush()
    stream = _raw(sys.stdout)
    return stream.failure if isinstance(stream, Stdout) else None


def stderr_stream() -> Stderr | None:
    """stderr, where it bears all output; None where somebody else's stream stands in its place."""
    stream = _raw(sys.stderr)
    return stream if isinstance(stream, Stderr) else None


def _raw(stream: object) -> object:
    return getattr(getattr(stream, "buffer", None), "raw", None)
