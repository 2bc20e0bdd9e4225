"""The reasons why this process may not take a file, as far as they can be seen before it is tried."""

import errno
import fcntl
import os
import struct
from pathlib import Path
from stat import S_ISVTX

from pipeline.edges.drop.processing import Processing, open_file

#: Linux: reads the attributes that `chattr` sets; and those that forbid a rename (immutable, append-only).
_GET_ATTRIBUTES, _FIXED = 0x80086601, 0x10 | 0x20
#: Linux: the capability to rename files of others in a directory with the sticky bit.
_CAP_FOWNER = 3
_PROCESS = Path("/proc/self/status")


def obstacle_to(held: Processing, source: str) -> str | None:
    """The reason why this process may not take any file from this place, or None. Blocks."""
    try:
        with held.parent(source) as (directory, name):
            info, owner = os.fstat(directory), os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=True):
                return "cannot be taken: its directory may not be written to by this process"
            if info.st_mode & S_ISVTX and os.geteuid() not in (info.st_uid, owner) and not _may_override():
                return "cannot be taken: it is another user's, in a directory with the sticky bit"
            if _is_fixed(directory) or _is_fixed_file(name, directory):
                return "cannot be taken: it or its directory is immutable or append-only (see lsattr)"
            if info.st_dev != os.fstat(held.descriptor).st_dev:
                return "cannot be taken: it is on another file system than the drop directory"
    except OSError:
        # Taking the file will meet the same error, and report it.
        pass
    return None


def advice(error: OSError) -> str:
    """A hint where to look if a file could not be taken."""
    if error.errno == errno.EXDEV:
        return "it is on another file system than the drop directory"
    if error.errno in (errno.EBUSY, errno.ETXTBSY):
        return "something is mounted there, or it runs as a program"
    return "look at its owner and attributes and those of its directory: ls -la, lsattr"


def _may_override() -> bool:
    """True if this process may rename files of others whatever their directory says (CAP_FOWNER)."""
    try:
        lines = _PROCESS.read_text().splitlines()
        effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
        return bool(int(effective, 16) >> _CAP_FOWNER & 1)
    except (OSError, StopIteration, ValueError):
        return os.geteuid() == 0


def _is_fixed(descriptor: int) -> bool:
    try:
        told = fcntl.ioctl(descriptor, _GET_ATTRIBUTES, bytes(8))
    except OSError:
        # Not every file system has attributes.
        return False
    return bool(struct.unpack_from("i", told)[0] & _FIXED)


def _is_fixed_file(name: str, directory: int) -> bool:
    try:
        descriptor = open_file(name, directory)
    except OSError:
        return False
    try:
        return _is_fixed(descriptor)
    finally:
        os.close(descriptor)
