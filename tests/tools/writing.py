"""A process of its own that writes a file, pauses, goes on and closes it, each when a test says so."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROGRAM = """
import sys
file = open(sys.argv[1], sys.argv[2])
print("opened", flush=True)
for line in sys.stdin:
    if line == "close\\n":
        file.close()
    else:
        file.write(eval(line))
        file.flush()
    print("done", flush=True)
"""


class Writer:
    """A process that has a file open for writing."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def write(self, text: str) -> None:
        """Write more, and return when it is in the file."""
        self._tell(repr(text))

    def close(self) -> None:
        """Close the file; the process stays."""
        self._tell("close")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"


@contextmanager
def writing(path: Path, mode: str = "w") -> Iterator[Writer]:
    """A process that has opened this file, until the body ends."""
    command = [sys.executable, "-S", "-c", _PROGRAM, str(path), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "opened\n"
            yield Writer(process)
        finally:
            process.kill()
