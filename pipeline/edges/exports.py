"""Reads an export in blocks, off the event loop, and computes its SHA-256 on the way."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISREG

import aiofiles
import aiofiles.os
from aiofiles.threadpool.binary import AsyncBufferedReader

from pipeline.core.errors import ExitCode, InputError

#: Bytes read at a time. Larger blocks fall out of the processor's cache: the same step took five times as long a byte
#: with 4 MiB.
BLOCK_BYTES = 131_072


class Export:
    """An open export; `bytes_read` and `sha256` tell of what was read so far."""

    def __init__(self, path: Path, size_bytes: int, file: AsyncBufferedReader) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.bytes_read = 0
        self._file = file
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Digest of the bytes read so far, in hexadecimal."""
        return self._digest.hexdigest()

    async def read_block(self) -> bytes:
        """The next bytes, at most `BLOCK_BYTES`; empty at the end of the file. Raises `InputError` (66)."""
        try:
            block = await self._file.read(BLOCK_BYTES)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        self.bytes_read += len(block)
        self._digest.update(block)
        return block


@asynccontextmanager
async def open_export(path: Path) -> AsyncIterator[Export]:
    """Open an export for reading from its start. Raises `InputError` (66) where it cannot be read."""
    try:
        facts = await aiofiles.os.stat(path)
        if not S_ISREG(facts.st_mode):
            kind = "a directory" if S_ISDIR(facts.st_mode) else "not a regular file"
            raise InputError(f"{path} is {kind}; name an export file.", exit_code=ExitCode.EXPORT_MISSING)
        # Unbuffered: a buffer of its own would only copy every block once more.
        file = await aiofiles.open(path, "rb", buffering=0)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        yield Export(path, facts.st_size, file)  # type: ignore[arg-type]
    finally:
        await file.close()


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot read the export {path}: {error.strerror or error}.", exit_code=ExitCode.EXPORT_MISSING)
