"""The log: one event a line, JSON with stable snake_case names, or readable lines on a terminal.

It never holds row content, ids or the token. So it leaves out the text of exceptions that are not ours, and the values
in tracebacks: both may quote a row.
"""

import logging
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import structlog

from pipeline.core.batches.progress import Progress
from pipeline.core.errors import PipelineError
from pipeline.core.printable import printable, printable_json, printable_lines
from pipeline.edges.secrets import SecretsLeftOut
from pipeline.edges.standard_streams import stderr_stream
from pipeline.edges.terminal import is_colored

#: Seconds between lines about a load, in a log that is no terminal.
LOG_EVERY_S = 10.0


class _OfLibraries(logging.Handler):
    """Tells what libraries log in a line of ours: which of them, and the type of the error. Their words may quote."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0] if record.exc_info else None
        log = structlog.get_logger()
        log.warning("library_warning", library=record.name, error=None if error is None else error.__qualname__)


class _Lines:
    """Writes each line to the stderr of the moment, so that lines appear above a progress display."""

    def msg(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
        tell_of_dropped_lines()

    # By these names structlog calls it.
    debug = info = warning = error = critical = msg


def tell_of_dropped_lines() -> None:
    """Write what a reader who stood still did not take, and log how many lines were dropped, if stderr works again."""
    stderr = stderr_stream()
    if stderr is None:
        return
    stderr.write_kept()
    if stderr.works and (lines := stderr.take_dropped()):
        structlog.get_logger().warning("log_lines_dropped", lines=lines)


def dropped_lines() -> int:
    """The lines that stderr did not take since the process began."""
    stderr = stderr_stream()
    return stderr.dropped_in_all if stderr else 0


def configure_logging(*, is_terminal: bool, min_level: str = "info") -> None:
    """Send the log to stderr: readable lines to a terminal, otherwise one JSON object a line."""
    processors: list[Callable[..., Any]] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if is_terminal else "iso", utc=not is_terminal),
        structlog.processors.ExceptionRenderer(_without_values),
        SecretsLeftOut(),
    ]
    if is_terminal:
        # Somebody may have asked for readable lines in a file.
        readable = structlog.dev.ConsoleRenderer(pad_event_to=20, colors=is_colored(sys.stderr))
        processors += [_printable, readable]
    else:
        processors.append(_as_json)
    libraries = logging.getLogger()
    if not any(isinstance(each, _OfLibraries) for each in libraries.handlers):
        libraries.addHandler(_OfLibraries(logging.WARNING))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(min_level),
        logger_factory=_Lines,
        cache_logger_on_first_use=False,
    )


async def log_progress(
    progress: Progress, waits_for: Callable[[], str], sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Log a line about the load every `LOG_EVERY_S` seconds, until cancelled."""
    log = structlog.get_logger()
    while True:
        await sleep(LOG_EVERY_S)
        rows = progress.rows()
        log.info(
            "load_progress",
            read=rows.read,
            confirmed=rows.confirmed,
            rejected=rows.rejected,
            bytes_read=progress.bytes_read,
            bytes=progress.export_bytes,
            sealed=len(progress.book),
            settled=len(progress.book.settled),
            waits_for=waits_for(),
        )


def _without_values(exc_info: Any) -> str:
    """The traceback of an error and its causes, with places and types but no values."""
    return "\n".join(_places(exc_info[1]))


def _places(error: BaseException, *after: BaseException) -> Iterator[str]:
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    # Errors can lead to one another in a circle.
    if cause is not None and cause not in after:
        yield from _places(cause, error, *after)
        yield "which led to:"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}, line {frame.lineno}, in {frame.name}"
    yield type(error).__qualname__ + (f": {error}" if isinstance(error, PipelineError) else "")
    if isinstance(error, BaseExceptionGroup):
        for number, part in enumerate(error.exceptions, 1):
            yield f"part {number} of {len(error.exceptions)}:"
            yield from _places(part)


def _printable(_: object, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """The event with nothing in it that a terminal obeys; a traceback keeps its lines."""
    return {
        printable(name): printable_lines(value) if name == "exception" else _printable_value(value)
        for name, value in event.items()
    }


def _printable_value(value: Any) -> Any:
    # Of all but texts the renderer shows what `repr` says, which is printable.
    return printable(str(value)) if isinstance(value, str | Path | BaseException) else value


def _as_json(_: object, __: str, event: dict[str, Any]) -> str:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event")}
    return printable_json(first | event)
