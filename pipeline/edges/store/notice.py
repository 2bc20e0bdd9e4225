"""The service's notice for `status` and `health`, in `service.json` in the state directory.

It has the reason why the service waits, and the drops that wait or cannot be taken.
"""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.errors import FatalError
from pipeline.core.plain import of_plain
from pipeline.edges.durable import write_durably

_NAME = "service.json"


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
    """What the service says of drops that it has not taken."""

    waiting: tuple[WaitingDrop, ...] = ()
    not_taken: tuple[NotTaken, ...] = ()


def put_up(state: Path, pause: Pause) -> None:
    """Put this pause into the notice, in place of any other. On a full disk, the old notice stays."""
    _change(state, {"paused": asdict(pause)})


def put_up_drops(state: Path, drops: DropNotice) -> None:
    """Put these drops into the notice, in place of all others. On a full disk, the old notice stays."""
    waiting, not_taken = [asdict(each) for each in drops.waiting], [asdict(each) for each in drops.not_taken]
    _change(state, {"drops_waiting": waiting, "drops_not_taken": not_taken})


def take_down(state: Path) -> None:
    """Remove the pause from the notice."""
    _change(state, {"paused": None})


def _change(state: Path, values: dict[str, Any]) -> None:
    notice = {key: value for key, value in (_read(state) | values).items() if value}
    if not notice:
        (state / _NAME).unlink(missing_ok=True)
        return
    with suppress(FatalError):
        write_durably(state / _NAME, [orjson.dumps(notice)])


def _read(state: Path) -> dict[str, Any]:
    try:
        told = orjson.loads((state / _NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def read_drops(state: Path) -> DropNotice:
    """The drops in the service's notice; none where it cannot be read."""
    told = _read(state)
    try:
        return DropNotice(
            tuple(of_plain(WaitingDrop, each) for each in told.get("drops_waiting", ())),
            tuple(of_plain(NotTaken, each) for each in told.get("drops_not_taken", ())),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return DropNotice()


def read_pause(state: Path) -> Pause | None:
    """The pause in the service's notice; None if there is none, or none that can be read."""
    try:
        told: dict[str, Any] = _read(state)["paused"]
        return Pause(told.get("exit_code", 0), told.get("why"), told["since"], told.get("job", ""))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
