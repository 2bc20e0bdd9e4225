"""Exports that are read without a thread: whole files, and files that are read only as far as a test allows."""

import asyncio
import hashlib
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from pipeline.core.errors import ExitCode, InputError
from pipeline.core.formats.text_codec import to_utf8
from pipeline.edges.exports import BLOCK_BYTES, Identity, Parts, changed, identify, identity_of

#: Rows that are read of a growing export at a time.
_ROWS_OF_A_BLOCK = 4


class TextExport:
    """An open export, of which the text was read when it was opened.

    `end_of` is awaited before each block with the offset where it begins; it gives the offset where the block ends.
    """

    columns = None

    def __init__(
        self,
        path: Path,
        identity: Identity,
        texts: Sequence[tuple[str, bytes]],
        end_of: Callable[[int], Awaitable[int]] | None = None,
    ) -> None:
        """`texts`: name and text of each part; the name is empty where there is only one."""
        self.path = path
        self.identity = identity
        self.bytes_read = 0
        self._texts = texts
        self._number = self._begin = 0
        self._digest = hashlib.sha256()
        self.sha256 = self._digest.hexdigest()
        #: What lies before was read by an earlier process.
        self.skipped_to = 0
        self._end_of = end_of

    async def read_block(self) -> bytes:
        """The next bytes, see `Export`."""
        end = self.bytes_read + BLOCK_BYTES if self._end_of is None else await self._end_of(self.bytes_read)
        block = self._take(end)
        if not block and not self.part and not _is_still(self.path, self.identity):
            raise changed(self.path)
        return block

    @property
    def part(self) -> str:
        """The name of the part that is read."""
        return self._texts[self._number][0]

    @property
    def place(self) -> Path:
        """Its path."""
        return self.path.parent / self.part if self.part else self.path

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return len(self._text)

    @property
    def _text(self) -> bytes:
        return self._texts[self._number][1]

    async def next_part(self) -> bool:
        """Go on with the next part, see `Export`."""
        if self._number == len(self._texts) - 1:
            return False
        self._begin += len(self._text)
        self._number += 1
        return True

    def look_only(self) -> None:
        """Nothing is read ahead anyway."""

    async def skip_to(self, part: int, offset: int, *, digest_bytes: int, digest: str) -> bytes:
        """Go on where an earlier process was, see `Export`."""
        while self._number < part:
            self._take(self._begin + len(self._text))
            await self.next_part()
        start, self.skipped_to = 0, offset
        read = self._take(digest_bytes)
        if self.sha256 != digest or self.bytes_read != digest_bytes:
            raise changed(self.path)
        return read[max(0, offset - start) :]

    def _take(self, end: int) -> bytes:
        block = self._text[max(0, self.bytes_read - self._begin) : end - self._begin]
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
    """Open an export that can be read to its end; "auto" is UTF-8. Raises `InputError` (66) where there is none."""
    if parts:
        texts = [(each.name, text_of(path.parent / each.name, encoding)) for each in parts]
        for each in parts:
            if not _is_still(path.parent / each.name, each.identity):
                raise changed(path.parent / each.name)
        yield TextExport(path, identity_of(parts), texts)
    else:
        yield TextExport(path, await identify(path), [("", text_of(path, encoding))])


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
    """A file that lies there whole, and of which no more is read than a test allows: as if its disk were slow.

    `placed_at` has for each line when its row was certainly placed: its reader came back for more. `time` is the time.
    """

    def __init__(self, path: Path, columns: Sequence[str], rows: Sequence[Row], time: Callable[[], float]) -> None:
        self.path = path
        self.columns = tuple(columns)
        self.rows = tuple(rows)
        self.placed_at: dict[int, float] = {}
        self._time = time
        self._allowed = 0
        self._grown: list[asyncio.Future[None]] = []
        lines = [",".join(["id", *columns]).encode(), *map(self.text_of, rows)]
        #: By line the offset behind it.
        self._ends = [0, *accumulate(len(line) + 1 for line in lines)]
        path.write_bytes(b"".join(line + b"\n" for line in lines))

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

    @asynccontextmanager
    async def open(self) -> AsyncIterator[TextExport]:
        """Open it for reading."""
        seen: set[int] = set()

        async def end_of(start: int) -> int:
            given, lines = bisect_left(self._ends, start), len(self._ends) - 1
            first = bisect_left(self._ends, export.skipped_to) + 1
            placed = set(range(max(2, first), given + 1)) - seen
            self.placed_at |= dict.fromkeys(placed, self._time())
            seen.update(placed)
            while 0 < given < lines and given > self._allowed:
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._grown.append(future)
                await future
            # The header may always be read.
            return self._ends[min(given + _ROWS_OF_A_BLOCK, 1 + self._allowed, lines) if given else 1]

        export = TextExport(self.path, await identify(self.path), [("", text_of(self.path))], end_of)
        yield export
