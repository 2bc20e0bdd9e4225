"""The notice of drops that wait or cannot be taken, for `status` and `health`: `drops.json` in the state directory."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from pipeline.core.errors import FatalError
from pipeline.core.plain import of_plain
from pipeline.edges.durable import write_durably

_NAME = "drops.json"


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


def put_up_drops(state: Path, drops: DropNotice) -> None:
    """Put up a notice of these drops, in place of any other; none if there are none. A full disk keeps the old one."""
    if drops == DropNotice():
        (state / _NAME).unlink(missing_ok=True)
        return
    with suppress(FatalError):
        write_durably(state / _NAME, [orjson.dumps(asdict(drops))])


def read_drops(state: Path) -> DropNotice:
    """The drops in the notice; none where there is no notice, or none that can be read."""
    try:
        return of_plain(DropNotice, orjson.loads((state / _NAME).read_bytes()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return DropNotice()
