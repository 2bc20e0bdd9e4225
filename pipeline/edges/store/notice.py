"""What the service wants to be known of itself by `status`: one small file in the state directory."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.errors import FatalError
from pipeline.edges.durable import write_durably

_NAME = "service.json"


def put_up(state: Path, notice: dict[str, Any]) -> None:
    """Say something, in place of what was said before; on a full disk it stays unsaid."""
    with suppress(FatalError):
        write_durably(state / _NAME, [orjson.dumps(notice)])


def take_down(state: Path) -> None:
    """Say nothing any more."""
    (state / _NAME).unlink(missing_ok=True)


def read_notice(state: Path) -> dict[str, Any] | None:
    """What the service says, if anything."""
    try:
        notice: dict[str, Any] = orjson.loads((state / _NAME).read_bytes())
    except (OSError, ValueError):
        return None
    return notice
