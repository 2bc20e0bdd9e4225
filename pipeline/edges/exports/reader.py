"""Reads the parts of an export one after the other; whoever uses it has one thread do so at a time. All blocks.

A part is a file, or a member of a container. `bytes_read` and `sha256` count the bytes of the files as they lie there,
one file after the other, as `cat` would give them. A container is read whole for them before its first member is: its
members may lie in any order, and its end may be what says where they are.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pipeline.core.formats.file_kind import HEAD_BYTES
from pipeline.edges.containers import Member, members_of
from pipeline.edges.exports.faults import about, changed, readable
from pipeline.edges.exports.identity import Identity
from pipeline.edges.exports.text import as_text

#: Bytes of a block. Larger blocks fall out of the processor's cache: with 4 MiB the same step took five times as long
#: for each byte.
BLOCK_BYTES = 262_144
#: Bytes read at a time; each time costs a change of threads.
PIECE_BYTES = 4 * BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Source:
    """A file of an export.

    `name`: by which people know it among others; empty where the export is one file.
    `identity`: as it was seen before; None to take it as it is when it is opened.
    `open`: opens it for reading.
    """

    path: Path
    name: str
    identity: Identity | None
    open: Callable[[], FileIO]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some blocks of a part. No blocks mean that it has ended.

    `bytes_read`, `sha256`: the bytes read of all files until now, and their digest.
    """

    blocks: list[bytes]
    bytes_read: int
    sha256: str


class _Bytes:
    """The bytes of one file after the other, block by block, and the digest over all.

    `stop_at`: an offset at which a block ends, so that the digest of all before it is known.
    `has_digest`: False where nobody asks for it.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.bytes_read = 0
        self.stop_at = 0
        self.has_digest = True

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def of(self, file: FileIO) -> Iterator[bytes]:
        """The rest of a file."""
        while True:
            left = self.stop_at - self.bytes_read
            block = file.read(min(left, BLOCK_BYTES) if left > 0 else BLOCK_BYTES)
            if not block:
                return
            if self.has_digest:
                self._digest.update(block)
            self.bytes_read += len(block)
            yield block


class _OpenFile:
    """A file of an export that is open; `members` are its parts, None where it is one part itself."""

    def __init__(self, source: Source, encoding: str | None, begins_at: int) -> None:
        self.source = source
        self.begins_at = begins_at
        with readable(source.path):
            self.file = source.open()
        try:
            with readable(source.path), about(source.path):
                self.identity = Identity.of(os.fstat(self.file.fileno()))
                head = b"" if encoding is None else os.pread(self.file.fileno(), HEAD_BYTES, 0)
                self.members = None if encoding is None else members_of(self.file, head)
            if source.identity is not None and not self.identity.agrees_with(source.identity):
                raise changed(source.path)
        except BaseException:
            self.file.close()
            raise

    def from_start(self) -> Iterator[bytes]:
        """The bytes of the file, without a change to where it is read."""
        place = 0
        while block := os.pread(self.file.fileno(), BLOCK_BYTES, place):
            yield block
            place += len(block)

    def check_unchanged(self, bytes_read: int) -> None:
        """Raise `InputError` (65) if the file is not the one that was opened, or has other bytes than were read."""
        with readable(self.source.path):
            found = Identity.of(os.fstat(self.file.fileno()))
        if not found.agrees_with(self.identity) or bytes_read - self.begins_at != self.identity.size_bytes:
            raise changed(self.source.path)


class PartsReader:
    """The parts of an export, of which the first is open from the beginning.

    `encoding`: as [export] has it, to read text; None to read the bytes of the files.
    `number`: of the part that is open, from 0.
    `part`: its name; empty where the export is no more than one part.
    `place`: its path, for people.
    `size_bytes`, `columns`: see `Member`.
    """

    def __init__(self, sources: Sequence[Source], encoding: str | None) -> None:
        self._sources = sources
        self._encoding = encoding
        self._bytes = _Bytes()
        self._fault: BaseException | None = None
        self._next_source = self._next_member = 0
        self._is_looking = False
        self.number = -1
        self._open_file()
        try:
            self._begin_part()
        except BaseException:
            self.close()
            raise

    @property
    def bytes_read(self) -> int:
        """The bytes read of the files so far."""
        return self._bytes.bytes_read

    @property
    def sha256(self) -> str:
        """The digest of the bytes read so far."""
        return self._bytes.sha256

    @property
    def identity(self) -> Identity:
        """The identity of the file that is open."""
        return self._open.identity

    def close(self) -> None:
        """Close the file that is open."""
        self._open.file.close()

    def next_part(self) -> bool:
        """Open the next part; False if there is none. What was not read of the one before is left out.

        Raises `InputError` (65, 66) for a part that cannot be read, is none, or was changed since it was seen.
        """
        self._raise_again()
        if not self._has_more_members:
            if self._next_source == len(self._sources):
                return False
            self._open.file.close()
            self._open_file()
        self._begin_part()
        return True

    def look_only(self) -> None:
        """Read a block at a time from now on, and nothing for the digest: somebody looks at beginnings."""
        self._is_looking, self._bytes.has_digest = True, False

    def go_to(self, number: int, digest_bytes: int) -> None:
        """Open the part of this number; the bytes of files before it are read without being unpacked or decoded.

        A piece ends then where `digest_bytes` bytes are read. Raises `InputError` (65) where there is no such part.
        """
        self._bytes.stop_at = digest_bytes
        while self.number < number:
            if not self._has_more_members:
                self._read_whole_file()
                self.check_unchanged()
            if not self.next_part():
                raise changed(self._open.source.path)

    def read_piece(self) -> Piece:
        """The next blocks of the part that is open.

        Raises `InputError`: 66 if it cannot be read, 65 if it cannot be unpacked or decoded; and `FatalError` (74) if
        the disk fails.
        """
        self._raise_again()
        blocks, size, read = [], 0, self._bytes
        try:
            with readable(self._open.source.path), about(self.place):
                if self._open.members is not None and not self._is_looking:
                    self._read_whole_file()
                while size < (1 if self._is_looking else PIECE_BYTES) and (block := next(self._blocks, b"")):
                    blocks.append(block)
                    size += len(block)
                    if read.bytes_read == read.stop_at and self._open.members is None:
                        break
        except BaseException as error:
            self._fault = error
            raise
        return Piece(blocks, read.bytes_read, read.sha256)

    def check_unchanged(self) -> None:
        """Raise `InputError` (65) if the file changed that was read to its end; 66 if it cannot be looked at."""
        if not self._has_more_members and not self._is_looking:
            self._open.check_unchanged(self._bytes.bytes_read)

    def _raise_again(self) -> None:
        if self._fault is not None:
            # An iterator that has failed has no more to give: that must not look like the end of the file.
            raise self._fault

    @property
    def _has_more_members(self) -> bool:
        members = self._open.members
        return members is not None and self._next_member < len(members)

    def _open_file(self) -> None:
        source = self._sources[self._next_source]
        self._open = _OpenFile(source, self._encoding, self._bytes.bytes_read)
        self._raw = self._bytes.of(self._open.file)
        self._next_source += 1
        self._next_member = 0

    def _read_whole_file(self) -> None:
        """Read the bytes of the file that is open to its end, for the digest."""
        with readable(self._open.source.path):
            for _ in self._raw:
                pass

    def _begin_part(self) -> None:
        opened = self._open
        self.number += 1
        if opened.members is None:
            self.part, self.place, self.columns = opened.source.name, opened.source.path, None
            self.size_bytes = opened.identity.size_bytes
            with readable(self.place), about(self.place):
                self._blocks = self._as_text(opened.from_start, self._raw)
            return
        member: Member = opened.members[self._next_member]
        self._next_member += 1
        is_alone = len(opened.members) == 1 and not opened.source.name
        self.part = "" if is_alone else "/".join(name for name in (opened.source.name, member.name) if name)
        self.place = opened.source.path / member.name
        self.size_bytes, self.columns = member.size_bytes, member.columns
        with readable(opened.source.path), about(self.place):
            self._blocks = member.blocks()
            if member.columns is None:
                self._blocks = self._as_text(member.blocks, self._blocks)

    def _as_text(self, content: Callable[[], Iterator[bytes]], blocks: Iterator[bytes]) -> Iterator[bytes]:
        is_member = self._open.members is not None
        if self._encoding is None:
            return blocks
        return as_text(content, self._encoding, is_unpacked=is_member)(blocks)
