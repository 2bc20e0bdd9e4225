"""Reads an export in blocks, off the event loop, computes its SHA-256 on the way, and notices if it changes."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG

import aiofiles
import aiofiles.os
import anyio
from aiofiles.threadpool.binary import AsyncBufferedReader

from pipeline.core.errors import ExitCode, InputError

#: Bytes read at a time. Larger blocks fall out of the processor's cache: the same step took five times as long a byte
#: with 4 MiB.
BLOCK_BYTES = 131_072


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a file from another under its name: size in bytes, and time of the last change in nanoseconds."""

    size_bytes: int
    mtime_ns: int


class Export:
    """An open export; `bytes_read` and `sha256` tell of what was read so far."""

    def __init__(self, path: Path, identity: Identity, file: AsyncBufferedReader) -> None:
        self.path = path
        self.identity = identity
        self.bytes_read = 0
        self._file = file
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Digest of the bytes read so far, in hexadecimal."""
        return self._digest.hexdigest()

    async def read_block(self, limit: int = BLOCK_BYTES) -> bytes:
        """The next bytes, at most `limit`; empty at the end of the file.

        Raises `InputError`: 66 where it cannot be read, 65 where it changed since it was opened.
        """
        try:
            block = await self._file.read(min(limit, BLOCK_BYTES))
            if not block:
                await self._check_unchanged()
        except OSError as error:
            raise _unreadable(self.path, error) from error
        self.bytes_read += len(block)
        self._digest.update(block)
        return block

    async def skip_to(self, offset: int, *, digest_bytes: int, digest: str) -> bytes:
        """Go on where an earlier process was: what it had read behind `offset`, up to `digest_bytes`.

        Raises `InputError` (65) unless the first `digest_bytes` bytes are still what they were.
        """
        behind = bytearray()
        while self.bytes_read < digest_bytes:
            start = self.bytes_read
            block = await self.read_block(digest_bytes - start)
            if not block:
                break
            behind += block[max(0, offset - start) :]
        if self.sha256 != digest or self.bytes_read != digest_bytes:
            raise changed(self.path)
        return bytes(behind)

    async def _check_unchanged(self) -> None:
        facts = await aiofiles.os.stat(self._file.fileno())
        if Identity(facts.st_size, facts.st_mtime_ns) != self.identity or self.bytes_read != self.identity.size_bytes:
            raise changed(self.path)


@asynccontextmanager
async def open_export(path: Path) -> AsyncIterator[Export]:
    """Open an export for reading from its start. Raises `InputError` (66) where it cannot be read."""
    identity = await identify(path)
    try:
        # Unbuffered: a buffer of its own would only copy every block once more.
        with anyio.CancelScope(shield=True):
            file = await aiofiles.open(path, "rb", buffering=0)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        yield Export(path, identity, file)  # type: ignore[arg-type]
    finally:
        with anyio.CancelScope(shield=True):
            await file.close()


async def identify(path: Path) -> Identity:
    """What tells this file from another. Raises `InputError` (66) where there is no regular file."""
    try:
        facts = await aiofiles.os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not S_ISREG(facts.st_mode):
        kind = "a directory" if S_ISDIR(facts.st_mode) else "not a regular file"
        raise InputError(f"{path} is {kind}; name an export file.", exit_code=ExitCode.EXPORT_MISSING)
    return Identity(facts.st_size, facts.st_mtime_ns)


async def digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    async with open_export(path) as export:
        while await export.read_block():
            pass
        return export.sha256


def changed(path: Path) -> InputError:
    """The error for an export that is not what it was when its job began."""
    return InputError(
        f"{path} was changed while it was being loaded: what was sent is followed to its end, the rest is not sent. "
        "Write exports under another name and rename them when they are complete; then load it again."
    )


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot read the export {path}: {error.strerror or error}.", exit_code=ExitCode.EXPORT_MISSING)
