"""The body of a batch while it is sent: its last bytes are handed over only if all of them are what was sealed.

A POST whose last bytes never leave is never complete, so Target applies nothing of it.
"""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from aiofiles.threadpool.binary import AsyncBufferedReader
from anyio.to_thread import run_sync

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch
from pipeline.edges.durable import Version


class AlteredError(OSError):
    """The body is not what was sealed. Of the kind that ends a POST."""


class SealedBody:
    """The body of one attempt, read from an open file.

    `checked`: the version of the file that was compared with the digest in the ledger. As long as the file is still
    that, its digest need not be worked out once more; None: it is, while the bytes are read.
    `has_begun`: True when the first bytes were asked for. `is_altered`: True when it was found to be another body.
    """

    def __init__(self, batch: Batch, path: Path, file: AsyncBufferedReader, checked: Version | None) -> None:
        self._batch = batch
        self._path = path
        self._file = file
        self._checked = checked
        self.has_begun = self.is_altered = False

    async def slices(self, size_bytes: int) -> AsyncIterator[bytes]:
        """The body, so many bytes at a time. Raises `AlteredError` instead of the last ones if it is another body."""
        self.has_begun = True
        digest = None if self._is_as_checked() else hashlib.sha256()
        left = self._batch.size_bytes
        piece = await self._file.read(size_bytes)
        while piece:
            following = await self._file.read(size_bytes)
            left -= len(piece)
            if digest is not None:
                await run_sync(digest.update, piece)
            # A longer file must not get through as far as it was to go.
            is_last = left <= 0 or not following
            if is_last and (left or following or not self._is_right(digest)):
                self._alter()
            yield piece
            piece = following
        if left:
            self._alter()

    def altered(self) -> FatalError:
        """The error for a body that is not what was sealed."""
        return FatalError(
            f"the batch {self._path} was altered while it was sent, so its POST was broken off before its end. Restore "
            "the whole state directory from a backup; without one, see docs/service.md, under Backup.",
            exit_code=ExitCode.DISK_OR_LEDGER,
        )

    def _is_as_checked(self) -> bool:
        return self._checked is not None and Version.of(os.fstat(self._file.fileno())) == self._checked

    def _is_right(self, digest: "hashlib._Hash | None") -> bool:
        """True if all bytes that were read are those that were sealed."""
        return self._is_as_checked() if digest is None else digest.hexdigest() == self._batch.sha256

    def _alter(self) -> None:
        self.is_altered = True
        raise AlteredError(f"{self._path} is not what was sealed")
