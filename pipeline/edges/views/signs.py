"""The signs of a display: one for each mark of a batch, in colour and without, in Unicode and in ASCII."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.core.display.marks import Mark

#: Mark -> its style. No two that mean different things hang on the colour alone: their signs differ too.
STYLES = {
    Mark.COMPLETE: "green",
    Mark.ACCEPTED: "cyan",
    Mark.SENDING: "bold blue",
    Mark.SEALED: "dim",
    Mark.HELD: "bold yellow",
    Mark.FAILED: "bold red",
}


@dataclass(frozen=True, slots=True)
class Signs:
    """The characters of a display, one column wide each. A cell fills as its batch moves; `done`, `left` are a bar."""

    marks: Mapping[Mark, str]
    done: str
    left: str
    cut: str


UNICODE = Signs(
    {
        Mark.SEALED: "▁",
        Mark.SENDING: "▃",
        Mark.ACCEPTED: "▆",
        Mark.COMPLETE: "█",
        Mark.HELD: "◆",
        Mark.FAILED: "×",
    },
    done="━",
    left="─",
    cut="…",
)
ASCII = Signs(
    {
        Mark.SEALED: ".",
        Mark.SENDING: "-",
        Mark.ACCEPTED: "+",
        Mark.COMPLETE: "#",
        Mark.HELD: "?",
        Mark.FAILED: "x",
    },
    done="=",
    left="-",
    cut="~",
)


def signs_for(encoding: str, environment: Mapping[str, str] = os.environ) -> Signs:
    """The signs that a terminal shows: ASCII where its locale or stream is not UTF-8, or its font has only a few."""
    named = (environment.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next((each for each in named if each), "")
    is_utf_8 = all("utf8" in each.lower().replace("-", "") for each in (locale, encoding))
    return UNICODE if is_utf_8 and environment.get("TERM") != "linux" else ASCII
