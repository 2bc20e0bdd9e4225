"""The identity of a file: what tells it from a changed one, and from another one of the same name."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

#: The last time that fits in 64 bits (nanoseconds since 1970).
_LATEST_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """The facts that tell a file, as it was seen once, from a changed one and from another one of the same name.

    `size_bytes`: its size.
    `mtime_ns`: the time of its last change, in nanoseconds since 1970.
    `inode`: its number in its file system, as a signed 64-bit number; None if that was not noted.
    `device`: that of its file system; None in the ledger, since it may be another one after the next mount.
    """

    size_bytes: int
    mtime_ns: int
    inode: int | None = None
    device: int | None = None

    @classmethod
    def of(cls, info: os.stat_result) -> "Identity":
        """The identity of a file. A time before 1677 or after 2262 becomes the nearest that the ledger can hold."""
        mtime_ns = min(max(info.st_mtime_ns, -_LATEST_NS - 1), _LATEST_NS)
        inode = info.st_ino if info.st_ino <= _LATEST_NS else info.st_ino - 2**64
        return cls(info.st_size, mtime_ns, inode, info.st_dev)

    def agrees_with(self, other: "Identity") -> bool:
        """True if nothing that both of them know tells the two apart."""
        return (
            (self.size_bytes, self.mtime_ns) == (other.size_bytes, other.mtime_ns)
            and (self.inode == other.inode or None in (self.inode, other.inode))
            and (self.device == other.device or None in (self.device, other.device))
        )


@dataclass(frozen=True, slots=True)
class PartFile:
    """A file of an export, as it was seen when its job was entered. `name`: in the export's directory."""

    name: str
    identity: Identity


def identity_of(parts: Sequence[PartFile]) -> Identity:
    """The identity of an export of several files: their size together, and the time of the last change to any."""
    each = [part.identity for part in parts]
    return Identity(sum(one.size_bytes for one in each), max((one.mtime_ns for one in each), default=0))
