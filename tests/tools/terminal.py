"""A terminal on which the real program runs: keys go in, and what a person would see is read off it."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.tools.support import program, until

CTRL_C = b"\x03"
_PIECE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|\x1b.|[\r\n\b\t\x07]|[^\x1b\r\n\b\t\x07]+", re.DOTALL)
#: It gives the program the terminal of its stdin, so that Ctrl-C and a new size reach it.
_WITH_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Screen:
    """The cells of a terminal, as far as the program uses it; each character is one column wide."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.is_cursor_shown = True
        self.is_alternate = False
        self._lines = [""]
        self._kept = [""]
        self._row = self._column = 0

    @property
    def lines(self) -> list[str]:
        """All lines since the beginning, without blanks at their ends."""
        return [line.rstrip() for line in self._lines]

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines)

    def take(self, text: str) -> None:
        """Obey what was written."""
        for match in _PIECE.finditer(text):
            piece, (private, numbers, action) = match[0], match.groups()
            if piece == "\n":
                self._go_down()
            elif piece == "\r":
                self._column = 0
            elif action:
                self._act(private, numbers, action)
            elif not piece.startswith("\x1b") and piece not in "\b\t\x07":
                self._put(piece)

    def _act(self, private: str, numbers: str, action: str) -> None:
        count = int(numbers.partition(";")[0] or 0)
        match private + action:
            case "A":
                self._row = max(0, self._row - max(1, count))
            case "K":
                self._lines[self._row] = "" if count == 2 else self._lines[self._row][: self._column]
            case "H":
                self._row, self._column = max(0, len(self._lines) - self.height) if not self.is_alternate else 0, 0
            case "J":
                self._lines = (
                    [""] if count == 2 else [*self._lines[: self._row], self._lines[self._row][: self._column]]
                )
                self._row = min(self._row, len(self._lines) - 1)
            case "?h" | "?l":
                self._switch(numbers, is_on=action == "h")

    def _switch(self, numbers: str, *, is_on: bool) -> None:
        if numbers == "25":
            self.is_cursor_shown = is_on
        elif numbers == "1049" and is_on != self.is_alternate:
            self.is_alternate = is_on
            self._lines, self._kept = (["", *[]], self._lines) if is_on else (self._kept, [""])
            self._row, self._column = (0, 0) if is_on else (len(self._lines) - 1, len(self._lines[-1]))

    def _go_down(self) -> None:
        self._row += 1
        if self._row == len(self._lines):
            self._lines.append("")

    def _put(self, text: str) -> None:
        for character in text:
            if self._column == self.width:
                self._column = 0
                self._go_down()
            line = self._lines[self._row].ljust(self._column)
            self._lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
            self._column += 1


class Terminal:
    """A terminal with the program on it. `screen` is what it shows; `settings` are those of its driver."""

    def __init__(self, ours: int, theirs: int, process: asyncio.subprocess.Process, screen: Screen) -> None:
        self.screen = screen
        self.process = process
        self._ours, self._theirs = ours, theirs
        self._text = b""

    @property
    def settings(self) -> list[object]:
        """Whether keys are echoed, come line by line, and so on."""
        return list(termios.tcgetattr(self._theirs)[:4])

    def press(self, keys: bytes) -> None:
        """Press these keys."""
        os.write(self._ours, keys)

    def resize(self, width: int, height: int) -> None:
        """Give it another size; what it shows stays as it is."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.screen.width, self.screen.height = width, height

    async def until(self, condition: Callable[[Screen], object]) -> None:
        """Wait until the screen is so."""
        await until(lambda: condition(self.screen), within_s=60.0)

    async def ended(self) -> int:
        """Wait until the program ends and all that it wrote is shown; its exit code."""
        async with asyncio.timeout(60.0):
            code = await self.process.wait()
        self.read()
        return code

    def read(self) -> None:
        """Show what the program has written."""
        with suppress(BlockingIOError, OSError):
            while piece := os.read(self._ours, 65_536):
                self._text += piece
                # A character may come in two pieces.
                whole = len(self._text)
                while whole and (self._text[whole - 1] & 0xC0 == 0x80 or self._text[whole - 1] >= 0xC0):
                    whole -= 1
                escape = self._text.rfind(b"\x1b", max(0, whole - 16), whole)
                if escape >= 0 and not re.search(rb"[A-Za-z]", self._text[escape:whole]):
                    whole = escape
                self.screen.take(self._text[:whole].decode())
                self._text = self._text[whole:]


@asynccontextmanager
async def on_terminal(
    *arguments: str | Path,
    width: int = 80,
    height: int = 24,
    env: dict[str, str] | None = None,
    stdout: Path | None = None,
) -> AsyncIterator[Terminal]:
    """The program on a terminal of this size; killed if the test ends before it. `stdout` may be a file."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    variables = {**kept, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(env or {})}
    out = theirs if stdout is None else os.open(stdout, os.O_WRONLY | os.O_CREAT)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WITH_A_TERMINAL, *program(), *map(str, arguments)),
        stdin=theirs,
        stdout=out,
        stderr=theirs,
        env=variables,
    )
    if out != theirs:
        os.close(out)
    terminal = Terminal(ours, theirs, process, Screen(width, height))
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, terminal.read)
    try:
        yield terminal
    finally:
        loop.remove_reader(ours)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        os.close(ours)
        os.close(theirs)
