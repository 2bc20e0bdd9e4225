"""Why the service waits, for `status` and `health` beside it: one small file in the state directory."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.errors import FatalError
from pipeline.edges.durable import write_durably

_NAME = "service.json"


@dataclass(frozen=True, slots=True)
class Pause:
    """The service waits `since` then (UTC in ISO 8601): `job` could not be finished, and ended with this code."""

    exit_code: int
    why: str | None
    since: str
    job: str


def put_up(state: Path, pause: Pause) -> None:
    """Replace the service's notice; on a full disk the old one stays."""
    with suppress(FatalError):
        write_durably(state / _NAME, [orjson.dumps({"paused": asdict(pause)})])


def take_down(state: Path) -> None:
    """Remove the service's notice."""
    (state / _NAME).unlink(missing_ok=True)


def read_pause(state: Path) -> Pause | None:
    """The pause that the service's notice tells of, if there is one that can be read."""
    try:
        told: dict[str, Any] = orjson.loads((state / _NAME).read_bytes())["paused"]
        return Pause(told.get("exit_code", 0), told.get("why"), told["since"], told.get("job", ""))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
