"""The service's notice for `status` and `health`: the reason why it waits, in `service.json` in the state directory."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.errors import FatalError
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


def put_up(state: Path, pause: Pause) -> bool:
    """Put this pause into the notice, in place of any other. False on a full disk: the old notice stays."""
    try:
        write_durably(state / _NAME, [orjson.dumps({"paused": asdict(pause)})])
    except FatalError:
        return False
    return True


def take_down(state: Path) -> None:
    """Remove the notice."""
    (state / _NAME).unlink(missing_ok=True)


def read_pause(state: Path) -> Pause | None:
    """The pause in the service's notice; None if there is none, or none that can be read."""
    try:
        return pause_of(orjson.loads((state / _NAME).read_bytes())["paused"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def pause_of(values: Any) -> Pause | None:
    """The pause that `asdict` made plain; None for anything else."""
    try:
        return Pause(values.get("exit_code", 0), values.get("why"), values["since"], values.get("job", ""))
    except (LookupError, TypeError, AttributeError):
        return None
