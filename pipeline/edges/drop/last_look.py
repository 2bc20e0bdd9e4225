"""The last look at an export: before its job ends, and before it is removed.

A writer may have had it open all the time: a rename does not close a file, and what is written behind the end that was
read is noticed by nobody else.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.edges.drop.writers import is_local, is_open_for_writing
from pipeline.edges.exports import Identity

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class AsRead:
    """An export as its job has read it: its identity, its size, and its SHA-256 in hexadecimal."""

    path: Path
    identity: Identity
    size_bytes: int
    sha256: str


def change_since(read: AsRead) -> str | None:
    """The change of an export since it was read, in words; None without one, or if it is there no more. Blocks.

    Where only its time or its inode changed, its content decides: to touch an export changes nothing.
    """
    try:
        info = read.path.stat()
        if Identity.of(info).agrees_with(read.identity):
            return None
        if info.st_size > read.size_bytes:
            return f"{info.st_size - read.size_bytes:,} bytes were added to it"
        if info.st_size < read.size_bytes:
            return f"it has {read.size_bytes - info.st_size:,} bytes less"
        return None if _digest(read.path) == read.sha256 else "it was written anew"
    except OSError:
        # There is nothing to keep, or nobody can tell; the whole of it was read.
        return None


def has_writer(path: Path) -> bool:
    """True if a process has this file open for writing, and the system tells of it. Blocks."""
    return is_local(path.parent) and is_open_for_writing(path) is True


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
