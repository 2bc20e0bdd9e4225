"""Terminals, and what they may be given: colours only where somebody sees them and wants them."""

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def is_colored(stream: TextIO | None) -> bool:
    """True if a stream is a terminal that shows colours, and nobody set NO_COLOR (https://no-color.org)."""
    wants_none = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")
    return stream is not None and stream.isatty() and not wants_none


def console(*, stderr: bool = False) -> "Console":
    """A console for people, on stdout or stderr. With NO_COLOR it writes no escape sequence for a style at all."""
    # Imported late: who prints nothing for people need not wait for it.
    from rich.console import Console

    return Console(stderr=stderr, color_system=None if os.environ.get("NO_COLOR") else "auto")
