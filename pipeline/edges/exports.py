"""Reads an export in blocks, off the event loop; computes its SHA-256 on the way, and notices if it changes."""

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Protocol

import aiofiles.os
import anyio
from anyio.to_thread import run_sync

from pipeline.core.errors import ExitCode, InputError

#: Bytes of a block. Larger blocks fall out of the processor's cache: with 4 MiB the same step took five times as long
#: for each byte.
BLOCK_BYTES = 262_144
#: Bytes read at a time; each time costs a change of threads.
PIECE_BYTES = 4 * BLOCK_BYTES
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
class _Piece:
    """Some blocks of a file. No blocks mean that the file has ended.

    `bytes_read`, `sha256`: the bytes from the file's start to the end of this piece, and their digest.
    """

    blocks: list[bytes]
    bytes_read: int
    sha256: str


class Export(Protocol):
    """An open export.

    `bytes_read`, `sha256`: the bytes read so far and their digest; a little more than `read_block` has returned.
    """

    path: Path
    identity: Identity
    bytes_read: int
    sha256: str

    async def read_block(self) -> bytes:
        """The next bytes, at most `BLOCK_BYTES`; empty at the end of the file.

        Raises `InputError`: 66 if it cannot be read, 65 if it changed since it was opened.
        """

    async def skip_to(self, offset: int, *, digest_bytes: int, digest: str) -> bytes:
        """Go on where an earlier process stopped; it had read `digest_bytes` bytes, and their digest was `digest`.

        Returns those of its bytes that lie behind `offset`. Raises `InputError` (65) if the first `digest_bytes` bytes
        have changed.
        """


class ExportFile:
    """An export that is a file.

    A thread reads ahead: while one piece is used, the next is read and its digest computed.
    """

    def __init__(self, path: Path, identity: Identity, file: FileIO) -> None:
        self.path = path
        self.identity = identity
        self.bytes_read = 0
        self.sha256 = hashlib.sha256().hexdigest()
        self._file = file
        # Only the thread that reads uses these two.
        self._digest, self._bytes_digested = hashlib.sha256(), 0
        self._ahead: asyncio.Future[_Piece] | None = None
        self._blocks: deque[bytes] = deque()

    async def read_block(self) -> bytes:
        """The next bytes, see `Export`."""
        if not self._blocks:
            piece = await self._take(PIECE_BYTES)
            if not piece.blocks:
                await self._check_unchanged()
                return b""
            self._ahead = self._begin_reading(PIECE_BYTES)
            self._blocks.extend(piece.blocks)
        return self._blocks.popleft()

    async def skip_to(self, offset: int, *, digest_bytes: int, digest: str) -> bytes:
        """Go on where an earlier process was, see `Export`."""
        behind = bytearray()
        while self.bytes_read < digest_bytes:
            start = self.bytes_read
            piece = await self._take(min(PIECE_BYTES, digest_bytes - start))
            if not piece.blocks:
                break
            behind += b"".join(piece.blocks)[max(0, offset - start) :]
        if self.sha256 != digest or self.bytes_read != digest_bytes:
            raise changed(self.path)
        return bytes(behind)

    async def stop_reading(self) -> None:
        """Wait for the thread that reads ahead: then the file is no longer in use."""
        if self._ahead is not None:
            await asyncio.wait([self._ahead])
            # Without this, asyncio would log an error that concerns nobody any more.
            self._ahead.exception()

    async def _take(self, limit: int) -> _Piece:
        """The piece that was read ahead, or else the next one, of at most `limit` bytes."""
        reading, self._ahead = self._ahead or self._begin_reading(limit), None
        try:
            # A thread that reads cannot be stopped, and the file must not be closed meanwhile.
            with _readable(self.path):
                piece = await asyncio.shield(reading)
        except asyncio.CancelledError:
            self._ahead = reading
            raise
        self.bytes_read, self.sha256 = piece.bytes_read, piece.sha256
        return piece

    def _begin_reading(self, limit: int) -> asyncio.Future[_Piece]:
        return asyncio.get_running_loop().run_in_executor(None, self._read_piece, limit)

    def _read_piece(self, limit: int) -> _Piece:
        blocks = []
        while limit and (block := self._file.read(min(limit, BLOCK_BYTES))):
            self._digest.update(block)
            self._bytes_digested += len(block)
            blocks.append(block)
            limit -= len(block)
        return _Piece(blocks, self._bytes_digested, self._digest.hexdigest())

    async def _check_unchanged(self) -> None:
        with _readable(self.path):
            info = await aiofiles.os.stat(self._file.fileno())
        if not Identity.of(info).agrees_with(self.identity) or self.bytes_read != self.identity.size_bytes:
            raise changed(self.path)


@asynccontextmanager
async def open_export(path: Path) -> AsyncIterator[ExportFile]:
    """Open an export for reading from its start. Raises `InputError` (66) if it cannot be read."""
    identity = await identify(path)
    with _readable(path):
        # Unbuffered: a buffer would only copy every block once more.
        with anyio.CancelScope(shield=True):
            file = await run_sync(partial(FileIO, path))
    with file:
        export = ExportFile(path, identity, file)
        try:
            yield export
        finally:
            with anyio.CancelScope(shield=True):
                await export.stop_reading()


async def identify(path: Path) -> Identity:
    """The identity of this file. Raises `InputError` (66) if there is no regular file."""
    with _readable(path):
        info = await aiofiles.os.stat(path)
    if not S_ISREG(info.st_mode):
        kind = "a directory" if S_ISDIR(info.st_mode) else "not a regular file"
        raise InputError(f"{path} is {kind}; name an export file.", exit_code=ExitCode.EXPORT_MISSING)
    return Identity.of(info)


async def digest(path: Path, opened: Callable[[Path], AbstractAsyncContextManager[Export]]) -> str:
    """The SHA-256 of a file, in hexadecimal; `opened` opens it as an export."""
    async with opened(path) as export:
        while await export.read_block():
            pass
        return export.sha256


def changed(path: Path) -> InputError:
    """The error for an export that changed after its job began."""
    return InputError(
        f"{path} was changed while it was being loaded: what was sent is followed to its end, the rest is not sent. "
        "Write exports under another name and rename them when they are complete; then load it again."
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise `InputError` (66) where the body cannot read this export."""
    try:
        yield
    except OSError as error:
        text = f"cannot read the export {path}: {error.strerror or error}."
        raise InputError(text, exit_code=ExitCode.EXPORT_MISSING) from error
