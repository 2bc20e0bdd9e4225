"""The things that hold up sending, for `status`, `health`, the progress line and the log: one source of their words.

The process that sends keeps them in `sending.json` in the state directory, which is there only while there are any.
`health` reads it every few seconds, so this module imports next to nothing.
"""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.duration import time_in_words
from pipeline.core.errors import FatalError
from pipeline.edges.durable import write_durably

_NAME = "sending.json"
#: Said where sending was paused by request.
PAUSED = "sending is paused: `profile-pipeline resume` goes on"


@dataclass(frozen=True, slots=True)
class HoldUps:
    """The things that hold up sending. Times are UTC in ISO 8601, or None where there is nothing to tell.

    `away_since`: Target gives no usable answer since then. `last_answer`: the last answer, in our words.
    `calls_from`: no call may begin before, because the budget of calls is used up.
    `is_shared`: somebody else seems to use that budget too, so that fewer calls are made.
    """

    away_since: str | None = None
    last_answer: str | None = None
    calls_from: str | None = None
    is_shared: bool = False

    @property
    def is_slowed_only(self) -> bool:
        """True if calls are made, though fewer than usual."""
        return self.is_shared and not (self.away_since or self.calls_from)

    @property
    def words(self) -> list[str]:
        """Each of them in words, for people."""
        told = []
        if self.away_since:
            since = time_in_words(self.away_since)
            told.append(f"Target gives no usable answer since {since}, the last was: {self.last_answer}")
        if self.calls_from:
            others = " (somebody else uses the budget of the account too)" if self.is_shared else ""
            begins = time_in_words(self.calls_from)
            told.append(f"the budget of calls is used up{others}, the next call begins at {begins}")
        elif self.is_shared:
            told.append("fewer calls are made, since somebody else uses the budget of the account too")
        return told

    @classmethod
    def of(cls, values: Any) -> "HoldUps":
        """Those that `asdict` made plain; none for anything else."""
        if not isinstance(values, dict):
            return cls()
        since, last, calls_from = (values.get(name) or None for name in ("away_since", "last_answer", "calls_from"))
        return cls(since, last, calls_from, is_shared=bool(values.get("is_shared")))


def write_hold_ups(state: Path, told: HoldUps) -> bool:
    """Keep the things that hold up sending, in place of earlier ones. False if the disk refuses it. Blocks."""
    file = state / _NAME
    try:
        if told == HoldUps():
            file.unlink(missing_ok=True)
        else:
            write_durably(file, [orjson.dumps(asdict(told))])
    except (FatalError, OSError):
        # What was true before is not true any more.
        with suppress(OSError):
            file.unlink(missing_ok=True)
        return False
    return True


def read_hold_ups(state: Path) -> HoldUps:
    """The things that hold up sending, as the process that sends last told them; none where it told none."""
    try:
        return HoldUps.of(orjson.loads((state / _NAME).read_bytes()))
    except (OSError, ValueError):
        return HoldUps()
