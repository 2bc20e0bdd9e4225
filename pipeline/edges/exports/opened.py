"""An open export: its text in blocks, part by part, read off the event loop, with its SHA-256 and what changes.

Blocks are what is in the files, or their text in UTF-8: unpacked if a file is a gzip archive, decoded if it is in
another encoding. Sizes and digests are those of the files either way.
"""

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio
from anyio.to_thread import run_sync

from pipeline.edges.exports.faults import changed, readable
from pipeline.edges.exports.identity import Identity, identity_of
from pipeline.edges.exports.part_files import Parts, find_parts, is_directory, open_regular, path_of
from pipeline.edges.exports.reader import PartsReader, Piece, Source

T = TypeVar("T")


class Export(Protocol):
    """An open export: the text of its parts, one after the other. The first part is open from the beginning.

    `part`: the name of the part that is being read; empty where the export is no more than one.
    `place`: the path of that part, for people.
    `size_bytes`: of that part.
    `columns`: of a columnar part, whose text is that of `CellFramer`: a line is a row; else None.
    `bytes_read`, `sha256`: the bytes of all files read so far, in their order, and their digest; a little more than
    what `read_block` has returned was made of. At the end they are those of the whole, if every part was read.
    """

    path: Path
    identity: Identity
    bytes_read: int
    sha256: str

    @property
    def part(self) -> str: ...

    @property
    def place(self) -> Path: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def columns(self) -> tuple[str, ...] | None: ...

    async def read_block(self) -> bytes:
        """The next bytes, at most `BLOCK_BYTES`; empty at the end of the part.

        Raises `InputError`: 66 if it cannot be read, 65 if it cannot be unpacked or decoded, or changed since it was
        opened; `FatalError` (74) if the disk fails.
        """

    async def next_part(self) -> bool:
        """Go on with the next part, whatever is left of this one; False if there is none.

        Raises the errors of `read_block`, and `InputError` (65) for a part that is no text.
        """

    def look_only(self) -> None:
        """Make it one of which the beginnings of parts are read: nothing is read ahead, nor for the digest."""

    async def skip_to(self, part: int, offset: int, *, digest_bytes: int, digest: str) -> bytes:
        """Go on where an earlier process stopped, before anything is read.

        `part`: the number of the part, from 0.
        `offset`: in that part, counted in what `read_block` returns.
        `digest_bytes`, `digest`: the bytes of the files that were read then, and their digest.

        Returns what is read already and lies behind `offset`. Raises `InputError` (65) if the first `digest_bytes`
        bytes have changed.
        """


class ExportFile:
    """An export that lies in files.

    A thread reads ahead: while one piece is used, the next is read, unpacked, decoded, and its digest computed.
    """

    def __init__(self, path: Path, identity: Identity, reader: PartsReader) -> None:
        self.path = path
        self.identity = identity
        self.bytes_read = 0
        self.sha256 = hashlib.sha256().hexdigest()
        # Only one thread at a time uses it.
        self._reader = reader
        self._ahead: asyncio.Future[Piece] | None = None
        self._step: asyncio.Future[Any] | None = None
        self._blocks: deque[bytes] = deque()
        self._is_looking = False

    @property
    def part(self) -> str:
        """The name of the part that is being read."""
        return self._reader.part

    @property
    def place(self) -> Path:
        """Its path, for people."""
        return self._reader.place

    @property
    def size_bytes(self) -> int:
        """The size of that part."""
        return self._reader.size_bytes

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns of that part, if it is columnar."""
        return self._reader.columns

    async def read_block(self) -> bytes:
        """The next bytes, see `Export`."""
        if not self._blocks:
            piece = await self._take()
            if not piece.blocks:
                # Now, and not when the thread came to the end: what is added meanwhile is a change too.
                await self._run(self._reader.check_unchanged)
                return b""
            if not self._is_looking:
                self._ahead = self._in_thread(self._reader.read_piece)
            self._blocks.extend(piece.blocks)
        return self._blocks.popleft()

    async def next_part(self) -> bool:
        """Go on with the next part, see `Export`."""
        if self._ahead is not None:
            await self._take()
        self._blocks.clear()
        return bool(await self._run(self._reader.next_part))

    def look_only(self) -> None:
        """Read beginnings only, see `Export`."""
        self._is_looking = True
        self._reader.look_only()

    async def skip_to(self, part: int, offset: int, *, digest_bytes: int, digest: str) -> bytes:
        """Go on where an earlier process was, see `Export`."""
        await self._run(partial(self._reader.go_to, part, digest_bytes))
        self.bytes_read, self.sha256 = self._reader.bytes_read, self._reader.sha256
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
            raise changed(self.path if not self.part else self.place)
        return bytes(behind)

    async def stop_reading(self) -> None:
        """Wait for the thread that reads ahead: then the file is no longer in use."""
        for running in (self._ahead, self._step):
            if running is not None:
                await asyncio.wait([running])
                # Without this, asyncio would log an error that concerns nobody any more.
                running.exception()

    def close(self) -> None:
        """Close the file that is open."""
        self._reader.close()

    async def _run(self, function: Callable[[], T]) -> T:
        """Run a step of the reader besides reading; a thread cannot be stopped, so its end is waited for later."""
        self._step = step = self._in_thread(function)
        return await asyncio.shield(step)

    async def _take(self) -> Piece:
        """The piece that was read ahead, or else the next one."""
        reading, self._ahead = self._ahead or self._in_thread(self._reader.read_piece), None
        try:
            # A thread that reads cannot be stopped, and the file must not be closed meanwhile.
            piece = await asyncio.shield(reading)
        except asyncio.CancelledError:
            self._ahead = reading
            raise
        self.bytes_read, self.sha256 = piece.bytes_read, piece.sha256
        return piece

    def _in_thread(self, function: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(None, function)


@asynccontextmanager
async def open_export(
    path: Path, encoding: str | None = None, parts: Parts = (), opener: Callable[[Path], int] | None = None
) -> AsyncIterator[ExportFile]:
    """Open an export for reading from its start.

    `path`: the file; with `parts`, a path beside them; or a directory whose files are the parts, see `find_parts`.
    `encoding`: as [export] has it, to read the text of the export; None to read the bytes of the files.
    `parts`: its files in their order, as they were seen before; none if it is one file.
    `opener`: returns a descriptor of a file; by default the file at its path is opened.

    Raises `InputError`: 66 if it cannot be read; 65 if it is no text, or not in this encoding, by its first bytes, or
    if a part is not as it was seen. And `FatalError` (74) if the disk fails.
    """
    with anyio.CancelScope(shield=True):
        export = await run_sync(_open, path, encoding, parts, opener)
    try:
        yield export
    finally:
        with anyio.CancelScope(shield=True):
            await export.stop_reading()
        export.close()


def _open(path: Path, encoding: str | None, parts: Parts, opener: Callable[[Path], int] | None) -> ExportFile:
    beside = path
    if not parts and opener is None and is_directory(path):
        # Its path stays that of the directory, by which it can be opened again.
        parts, beside = find_parts(path).parts, path_of(path)
    opened: Callable[[Path], FileIO] = open_regular if opener is None else lambda place: FileIO(opener(place))
    if not parts:
        reader = PartsReader([Source(path, "", None, partial(opened, path))], encoding)
        return ExportFile(path, reader.identity, reader)
    sources = [
        Source(place := beside.parent / part.name, part.name, part.identity, partial(opened, place)) for part in parts
    ]
    for source in sources:
        # All of them before anything is sent.
        _check_seen(source)
    return ExportFile(path, identity_of(parts), PartsReader(sources, encoding))


def _check_seen(source: Source) -> None:
    with readable(source.path), source.open() as file:
        if source.identity is None or not Identity.of(os.fstat(file.fileno())).agrees_with(source.identity):
            raise changed(source.path)


async def digest(
    path: Path, opened: Callable[[Path, None, Parts], AbstractAsyncContextManager[Export]], parts: Parts = ()
) -> str:
    """The SHA-256 of an export as it lies there, in hexadecimal; `opened` opens it."""
    async with opened(path, None, parts) as export:
        while await export.read_block() or await export.next_part():
            pass
        return export.sha256
