"""Runs a program and tells what it and its children used.

Wall: from before it is started until it has ended. Processor time: what the kernel has counted for the process and
for every child of it that was waited for, exact. Memory: resident bytes of the process and all its descendants, added
up every 20 ms from /proc; pages that several of them share are counted for each. A single process cannot have a peak
between two looks, since the kernel keeps its highest mark. Without /proc, memory is told as 0.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

LOOK_EVERY_S = 0.02
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Used:
    """What a program printed, and what it used: seconds and bytes."""

    output: str
    wall_s: float
    cpu_s: float
    peak_bytes: int


def run(command: list[str]) -> Used:
    """Run a program to its end. Ends the benchmark where it fails, with what it said."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, stdin=subprocess.DEVNULL, env=_environment())
        memory = _Memory(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
        peak_bytes = memory.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{text}{errors.read().decode()[-2000:]}")
        return Used(text, wall_s, usage.ru_utime + usage.ru_stime, peak_bytes)


def _environment() -> dict[str, str]:
    """That of this process; but compiled modules are kept, as they are where a program is installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class _Memory:
    """Watches the memory of a process and its descendants in a thread."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The most that was seen."""
        self._ended.set()
        self._thread.join()
        return self._peak_bytes

    def _watch(self) -> None:
        while True:
            seen = [_memory(pid) for pid in _tree(self._pid)]
            together = sum(now for now, _ in seen)
            self._peak_bytes = max(self._peak_bytes, together, *(highest for _, highest in seen), 0)
            if self._ended.wait(LOOK_EVERY_S):
                return


def _tree(pid: int) -> list[int]:
    """A process and its descendants, as far as they are there."""
    found = [pid]
    try:
        for task in (_PROC / str(pid) / "task").iterdir():
            for child in (task / "children").read_text().split():
                found += _tree(int(child))
    except OSError:
        pass  # it has ended meanwhile
    return found


def _memory(pid: int) -> tuple[int, int]:
    """Resident bytes of a process: now, and the most there were since its program was started."""
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0, 0
    # Lines such as "VmRSS:     1234 kB"; a process that has ended has none.
    marks = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS:", "VmHWM:"))}
    return marks.get("VmRSS:", 0), marks.get("VmHWM:", 0)
