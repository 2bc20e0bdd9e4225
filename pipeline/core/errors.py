"""The errors, sorted by what happens next.

`PipelineError` is the base. A `FatalError` stops the run (credentials, configuration, disk). An `InputError` stops only
this export. What is tried again is a value, not an exception. Messages say what was wrong, where, and what to do.
Library exceptions are mapped to these once, at the edge that meets them.
"""

from collections.abc import Iterator
from enum import IntEnum
from types import TracebackType

from pipeline.core.printable import printable_lines

#: Where our own code lies, whose places in a traceback are worth telling.
_OURS = __file__.removesuffix("pipeline/core/errors.py")


class ExitCode(IntEnum):
    """The exit code of the process: a number of BSD's sysexits.h where that has one."""

    DONE = 0
    USAGE = 64
    EXPORT_UNUSABLE = 65
    EXPORT_MISSING = 66
    TARGET_UNAVAILABLE = 69
    OUR_BUG = 70
    ALREADY_RUNNING = 73
    DISK_OR_LEDGER = 74
    UNFINISHED = 75
    ROWS_LOST = 76
    REFUSED_BY_TARGET = 77
    CONFIGURATION = 78


#: A run over several jobs ends with the first of these that occurred.
EXIT_PRECEDENCE = (
    ExitCode.CONFIGURATION,
    ExitCode.REFUSED_BY_TARGET,
    ExitCode.DISK_OR_LEDGER,
    ExitCode.OUR_BUG,
    ExitCode.ALREADY_RUNNING,
    ExitCode.TARGET_UNAVAILABLE,
    ExitCode.ROWS_LOST,
    ExitCode.EXPORT_UNUSABLE,
    ExitCode.EXPORT_MISSING,
    ExitCode.UNFINISHED,
    ExitCode.DONE,
)


def _precedence(code: ExitCode) -> int:
    # A code without a place in the list (usage) concerns the command as a whole, so it comes first.
    return EXIT_PRECEDENCE.index(code) if code in EXIT_PRECEDENCE else -1


def worst(codes: list[ExitCode]) -> ExitCode:
    """The exit code of a run over several jobs, `DONE` for none."""
    return min(codes, key=_precedence, default=ExitCode.DONE)


class PipelineError(Exception):
    """Base of all errors that the program raises on purpose. `exit_code`: of a run that meets the error.

    The message is printable, whatever others have put into a name that it holds.
    """

    exit_code = ExitCode.OUR_BUG

    def __init__(self, message: str, *, exit_code: ExitCode | None = None) -> None:
        super().__init__(printable_lines(message))
        if exit_code is not None:
            self.exit_code = exit_code


class FatalError(PipelineError):
    """The run stops: credentials, configuration, disk or a broken invariant."""


class UnexpectedError(FatalError):
    """An error that nobody expected: a bug in this program. Its text is ours, as the other's may quote a row."""


class ConfigurationError(FatalError):
    """The run stops until the configuration is mended. `example`: lines to put into it, or an empty text."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, message: str, *, example: str = "") -> None:
        super().__init__(message)
        self.example = example


class InputError(PipelineError):
    """This export cannot be used; other exports can. `line` counts from 1, as an editor shows it."""

    exit_code = ExitCode.EXPORT_UNUSABLE

    def __init__(self, message: str, *, line: int | None = None, exit_code: ExitCode | None = None) -> None:
        super().__init__(message, exit_code=exit_code)
        self.line = line


class QuarantinedError(PipelineError):
    """This export waits, as nothing of it may be sent before somebody approves it; what comes behind it waits too."""

    exit_code = ExitCode.UNFINISHED


class HeaderError(InputError):
    """The header of an export cannot be used. The message holds no cell, also where the first line is a row.

    `header`: its bytes, or none where whoever raises it does not know them.
    """

    def __init__(self, message: str, *, header: bytes = b"", line: int | None = None) -> None:
        super().__init__(message, line=line)
        self.header = header


class SetAsideError(InputError):
    """A bug ended this job for good, so that it is not met again at each start; other jobs go on."""

    exit_code = ExitCode.OUR_BUG


def is_bug(error: PipelineError) -> bool:
    """True for an error that is the program's own: an invariant is broken, or nobody expected it."""
    return error.exit_code is ExitCode.OUR_BUG


def unexpected(error: BaseException) -> UnexpectedError:
    """An error that is none of ours, in our words: its type, and where in our code it came up."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    place = place_of(error)
    where = f" in {place}" if place else ""
    what = "there was not enough memory" if isinstance(error, MemoryError) else f"an unexpected {type(error).__name__}"
    return UnexpectedError(f"{what}{where}: a bug in profile-pipeline, please report it.")


def place_of(error: BaseException) -> str:
    """The innermost line of our own code at which an error came up, `FILE:LINE`; empty if it came up elsewhere."""
    places = list(_places(error.__traceback__))
    return places[-1] if places else ""


def _places(traceback: TracebackType | None) -> Iterator[str]:
    """The files and lines of our own code that a traceback goes through."""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if file.startswith(f"{_OURS}pipeline/"):
            yield f"{file.removeprefix(_OURS)}:{traceback.tb_lineno}"
        traceback = traceback.tb_next


def most_telling(errors: BaseExceptionGroup[BaseException]) -> PipelineError:
    """The error to report when several tasks failed at once: the one that comes first in `EXIT_PRECEDENCE`."""
    found: list[PipelineError] = []
    rest: list[BaseException] = [errors]
    while rest:
        error = rest.pop()
        if isinstance(error, BaseExceptionGroup):
            rest += error.exceptions
        elif isinstance(error, PipelineError):
            found.append(error)
    return min(found, key=lambda error: _precedence(error.exit_code))
