"""Durable files: after a crash, each is there whole or not at all.

A file is written under a temporary name, flushed to the disk and renamed; then its directory is flushed. After that,
and only then, it survives a loss of power.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from pipeline.core.errors import ExitCode, FatalError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
#: Errors of a directory that this process may not read, or of a file system that flushes no directories.
_NOT_FLUSHED = frozenset((errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EROFS))


def disk_error(error: OSError, what: str) -> FatalError:
    """The error that stops the run because of the disk. `what`: the failed step, in words."""
    if error.errno in _NO_ROOM:
        advice = "The disk is full: make room and run again."
    else:
        advice = f"{error.strerror or error}: check the directory's file system and permissions, then run again."
    return FatalError(f"{what}: {advice}", exit_code=ExitCode.DISK_OR_LEDGER)


@dataclass(frozen=True, slots=True)
class Version:
    """A file as it is at a moment: whatever is written to it, or put in its place, makes another version of it.

    The time of the last change of the inode tells it from one whose content was altered and whose time was put back.
    """

    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> "Version":
        """The version that `stat` found."""
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Raise `FatalError` (74) where the disk refuses what the body does. `what` says what could not be done then."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, what) from error


def write_durably(path: Path, pieces: Iterable[bytes | memoryview], *, mode: int = 0o600) -> None:
    """Write a whole file into its place; `mode` is its permissions. Blocks.

    Raises `FatalError` if the disk refuses, and leaves nothing behind then.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb", buffering=1 << 20) as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise disk_error(error, f"cannot write {path}") from error
        raise


def read_file(path: Path, *, max_bytes: int) -> bytes:
    """The content of a small file. Raises `OSError` if it is longer, or is no file: nothing is waited for or followed.

    A pipe in its place would otherwise hold up whoever reads it, and a link to a device would never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        content = os.read(descriptor, max_bytes + 1) if S_ISREG(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)
    if content is None:
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, "it is too long", str(path))
    return content


def sync_directory(directory: Path) -> None:
    """Flush the names in a directory to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Make a directory and its parents durably, readable by the owner only.

    Raises `FatalError` if the disk refuses.
    """
    with disk_errors(f"cannot make the directory {directory}"):
        missing = [parent for parent in (directory, *directory.parents) if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir(mode=0o700, exist_ok=True)
            try:
                sync_directory(parent.parent)
            except OSError:
                # Whoever tries again would take a directory that is there for a durable one.
                with suppress(OSError):
                    parent.rmdir()
                raise
        if not directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))


def sync_names(directory: Path) -> None:
    """Flush the names in a directory, its own, and those of its parents as far as this process may read them.

    An earlier process may have made any of them and been killed before it could flush it.

    Raises `FatalError` if the disk refuses.
    """
    with disk_errors(f"cannot flush the directory {directory}"):
        sync_directory(directory)
        for parent in directory.absolute().parents:
            try:
                sync_directory(parent)
            except OSError as error:
                if error.errno not in _NOT_FLUSHED:
                    raise


def free_bytes(directory: Path) -> int:
    """The bytes that an unprivileged process may still write below this directory."""
    with disk_errors(f"cannot look at the disk of {directory}"):
        info = os.statvfs(directory)
    return info.f_bavail * info.f_frsize


def real_place(path: Path) -> Path:
    """The place to which a path leads, links followed as far as they lead anywhere. It never raises."""
    # `Path.resolve` raises a `RuntimeError` for a link that leads to itself.
    return Path(os.path.realpath(path))
