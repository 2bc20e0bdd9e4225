"""The live display: drawn now and then, in place of itself, and out of the way of whatever else is written."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import pytest
from anyio.lowlevel import checkpoint
from rich.console import Console

from pipeline.core.display.moment import Moment
from pipeline.edges.views.live import REFRESH_S, LoadScreen

ERASED_AND_UP = "\x1b[2K\x1b[1A"
#: Of the display of one load that has done nothing yet.
LINES = 5


@dataclass
class Terminal:
    """A terminal of which the size can be set, and a clock that goes on while somebody sleeps."""

    width: int = 80
    now: float = 0.0
    told: int = 0
    takes_s: float = 0.0
    text: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        # No variables of ours decide how it looks.
        self.console = Console(
            file=self.text, width=self.width, height=24, force_terminal=True, color_system=None, _environ={}
        )
        self.screen = LoadScreen(self.console, lambda: self.now, self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await checkpoint()

    def moment(self, name: str = "a.csv") -> Callable[[], Moment]:
        def told() -> Moment:
            self.told += 1
            self.now += self.takes_s
            return Moment(name, does="see [upload] and [/drop]")

        return told

    async def show_until(self, ends_at: float, name: str = "a.csv") -> None:
        """Show a load until a time of the clock."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.screen.show, self.moment(name))
            while self.now < ends_at:
                await checkpoint()
            tasks.cancel_scope.cancel()

    def taken(self) -> str:
        """What was written since this was asked last."""
        text = self.text.getvalue()
        self.text.seek(0)
        self.text.truncate()
        return text


async def test_a_load_is_shown_and_gone_at_its_end() -> None:
    terminal = Terminal()
    await terminal.show_until(1.0)
    text = terminal.taken()
    assert text.startswith("\x1b[?25l"), "the cursor is hidden"
    assert "a.csv" in text
    assert "see [upload] and [/drop]" in text, "brackets are no styles"
    behind = text.rpartition("\x1b[?25h")[2]
    assert behind.count("\x1b[1A\x1b[2K") == LINES, "its lines are erased, and the cursor is back"


async def test_it_is_drawn_four_times_a_second_at_most_for_all_loads_together() -> None:
    terminal = Terminal()
    async with anyio.create_task_group() as tasks:
        for name in "abcde":
            tasks.start_soon(terminal.show_until, 100.0, name)
    drawings = terminal.told / 5
    assert 1 <= drawings <= 2 + 100.0 / REFRESH_S


async def test_it_rests_the_longer_the_longer_a_drawing_takes() -> None:
    terminal = Terminal(takes_s=0.1)
    await terminal.show_until(1_000.0)
    assert 1 <= terminal.told * terminal.takes_s <= 0.02 * terminal.now


async def test_several_loads_come_and_go() -> None:
    terminal = Terminal()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(terminal.show_until, 3.0, "first.csv")
        tasks.start_soon(terminal.show_until, 6.0, "second.csv")
    assert "first.csv" in (text := terminal.taken())
    assert "second.csv" in text
    # All have gone: the display ended with them, and begins anew.
    await terminal.show_until(9.0, "third.csv")
    text = terminal.taken()
    assert "third.csv" in text
    assert "second.csv" not in text


async def test_what_else_is_written_stands_above_it() -> None:
    terminal = Terminal()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(terminal.screen.show, terminal.moment())
        while not terminal.told:
            await checkpoint()
        terminal.taken()
        with terminal.screen.aside():
            assert "\x1b[?25h" in terminal.taken(), "the display is gone"
            told = terminal.told
            began_at = terminal.now
            while terminal.now < began_at + 5.0:
                await checkpoint()
            assert terminal.taken() == ""
            assert terminal.told >= told
        while "a.csv" not in terminal.text.getvalue():
            await checkpoint()
        tasks.cancel_scope.cancel()


async def test_the_end_does_not_wait_for_who_writes_something_else() -> None:
    terminal = Terminal()
    with anyio.fail_after(10.0):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(terminal.screen.show, terminal.moment())
            while not terminal.told:
                await checkpoint()
            with terminal.screen.aside():
                tasks.cancel_scope.cancel()
                await anyio.lowlevel.cancel_shielded_checkpoint()
        assert terminal.screen is not None


@pytest.mark.parametrize(("width", "more"), [(80, 0), (79, 1), (41, 1), (39, 2)])
async def test_lines_that_a_narrower_terminal_broke_are_erased(width: int, more: int) -> None:
    """The first line of the display is as wide as the terminal was."""
    terminal = Terminal()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(terminal.screen.show, terminal.moment())
        while not terminal.told:
            await checkpoint()
        terminal.taken()
        terminal.console.width = width
        while "a.csv" not in terminal.text.getvalue():
            await checkpoint()
        tasks.cancel_scope.cancel()
    assert terminal.taken().partition("a.csv")[0].count(ERASED_AND_UP) == LINES - 1 + more
