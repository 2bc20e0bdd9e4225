"""The notices of a process in its state directory: what `status`, `health` and the progress line say of its waiting.

* `service.json`: the service waits, because a job could not be finished (`Pause`).
* `sending.json`: something holds up sending (`HoldUps`, which has its words).
* `drops.json`: drops wait, or cannot be taken (`DropNotice`).

Each is there only while there is something to tell, and other versions read it too. Where a full disk takes none, the
heartbeat has the first two. `health` reads all every few seconds, so this module imports next to nothing.
"""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.duration import time_in_words
from pipeline.core.errors import FatalError
from pipeline.core.plain import of_plain
from pipeline.edges.durable import write_durably

_PAUSE, _HOLD_UPS, _DROPS = "service.json", "sending.json", "drops.json"
#: Said where sending was paused by request.
PAUSED = "sending is paused: `profile-pipeline resume` goes on"


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait of the service, because a job could not be finished.

    `exit_code`: with which the job ended.
    `why`: the reason in words, or None.
    `since`: UTC in ISO 8601.
    `job`: the job's id.
    """

    exit_code: int
    why: str | None
    since: str
    job: str


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


@dataclass(frozen=True, slots=True)
class WaitingDrop:
    """A drop that is waited for, because it is not whole.

    `name`: its signal.
    `why`: the reason in words.
    `since`, `until`: UTC in ISO 8601; after `until` it is taken, or fails, unless it changes before.
    """

    name: str
    why: str
    since: str
    until: str


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A drop that this process cannot take, so that somebody has to act: its signal, the reason, since when (UTC)."""

    name: str
    why: str
    since: str


@dataclass(frozen=True, slots=True)
class DropNotice:
    """The drops that a service has not taken. `drops_waiting` has one at most: all others wait behind it."""

    drops_waiting: tuple[WaitingDrop, ...] = ()
    drops_not_taken: tuple[NotTaken, ...] = ()


def put_up_pause(state: Path, pause: Pause) -> bool:
    """Put up this pause, in place of any other. False on a full disk: the old notice stays. Blocks."""
    return _put_up(state / _PAUSE, {"paused": asdict(pause)})


def take_down_pause(state: Path) -> None:
    """Remove the notice of a pause; where the disk refuses that, it stays. Blocks."""
    with suppress(OSError):
        (state / _PAUSE).unlink()


def read_pause(state: Path) -> Pause | None:
    """The pause that is put up; None if there is none, or none that can be read."""
    try:
        return pause_of(orjson.loads((state / _PAUSE).read_bytes())["paused"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def pause_of(values: Any) -> Pause | None:
    """The pause that `asdict` made plain; None for anything else."""
    try:
        return Pause(values.get("exit_code", 0), values.get("why"), values["since"], values.get("job", ""))
    except (LookupError, TypeError, AttributeError):
        return None


def put_up_hold_ups(state: Path, told: HoldUps) -> bool:
    """Put up what holds up sending, in place of any other; nothing if there is nothing. Blocks.

    False if the disk refuses it: the old notice goes then, since what was true before is not true any more.
    """
    file = state / _HOLD_UPS
    try:
        if told != HoldUps() and _put_up(file, asdict(told)):
            return True
        file.unlink(missing_ok=True)
    except OSError:
        return False
    return told == HoldUps()


def read_hold_ups(state: Path) -> HoldUps:
    """The things that hold up sending, as the process that sends last told them; none where it told none."""
    try:
        return HoldUps.of(orjson.loads((state / _HOLD_UPS).read_bytes()))
    except (OSError, ValueError):
        return HoldUps()


def put_up_drops(state: Path, drops: DropNotice) -> bool:
    """Put up these drops, in place of others; nothing if there are none. Blocks.

    False if the disk refuses it: it keeps the old notice.
    """
    if drops == DropNotice():
        try:
            (state / _DROPS).unlink(missing_ok=True)
        except OSError:
            return False
        return True
    return _put_up(state / _DROPS, asdict(drops))


def read_drops(state: Path) -> DropNotice:
    """The drops that are put up; none where none are, or none that can be read."""
    try:
        return drops_of(orjson.loads((state / _DROPS).read_bytes()))
    except (OSError, ValueError):
        return DropNotice()


def drops_of(values: Any) -> DropNotice:
    """The drops that `asdict` made plain; none for anything else."""
    try:
        return of_plain(DropNotice, values)
    except (ValueError, LookupError, TypeError, AttributeError):
        return DropNotice()


def _put_up(file: Path, values: dict[str, Any]) -> bool:
    try:
        write_durably(file, [orjson.dumps(values)])
    except FatalError:
        return False
    return True
