"""The live display of running loads: drawn in place, a few times a second at most, and gone when the last has ended.

It costs next to nothing: after each drawing it rests for so long that drawing is a small share of the time. Whatever
else is written to the terminal stands above it: lines of the log by the library, reports by `aside`.
"""

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from pipeline.core.display.moment import Moment
from pipeline.edges.views.load_screen import drawn
from pipeline.edges.views.signs import signs_for

#: The least seconds between two drawings.
REFRESH_S = 0.25
#: Seconds of rest for each second that a drawing took: drawing is two hundredths of the time at most. Ours.
_REST = 49

Sleep = Callable[[float], Awaitable[None]]
Monotonic = Callable[[], float]


class LoadScreen:
    """The display of all running loads of a process, on the one terminal `to`.

    `monotonic`, `sleep`: the clock by which it is drawn.
    """

    def __init__(self, to: Console, monotonic: Monotonic, sleep: Sleep) -> None:
        self._to = to
        self._monotonic = monotonic
        self._sleep = sleep
        self._signs = signs_for(to.encoding)
        self._shown: list[Callable[[], Moment]] = []
        self._next_at = float("-inf")
        # Reports are written by a thread, and may wait for their reader.
        self._turn = threading.Lock()
        self._live: Live | None = None
        self._lines: list[int] = []

    async def show(self, moment: Callable[[], Moment]) -> None:
        """Show a load beside the others until cancelled; `moment` tells how it is."""
        self._shown.append(moment)
        try:
            while True:
                if self._monotonic() >= self._next_at:
                    self._draw()
                await self._sleep(REFRESH_S)
        finally:
            self._shown.remove(moment)
            if not self._shown:
                self._end()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Write something else to the terminal in this context: the display is gone, and comes again behind it."""
        with self._turn:
            self._erase()
            yield

    def _draw(self) -> None:
        began_at = self._monotonic()
        # Who writes something else may be at it for long.
        if self._turn.acquire(blocking=False):
            try:
                self._show(drawn([each() for each in self._shown], self._to.width, self._to.height - 1, self._signs))
            finally:
                self._turn.release()
        ended_at = self._monotonic()
        self._next_at = max(began_at + REFRESH_S, ended_at + _REST * (ended_at - began_at))

    def _show(self, text: Text) -> None:
        text.no_wrap, text.overflow = True, "crop"
        if self._live is None:
            self._live = Live(
                text,
                console=self._to,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                vertical_overflow="crop",
            )
            self._live.start(refresh=True)
        else:
            self._leave_room()
            self._live.update(text, refresh=True)
        self._lines = [line.cell_len for line in text.split("\n", allow_blank=True)]

    def _leave_room(self) -> None:
        """Erase the lines that the terminal made of ours when it became narrower; the library knows of the others."""
        width = max(1, self._to.width)
        more = sum(max(0, -(-length // width) - 1) for length in self._lines)
        erased = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
        if more:
            self._to.control(Control(ControlType.CARRIAGE_RETURN, *(erased * more)))

    def _end(self) -> None:
        if self._turn.acquire(blocking=False):
            try:
                self._erase()
            finally:
                self._turn.release()

    def _erase(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            self._leave_room()
            live.stop()
