"""Terminals, and what they may be given: text that they do not obey, and colours where somebody wants them."""

import os
from typing import TYPE_CHECKING, TextIO

from pipeline.core.printable import printable_lines

if TYPE_CHECKING:
    from rich.console import Console


def is_colored(stream: TextIO | None) -> bool:
    """True if a stream is a terminal that shows colours, and nobody set NO_COLOR (https://no-color.org)."""
    wants_none = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")
    return stream is not None and stream.isatty() and not wants_none


def is_redrawn(stream: TextIO | None) -> bool:
    """True if a stream is a terminal on which a display can be drawn in place."""
    return stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def console(*, stderr: bool = False) -> "Console":
    """A console for people, on stdout or stderr, which writes an escape for what is not printable in any text.

    With NO_COLOR it writes no escape sequence for a style at all.
    """
    # Imported late: who prints nothing for people need not wait for it.
    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
    from rich.segment import Segment

    class Printable:
        """A renderable, in whose text a terminal obeys nothing; styles and moves of the cursor are the library's."""

        def __init__(self, renderable: ConsoleRenderable) -> None:
            self._renderable = renderable

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for text, style, control in console.render(self._renderable, options):
                yield Segment(text if control else printable_lines(text), style, control)

    class Hook(RenderHook):
        def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
            return [Printable(each) for each in renderables]

    made = Console(stderr=stderr, color_system=None if os.environ.get("NO_COLOR") else "auto")
    made.push_render_hook(Hook())
    return made
