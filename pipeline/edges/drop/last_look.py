"""The last look at an export: before its job ends, and before it is removed.

A writer may have had it open all the time: a rename does not close a file, and what is written behind the end that was
read is noticed by nobody else.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

from pipeline.core.drop.signals import shown
from pipeline.core.errors import PipelineError
from pipeline.edges.drop.writers import has_writers, is_local
from pipeline.edges.exports import Identity, PartFile

_PIECE_BYTES = 1 << 20
_ANEW = "it was written anew"


@dataclass(frozen=True, slots=True)
class AsRead:
    """An export as its job has read it: its identity, its size, and its SHA-256 in hexadecimal."""

    identity: Identity
    size_bytes: int
    sha256: str


def change_since(read: AsRead, opener: Callable[[], int]) -> str | None:
    """The change of an export since it was read, in words; None without one, or if it is there no more. Blocks.

    `opener`: returns a descriptor of the export.

    Where only its time or its inode changed, its content decides: to touch an export changes nothing.
    """
    try:
        descriptor = opener()
    except (OSError, PipelineError):
        # There is nothing to keep, or nobody can tell; the whole of it was read.
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as file, suppress(OSError):
        info = os.fstat(descriptor)
        if Identity.of(info).agrees_with(read.identity):
            return None
        if info.st_size > read.size_bytes:
            return f"{info.st_size - read.size_bytes:,} bytes were added to it"
        if info.st_size < read.size_bytes:
            return f"it has {read.size_bytes - info.st_size:,} bytes less"
        return None if _digest([file]) == read.sha256 else _ANEW
    return None


def change_of_parts(parts: Sequence[PartFile], sha256: str, open_part: Callable[[str], int]) -> str | None:
    """The same of an export of parts, and the name of the part that changed. Blocks.

    `sha256`: of all parts one after the other, as they were read; empty if they were not read to their end.
    `open_part`: returns a descriptor of the part of this name.
    """
    touched = None
    for part in parts:
        found = change_since(AsRead(part.identity, part.identity.size_bytes, ""), partial(open_part, part.name))
        if found is not None and found != _ANEW:
            return f"{shown(part.name)}: {found}"
        touched = touched or (found and part.name)
    if touched is None or (sha256 and _digest_of([partial(open_part, part.name) for part in parts]) == sha256):
        return None
    return f"{shown(touched)}: {_ANEW}"


def has_writer(place: Path, opener: Callable[[], int]) -> bool:
    """True if a process has a file open for writing, and the system tells of it. Blocks.

    `place`: a directory of its file system. `opener`: returns a descriptor of the file.
    """
    if not is_local(place):
        return False
    try:
        descriptor = opener()
    except (OSError, PipelineError):
        return False
    try:
        return has_writers(descriptor) is True
    finally:
        os.close(descriptor)


def _digest(files: Iterable[FileIO]) -> str:
    digest = hashlib.sha256()
    for file in files:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _digest_of(openers: Iterable[Callable[[], int]]) -> str | None:
    """The digest of files one after the other; None if one of them cannot be read any more."""

    def opened() -> Iterator[FileIO]:
        for opener in openers:
            with os.fdopen(opener(), "rb", buffering=0) as file:
                yield file

    try:
        return _digest(opened())
    except (OSError, PipelineError):
        return None
