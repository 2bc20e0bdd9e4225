"""The log: one event a line, JSON with stable snake_case names, or readable lines on a terminal.

It never holds row content, ids or the token.
"""

import sys
from collections.abc import Callable
from typing import Any, TextIO

import orjson
import structlog


class _CurrentStderr:
    """Writes to whatever stderr is at the moment, so that lines land above a progress display."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure_logging(*, is_terminal: bool, min_level: str = "info") -> None:
    """Send the log to stderr: readable lines for a terminal, else one JSON object a line."""
    processors: list[Callable[..., Any]] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if is_terminal else "iso", utc=not is_terminal),
    ]
    if is_terminal:
        processors.append(structlog.dev.ConsoleRenderer(pad_event_to=20))
    else:
        processors += [structlog.processors.format_exc_info, _as_json]
    stderr: TextIO = _CurrentStderr()  # type: ignore[assignment]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(min_level),
        logger_factory=structlog.WriteLoggerFactory(file=stderr),
        cache_logger_on_first_use=False,
    )


def _as_json(_: object, __: str, event: dict[str, Any]) -> str:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event")}
    return orjson.dumps(first | event, default=str).decode()
