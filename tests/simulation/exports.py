"""Exports that are read without a thread: whole files, and files that are read only as far as a test allows."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pipeline.core.errors import ExitCode, InputError
from pipeline.edges.exports import BLOCK_BYTES, Identity, changed, identify


class TextExport:
    """An open export, of which the text was read when it was opened.

    `end_of` is awaited before each block with the offset where it begins; it gives the offset where the block ends.
    """

    def __init__(
        self, path: Path, identity: Identity, text: bytes, end_of: Callable[[int], Awaitable[int]] | None = None
    ) -> None:
        self.path = path
        self.identity = identity
        self.bytes_read = 0
        self._text = text
        self._digest = hashlib.sha256()
        self.sha256 = self._digest.hexdigest()
        self._end_of = end_of

    async def read_block(self) -> bytes:
        """The next bytes, see `Export`."""
        end = self.bytes_read + BLOCK_BYTES if self._end_of is None else await self._end_of(self.bytes_read)
        block = self._take(end)
        if not block and not _is_still(self.path, self.identity):
            raise changed(self.path)
        return block

    async def skip_to(self, offset: int, *, digest_bytes: int, digest: str) -> bytes:
        """Go on where an earlier process was, see `Export`."""
        start = self.bytes_read
        read = self._take(digest_bytes)
        if self.sha256 != digest or self.bytes_read != digest_bytes:
            raise changed(self.path)
        return read[max(0, offset - start) :]

    def _take(self, end: int) -> bytes:
        block = self._text[self.bytes_read : end]
        self.bytes_read += len(block)
        self._digest.update(block)
        self.sha256 = self._digest.hexdigest()
        return block


def _is_still(path: Path, identity: Identity) -> bool:
    try:
        return Identity.of(path.stat()) == identity
    except FileNotFoundError:
        # An open file is read to its end, whatever becomes of its name.
        return True


@asynccontextmanager
async def open_whole(path: Path) -> AsyncIterator[TextExport]:
    """Open an export that can be read to its end. Raises `InputError` (66) where there is none."""
    identity = await identify(path)
    yield TextExport(path, identity, text_of(path))


def text_of(path: Path) -> bytes:
    """What is in an export. Raises `InputError` (66) where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the export {path}: {error.strerror}.", exit_code=ExitCode.EXPORT_MISSING
        ) from error
