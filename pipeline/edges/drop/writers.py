"""Tells if another process has a file open for writing, where the system can tell.

Linux grants a read lease only on a file that nobody has open for writing. So one is asked for, and given back at once.
The kernel grants it to the owner of the file and to whoever may override that (CAP_LEASE); elsewhere, nothing can be
told. Network file systems refuse leases for reasons of their own, so only file systems of this machine are believed.
"""

import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from signal import SIGURG

from pipeline.edges.durable import real_place

try:
    import fcntl
except ImportError:  # pragma: no cover - not on this system
    fcntl = None  # type: ignore[assignment]

_MOUNTS = Path("/proc/self/mountinfo")
#: File systems that keep count of who has a file open for writing, whoever it is (Linux: `i_writecount`).
_LOCAL = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "f2fs", "bcachefs", "jfs", "zfs", "reiserfs", "overlay")
)


def is_local(directory: Path) -> bool:
    """True if a directory is on a file system of which `is_open_for_writing` can tell. Blocks."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        place = real_place(directory)
    except OSError:
        return False
    kind, length = "", -1
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        point = Path(_unescaped(mount.split(" ")[4]))
        # Of two at the same place, the later one covers the other.
        if place.is_relative_to(point) and len(point.parts) >= length:
            kind, length = source.split(" ")[0], len(point.parts)
    return kind in _LOCAL


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)


def is_open_for_writing(name: str | Path, *, within: int | None = None) -> bool | None:
    """True if a process has this file open for writing, None if the system does not tell. Blocks.

    `within`: a descriptor of its directory. A link is not followed.

    A process that opens the file for writing in just that moment is held up until the lease is given back, which takes
    a few microseconds.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=within)
    except OSError:
        return None
    try:
        return has_writers(descriptor)
    finally:
        os.close(descriptor)


def has_writers(descriptor: int) -> bool | None:
    """The same of a file that is open for reading."""
    if fcntl is None or not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        # The signal to whoever holds a lease that another process wants gone; by default it is one that kills.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    else:
        return False
    finally:
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
