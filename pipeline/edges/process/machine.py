"""The errors by which a machine refuses what is asked of it, in words: no memory, no threads, no files, no disk.

The edges turn errors of the system into ours where they know what they were about. This is for those that come from
anywhere: no bug, so the code is 74, and what was under way goes on with the next run.
"""

import errno
import os

import structlog

from pipeline.core.errors import ExitCode, FatalError, place_of

_NO_MEMORY = (
    "not enough memory: give the process more (`ulimit -v`, or the limit of its container), or lower "
    "[batch] max_bytes, [upload] concurrency and [tracker] held_max_bytes; then run again."
)
_NO_FILES = "too many open files: allow the process more (`ulimit -n`), then run again."
#: Errors whose cause is known, and the advice for it; for all others it is the system's own word.
_ADVICE = {
    errno.ENOMEM: _NO_MEMORY,
    errno.EMFILE: _NO_FILES,
    errno.ENFILE: _NO_FILES,
    errno.ENOSPC: "the disk is full: make room, then run again.",
    errno.EDQUOT: "the disk is full: make room, then run again.",
    errno.EFBIG: "a file may not become so large: allow larger ones (`ulimit -f`), then run again.",
}
#: A part of the message of the system's loader where it maps no library -> the advice for it.
_OF_LOADER = {
    "failed to map segment": _NO_MEMORY,
    "annot allocate memory": _NO_MEMORY,
    "oo many open files": _NO_FILES,
}
#: The beginning of the message of Python where the system starts no thread.
_NO_THREAD = "can't start new thread"


def refused_by_machine(error: BaseException) -> FatalError | None:
    """The error that ends the run, if an error and all that it consists of are refusals of the machine; else None."""
    parts = list(_parts(error))
    words = [_in_words(part) for part in parts]
    told = [each for each in words if each]
    if not told or len(told) < len(words):
        return None
    structlog.get_logger().debug("machine_refused", error=type(parts[0]).__qualname__, place=place_of(parts[0]))
    refused = FatalError(told[0], exit_code=ExitCode.DISK_OR_LEDGER)
    refused.__cause__ = error
    return refused


def _parts(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [part for each in error.exceptions for part in _parts(each)]
    return [error]


def _in_words(error: BaseException) -> str:
    """The refusal with its advice; empty if the error is none."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error).startswith(_NO_THREAD)):
        return _NO_MEMORY
    if isinstance(error, ImportError):
        return next((advice for part, advice in _OF_LOADER.items() if part in str(error)), "")
    if not isinstance(error, OSError) or error.errno is None:
        return ""
    if error.errno == errno.ENOENT and _has_no_directory():
        return "the directory in which the command was started is gone: change into one that is there, then run again."
    where = f" ({error.filename})" if isinstance(error.filename, str) else ""
    if advice := _ADVICE.get(error.errno):
        return f"{advice}{where}"
    return (
        f"the system refuses what is needed: {error.strerror}{where}. Check what is there, its owner and its "
        "permissions, then run again."
    )


def _has_no_directory() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - the system's own answer
    except OSError:
        return True
    return False
