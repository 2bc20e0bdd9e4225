"""Reads an export in blocks, off the event loop; computes its SHA-256 on the way, and notices if it changes.

Blocks are what is in the file, or its text in UTF-8: unpacked if it is a gzip archive, decoded if it is in another
encoding. Sizes and digests are those of the file either way.
"""

import asyncio
import errno
import hashlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from stat import S_ISCHR, S_ISDIR, S_ISFIFO, S_ISREG, S_ISSOCK
from typing import Protocol

import aiofiles.os
import anyio
from anyio.to_thread import run_sync

from pipeline.core.errors import ExitCode, FatalError, InputError
from pipeline.core.formats.file_kind import HEAD_BYTES, codec_of, is_gzip, refusal
from pipeline.core.formats.gunzip import gunzip
from pipeline.core.formats.text_codec import to_utf8
from pipeline.core.printable import printable

#: Bytes of a block. Larger blocks fall out of the processor's cache: with 4 MiB the same step took five times as long
#: for each byte.
BLOCK_BYTES = 262_144
#: Bytes read at a time; each time costs a change of threads.
PIECE_BYTES = 4 * BLOCK_BYTES
#: Errors of the disk or of the way to it, and not of this export: it may be whole, and there again in a while.
_OF_THE_DISK = frozenset(
    (
        *(errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENODEV, errno.ENETDOWN),
        *(errno.ENETUNREACH, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNABORTED, errno.EREMOTEIO, errno.ESHUTDOWN),
        *(errno.ENFILE, errno.EMFILE, errno.ENOMEM, errno.EUCLEAN, errno.EBADMSG, errno.ENOLINK, errno.ECOMM),
    )
)
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
    """A file that is a part of an export, as it was seen when its job was entered. `name`: in the export's directory."""

    name: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some blocks of an export. No blocks mean that it has ended.

    `bytes_read`, `sha256`: the bytes read of the file until now, and their digest.
    """

    blocks: list[bytes]
    bytes_read: int
    sha256: str


class Export(Protocol):
    """An open export.

    `bytes_read`, `sha256`: the bytes of the file read so far and their digest; a little more than what `read_block` has
    returned was made of.
    """

    path: Path
    identity: Identity
    bytes_read: int
    sha256: str

    async def read_block(self) -> bytes:
        """The next bytes, at most `BLOCK_BYTES`; empty at the end of the export.

        Raises `InputError`: 66 if it cannot be read, 65 if it cannot be unpacked or decoded, or changed since it was
        opened; `FatalError` (74) if the disk fails.
        """

    async def skip_to(self, offset: int, *, digest_bytes: int, digest: str) -> bytes:
        """Go on where an earlier process stopped, before anything is read.

        `offset`: counted in what `read_block` returns.
        `digest_bytes`, `digest`: the bytes of the file that were read then, and their digest.

        Returns what is read already and lies behind `offset`. Raises `InputError` (65) if the first `digest_bytes`
        bytes have changed.
        """


class _Blocks:
    """The bytes of a file, block by block, and their digest; only the thread that reads uses it.

    `stop_at`: an offset at which a block ends, so that the digest of all before it is known.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes_read = 0
        self.stop_at = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        left = self.stop_at - self.bytes_read
        block = self._file.read(min(left, BLOCK_BYTES) if left > 0 else BLOCK_BYTES)
        if not block:
            raise StopIteration
        self._digest.update(block)
        self.bytes_read += len(block)
        return block


class ExportFile:
    """An export that is a file.

    A thread reads ahead: while one piece is used, the next is read, unpacked, decoded, and its digest computed.
    """

    def __init__(
        self, path: Path, identity: Identity, file: FileIO, as_text: Callable[[Iterator[bytes]], Iterator[bytes]] = iter
    ) -> None:
        """`as_text` makes what is given of the bytes of the file."""
        self.path = path
        self.identity = identity
        self.bytes_read = 0
        self.sha256 = hashlib.sha256().hexdigest()
        self.file = file
        # Only the thread that reads uses these three.
        self._in_file = _Blocks(file)
        self._as_given = as_text(self._in_file)
        self._fault: BaseException | None = None
        self._ahead: asyncio.Future[_Piece] | None = None
        self._blocks: deque[bytes] = deque()

    async def read_block(self) -> bytes:
        """The next bytes, see `Export`."""
        if not self._blocks:
            piece = await self._take()
            if not piece.blocks:
                await self._check_unchanged()
                return b""
            self._ahead = self._begin_reading()
            self._blocks.extend(piece.blocks)
        return self._blocks.popleft()

    async def skip_to(self, offset: int, *, digest_bytes: int, digest: str) -> bytes:
        """Go on where an earlier process was, see `Export`."""
        self._in_file.stop_at = digest_bytes
        behind, end, found = bytearray(), 0, self.sha256
        while self.bytes_read < digest_bytes or end < offset:
            piece = await self._take()
            if piece.bytes_read <= digest_bytes:
                found = piece.sha256
            if not piece.blocks:
                break
            text = b"".join(piece.blocks)
            behind += text[max(0, offset - end) :]
            end += len(text)
        if found != digest or self.bytes_read < digest_bytes or end < offset:
            raise changed(self.path)
        return bytes(behind)

    async def stop_reading(self) -> None:
        """Wait for the thread that reads ahead: then the file is no longer in use."""
        if self._ahead is not None:
            await asyncio.wait([self._ahead])
            # Without this, asyncio would log an error that concerns nobody any more.
            self._ahead.exception()

    async def _take(self) -> _Piece:
        """The piece that was read ahead, or else the next one."""
        reading, self._ahead = self._ahead or self._begin_reading(), None
        try:
            # A thread that reads cannot be stopped, and the file must not be closed meanwhile.
            with _readable(self.path), _about(self.path):
                piece = await asyncio.shield(reading)
        except asyncio.CancelledError:
            self._ahead = reading
            raise
        self.bytes_read, self.sha256 = piece.bytes_read, piece.sha256
        return piece

    def _begin_reading(self) -> asyncio.Future[_Piece]:
        return asyncio.get_running_loop().run_in_executor(None, self._read_piece)

    def _read_piece(self) -> _Piece:
        if self._fault is not None:
            # An iterator that has failed has no more to give: that must not look like the end of the file.
            raise self._fault
        file, blocks, size = self._in_file, [], 0
        try:
            while size < PIECE_BYTES and (block := next(self._as_given, b"")):
                blocks.append(block)
                size += len(block)
                if file.bytes_read == file.stop_at:
                    break
        except BaseException as error:
            self._fault = error
            raise
        return _Piece(blocks, file.bytes_read, file.sha256)

    async def _check_unchanged(self) -> None:
        with _readable(self.path):
            info = await aiofiles.os.stat(self.file.fileno())
        if not Identity.of(info).agrees_with(self.identity) or self.bytes_read != self.identity.size_bytes:
            raise changed(self.path)


@asynccontextmanager
async def open_export(
    path: Path, encoding: str | None = None, opener: Callable[[], int] | None = None
) -> AsyncIterator[ExportFile]:
    """Open an export for reading from its start.

    `encoding`: as [export] has it, to read the text of the export; None to read the bytes of the file.
    `opener`: returns a descriptor of it; by default the file at `path` is opened.

    Raises `InputError`: 66 if it cannot be read; 65 if it is no text, or not in this encoding, by its first bytes. And
    `FatalError` (74) if the disk fails.
    """
    if opener is None:
        # Before it is opened: to open a device or a pipe may do something.
        await identify(path)
        # Not waiting: a pipe may have taken its place.
        opener = partial(os.open, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with anyio.CancelScope(shield=True):
        export = await run_sync(_open, path, opener, encoding)
    with export.file:
        try:
            yield export
        finally:
            with anyio.CancelScope(shield=True):
                await export.stop_reading()


def _open(path: Path, opener: Callable[[], int], encoding: str | None) -> ExportFile:
    with _readable(path):
        # Unbuffered: a buffer would only copy every block once more.
        file = FileIO(opener())
    with _readable(path), _about(path):
        try:
            identity = Identity.of(os.fstat(file.fileno()))
            if encoding is None:
                return ExportFile(path, identity, file)
            return ExportFile(path, identity, file, _as_text(os.pread(file.fileno(), HEAD_BYTES, 0), encoding))
        except BaseException:
            file.close()
            raise


def _as_text(head: bytes, encoding: str) -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    """The function that gives the text of a file in UTF-8, told by its first bytes. Raises `InputError` (65)."""
    if is_packed := is_gzip(head):
        head = next(gunzip(iter([head])), b"")
        if is_gzip(head):
            raise InputError("it is a gzip archive within a gzip archive: unpack it once.")
    if told := refusal(head):
        raise InputError(f"it {told}.")
    codec = codec_of(head, encoding)

    def text(blocks: Iterator[bytes]) -> Iterator[bytes]:
        blocks = gunzip(blocks) if is_packed else blocks
        return to_utf8(blocks, codec) if codec else blocks

    return text


async def identify(path: Path) -> Identity:
    """The identity of this file.

    Raises `InputError` (66) if there is no regular file, or its name is not UTF-8, and `FatalError` (74) for the disk.
    """
    if not _is_utf8(path):
        text = (
            f"{ascii(str(path))[1:-1]} is not UTF-8, and ledger and reports have to name it: rename it, then load it."
        )
        raise InputError(text, exit_code=ExitCode.EXPORT_MISSING)
    with _readable(path):
        info = await aiofiles.os.stat(path)
    if not S_ISREG(info.st_mode):
        raise InputError(f"{printable(str(path))} is {_kind_of(info.st_mode)}.", exit_code=ExitCode.EXPORT_MISSING)
    return Identity.of(info)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind_of(mode: int) -> str:
    if S_ISDIR(mode):
        return "a directory; name an export file"
    if S_ISFIFO(mode) or S_ISSOCK(mode) or S_ISCHR(mode):
        kind = "a pipe" if S_ISFIFO(mode) else "a socket" if S_ISSOCK(mode) else "a terminal or another device"
        return f"{kind}, and not a regular file. An export must be readable twice: write it to a file, and load that"
    return "not a regular file; name an export file"


async def digest(path: Path, opened: Callable[[Path], AbstractAsyncContextManager[Export]]) -> str:
    """The SHA-256 of a file as it is, in hexadecimal; `opened` opens it as an export."""
    async with opened(path) as export:
        while await export.read_block():
            pass
        return export.sha256


def changed(path: Path) -> InputError:
    """The error for an export that changed after its job began."""
    return InputError(
        f"{printable(str(path))} was changed while it was being loaded: what was sent is followed to its end, the "
        "rest is not sent. Write exports under another name and rename them when they are complete; then load it again."
    )


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Name the export in an `InputError` (65) of the body: what reads it knows bytes only."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{printable(str(path))} cannot be loaded: {error}", exit_code=error.exit_code) from error


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise `InputError` (66) where the body cannot read this export, and `FatalError` (74) where the disk fails."""
    try:
        yield
    except OSError as error:
        text = f"cannot read the export {printable(str(path))}: {error.strerror or error}."
        if error.errno in _OF_THE_DISK:
            text += " The export may be whole: look at its disk, and run again."
            raise FatalError(text, exit_code=ExitCode.DISK_OR_LEDGER) from error
        raise InputError(text, exit_code=ExitCode.EXPORT_MISSING) from error
