"""The errors of reading an export: whose fault they are, and what there is to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import ExitCode, FatalError, InputError
from pipeline.core.printable import printable

#: Errors of the disk or of the way to it, and not of this export: it may be whole, and there again in a while.
_OF_THE_DISK = frozenset(
    (
        *(errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENODEV, errno.ENETDOWN),
        *(errno.ENETUNREACH, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNABORTED, errno.EREMOTEIO, errno.ESHUTDOWN),
        *(errno.ENFILE, errno.EMFILE, errno.ENOMEM, errno.EUCLEAN, errno.EBADMSG, errno.ENOLINK, errno.ECOMM),
    )
)


def changed(path: Path) -> InputError:
    """The error for an export, or for a part of one, that changed after its job began."""
    return InputError(
        f"{printable(str(path))} was changed while it was being loaded: what was sent is followed to its end, the "
        "rest is not sent. Write exports under another name and rename them when they are complete; then load it again."
    )


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Name the export in an `InputError` (65) of the body: what reads it knows bytes only."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{printable(str(path))} cannot be loaded: {error}", exit_code=error.exit_code) from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise `InputError` (66) where the body cannot read this export, and `FatalError` (74) where the disk fails."""
    try:
        yield
    except OSError as error:
        text = f"cannot read the export {printable(str(path))}: {error.strerror or error}."
        if error.errno in _OF_THE_DISK:
            text += " The export may be whole: look at its disk, and run again."
            raise FatalError(text, exit_code=ExitCode.DISK_OR_LEDGER) from error
        raise InputError(text, exit_code=ExitCode.EXPORT_MISSING) from error
