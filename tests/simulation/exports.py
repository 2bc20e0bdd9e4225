"""Exports that are read without a thread: whole files, and files that are read only as far as a test allows."""

import asyncio
import hashlib
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path

from pipeline.core.errors import ExitCode, InputError
from pipeline.core.formats.text_codec import to_utf8
from pipeline.edges.exports import BLOCK_BYTES, Identity, PartFile, Parts, changed, find_parts, identity_of, path_of
from pipeline.edges.exports.part_files import identity_at

#: Rows that are read of a growing export at a time.
_ROWS_OF_A_BLOCK = 4


@dataclass(frozen=True, slots=True)
class File:
    """A file of an export. `name`: of the part that it is; empty where the export is one file."""

    path: Path
    name: str
    identity: Identity


class TextExport:
    """An open export, of which each file is read whole when its turn comes.

    `end_of` is awaited before each block with the number of the part and the offset in it where the block begins; it
    gives the offset where the block ends.
    """

    columns = None

    def __init__(
        self,
        path: Path,
        files: Sequence[File],
        end_of: Callable[[int, int], Awaitable[int]] | None = None,
        encoding: str | None = None,
    ) -> None:
        self.path = path
        self._encoding = encoding
        self.identity = identity_of([PartFile(file.name, file.identity) for file in files])
        if not files[0].name:
            self.identity = files[0].identity
        self.bytes_read = 0
        self._files = files
        self._number = 0
        self._digest = hashlib.sha256()
        self.sha256 = self._digest.hexdigest()
        #: The part, and the offset in it, before which all was read by an earlier process.
        self.skipped_to = (0, 0)
        self._end_of = end_of
        self._begin_file()

    def _begin_file(self) -> None:
        self._text, self._offset = text_of(self.place, self._encoding), 0
        if not _is_still(self.place, self._files[self._number].identity):
            raise changed(self.place)

    async def read_block(self) -> bytes:
        """The next bytes, see `Export`."""
        end = self._offset + BLOCK_BYTES
        if self._end_of is not None:
            end = await self._end_of(self._number, self._offset)
        block = self._take(end)
        if not block and not _is_still(self.place, self._files[self._number].identity):
            raise changed(self.place)
        return block

    @property
    def part(self) -> str:
        """The name of the part that is read."""
        return self._files[self._number].name

    @property
    def place(self) -> Path:
        """Its path."""
        return self._files[self._number].path

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return len(self._text)

    async def next_part(self) -> bool:
        """Go on with the next part, see `Export`."""
        if self._number == len(self._files) - 1:
            return False
        self._number += 1
        self._begin_file()
        return True

    def look_only(self) -> None:
        """Nothing is read ahead anyway."""

    async def skip_to(self, part: int, offset: int, *, digest_bytes: int, digest: str) -> bytes:
        """Go on where an earlier process was, see `Export`."""
        while self._number < part:
            self._take(len(self._text))
            await self.next_part()
        self.skipped_to = (part, offset)
        read = self._take(digest_bytes - self.bytes_read)
        if self.sha256 != digest or self.bytes_read != digest_bytes:
            raise changed(self.path)
        return read[offset:]

    def _take(self, end: int) -> bytes:
        block = self._text[self._offset : end]
        self._offset += len(block)
        self.bytes_read += len(block)
        self._digest.update(block)
        self.sha256 = self._digest.hexdigest()
        return block


def _is_still(path: Path, identity: Identity) -> bool:
    try:
        return Identity.of(path.stat()).agrees_with(identity)
    except FileNotFoundError:
        # An open file is read to its end, whatever becomes of its name.
        return True


@asynccontextmanager
async def open_whole(path: Path, encoding: str | None = None, parts: Parts = (), /) -> AsyncIterator[TextExport]:
    """Open an export that can be read to its end; "auto" is UTF-8. Raises `InputError`: 66 where there is none, 65
    where one of its parts is not as it was seen.
    """
    yield TextExport(path, files_of(path, parts), encoding=encoding)


def files_of(path: Path, parts: Parts) -> list[File]:
    """The files of an export that is about to be opened. Raises the errors of `open_whole`."""
    beside = path
    if not parts and path.is_dir():
        parts, beside = find_parts(path).parts, path_of(path)
    if not parts:
        return [File(path, "", identity_at(path))]
    files = [File(beside.parent / part.name, part.name, part.identity) for part in parts]
    for file in files:
        if not identity_at(file.path).agrees_with(file.identity):
            raise changed(file.path)
    return files


def text_of(path: Path, encoding: str | None = None) -> bytes:
    """What is in an export, as UTF-8. Raises `InputError` (66) where it cannot be read."""
    try:
        content = path.read_bytes()
        return content if encoding in (None, "auto") else b"".join(to_utf8(iter([content]), encoding))
    except OSError as error:
        raise InputError(
            f"cannot read the export {path}: {error.strerror}.", exit_code=ExitCode.EXPORT_MISSING
        ) from error


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an export: its id, and its cells that are not empty."""

    line: int
    profile_id: bytes
    cells: dict[str, bytes]


class GrowingExport:
    """Files that lie there whole, and of which no more is read than a test allows: as if their disk were slow.

    `named`: the file, or the directory of several, as a command names it.
    `path`: of its jobs.
    `files`: in their order.
    `placed_at`: for each line when its row was certainly placed, since its reader came back for more.
    `is_altered`: somebody removed or changed some of it.
    """

    def __init__(
        self, named: Path, columns: Sequence[str], parts: Sequence[Sequence[Row]], time: Callable[[], float]
    ) -> None:
        """`parts`: the rows of each file, on the lines that come of it. `time`: the time of now."""
        self.named = named
        self.path = path_of(named) if len(parts) > 1 else named
        self.columns = tuple(columns)
        self.parts = tuple(map(tuple, parts))
        self.rows = tuple(chain.from_iterable(parts))
        self.files = [named / f"part-{number}.csv" for number in range(len(parts))] if len(parts) > 1 else [named]
        self.placed_at: dict[int, float] = {}
        self.is_altered = False
        self._time = time
        self._allowed = 0
        self._grown: list[asyncio.Future[None]] = []
        #: By part and by line in it the offset behind it, and the lines of the parts before.
        self._ends: list[list[int]] = []
        self._before = [0, *accumulate(1 + len(rows) for rows in parts)]
        for file, rows in zip(self.files, parts, strict=True):
            lines = [",".join(["id", *columns]).encode(), *map(self.text_of, rows)]
            self._ends.append([0, *accumulate(len(line) + 1 for line in lines)])
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"".join(line + b"\n" for line in lines))

    def text_of(self, row: Row) -> bytes:
        """A row as it stands in the file."""
        return b",".join([row.profile_id, *(row.cells.get(name, b"") for name in self.columns)])

    def allow(self, rows: int) -> None:
        """Let so many more rows be read."""
        self._allowed = min(len(self.rows), self._allowed + rows)
        for future in self._grown:
            if not future.done():
                future.set_result(None)
        self._grown.clear()

    @property
    def is_whole(self) -> bool:
        """Whether all of it may be read."""
        return self._allowed == len(self.rows)

    @property
    def _readable(self) -> int:
        """The lines that may be read; the first header always."""
        if self.is_whole:
            return self._before[-1]
        return self.rows[self._allowed - 1].line if self._allowed else 1

    @asynccontextmanager
    async def open(self, parts: Parts = ()) -> AsyncIterator[TextExport]:
        """Open it for reading. Raises the errors of `open_whole`."""
        seen: set[int] = set()

        async def end_of(part: int, start: int) -> int:
            before, ends = self._before[part], self._ends[part]
            skipped, offset = export.skipped_to
            first = self._before[skipped] + bisect_left(self._ends[skipped], offset) + 1
            given = bisect_left(ends, start)
            placed = set(range(max(2, first), before + given + 1)) - seen
            self.placed_at |= dict.fromkeys(placed, self._time())
            seen.update(placed)
            while given < len(ends) - 1 and before + given >= self._readable:
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._grown.append(future)
                await future
            most = given + _ROWS_OF_A_BLOCK if part or given else 1
            return ends[min(most, max(given, self._readable - before), len(ends) - 1)]

        export = TextExport(self.path, files_of(self.path, parts), end_of)
        yield export
