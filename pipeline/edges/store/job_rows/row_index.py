"""The index of a job: for rows that were read the hash of the id, the line, and what it is; by it rows are found.

A file `rows/index` in the folder of the job, of frames that follow each other: a checksum, the number of rows n, the
length of a name, the name, n hashes of ids (uint64, `NO_ID` for a row without one), n lines (uint32, counted through
all parts); all little endian. The names:

    row             to be sent: held, superseded, unchanged, unsent, or in a batch that was sealed later
    empty           an id and no value
    excluded NAME   left out by the condition on the column NAME
    local.REASON    rejected
    unchanged       a `row` that said nothing new; it is there a second time by this name
    gone            of an id that a snapshot no longer has; no line of the export has it

Most rows are in the batch that is sealed when the index is written: of those `sent_ids` tells. Each other row stands in
one frame besides `unchanged` ones. Neither is flushed, and both are written as far as the disk lets it: if a crash of
the machine takes some, or the disk refuses, they tell of fewer rows than were read. Whoever asks is told so.
"""

import os
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from isal.isal_zlib import crc32

from pipeline.core.model import Flags, Hashes, Offsets
from pipeline.core.rows.id_forms import NO_ID
from pipeline.edges.durable import write_durably

ROW, UNCHANGED, GONE = "row", "unchanged", "gone"
#: Checksum, number of rows, length of the name.
_HEAD = struct.Struct("<IIH")
#: Bytes of a row.
_ROW_BYTES = 12
#: Rows that wait in memory before they are written, at most; more than a batch may have. And the most rows of a frame.
_NOTED_ROWS, _MOST_ROWS = 600_000, 1_048_576
#: If lines lie so far apart, on average, they are not looked up in a table.
_FAR_APART = 16
#: The last line that the index can tell; a row behind it counts as on it.
_LAST_LINE = 2**32 - 1


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Rows of one name. Both arrays have shape (n,). `end`: the offset behind it in the file, if it is of one."""

    name: str
    hashes: Hashes
    lines: Offsets
    end: int = 0


class RowIndex:
    """Writes the index of one job. `add` only notes; `write_index` and `cut_index` block. No error is raised."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._noted: dict[str, list[tuple[Hashes, Offsets]]] = {}
        self._rows = 0
        self._is_refused = False

    @property
    def is_large(self) -> bool:
        """True if so many rows are noted that they should be written."""
        return self._rows >= _NOTED_ROWS

    def add(self, name: str, hashes: Hashes, lines: Offsets) -> None:
        """Note rows; both arrays have shape (n,), and must not be changed."""
        if len(hashes) and not self._is_refused:
            self._noted.setdefault(name, []).append((hashes, lines))
            self._rows += len(hashes)

    def write_index(self, sealed: Offsets | None = None) -> int:
        """Write what is noted; return the length of the file in bytes, -1 if the disk refused: then there is none.

        `sealed`: the lines of the rows in a batch, of which nothing is written here.
        """
        noted, self._noted, self._rows = self._noted, {}, 0
        if self._is_refused:
            return -1
        if sealed is not None and ROW in noted:
            noted[ROW] = [*_without_lines(noted[ROW], sealed)]
        frames = [_joined(name, rows) for name, rows in noted.items() if rows]
        try:
            return self._append([piece for frame in frames for piece in _pieces(frame)])
        except OSError:
            self._refuse()
            return -1

    def cut_index(self, length: int) -> None:
        """Cut the file to `length` bytes, and forget what is noted. If it is shorter, part of it is lost, and it goes.

        What is read again is noted again then. `length`: -1 if there is none, as of a job of an earlier version.
        """
        self._noted, self._rows, self._is_refused = {}, 0, False
        try:
            found = self.path.stat().st_size if self.path.exists() else 0
            if not 0 <= length <= found:
                self._refuse()
            elif found > length:
                os.truncate(self.path, length)
        except OSError:
            self._refuse()

    def _append(self, pieces: list[bytes]) -> int:
        if not pieces:
            return self.path.stat().st_size if self.path.exists() else 0
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
            file.flush()
            return os.fstat(descriptor).st_size

    def _refuse(self) -> None:
        self._is_refused = True
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def frames_of(path: Path, length: int | None = None) -> Iterator[Frame]:
    """The frames of an index, as far as they are whole; none if there is none. `length`: only so many bytes. Blocks."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except OSError:
        return
    end, last = 0, 2**63 if length is None else length
    with file, suppress(OSError):
        while end < last and len(head := file.read(_HEAD.size)) == _HEAD.size:
            checksum, rows, name_bytes = _HEAD.unpack(head)
            size = name_bytes + _ROW_BYTES * rows
            if rows > _MOST_ROWS or len(body := file.read(size)) != size or crc32(body) != checksum:
                return
            end += _HEAD.size + size
            name = body[:name_bytes].decode(errors="backslashreplace")
            hashes = np.frombuffer(body, dtype="<u8", offset=name_bytes, count=rows)
            lines = np.frombuffer(body, dtype="<u4", offset=name_bytes + 8 * rows, count=rows)
            yield Frame(name, hashes, lines.astype(np.int64), end)


@dataclass(frozen=True, slots=True)
class IndexedRows:
    """The rows of an index with one hash, by line and name, in the order of their lines; and the rows of each name.

    `nameless`: the rows without an id that can be told. `read_bytes`: what was read of the file; the rest of it is not
    whole.
    """

    rows: tuple[tuple[int, str], ...]
    counts: Counter[str]
    nameless: int = 0
    read_bytes: int = 0


def look_up(path: Path, hash_: int, length: int | None = None) -> IndexedRows:
    """The rows of an id, by its hash. Blocks: all of the file is read, a few hundred megabytes in a second."""
    counts: Counter[str] = Counter()
    rows, nameless, end = list[tuple[int, str]](), 0, 0
    for frame in frames_of(path, length):
        counts[frame.name] += len(frame.hashes)
        nameless += int(np.count_nonzero(frame.hashes == np.uint64(NO_ID)))
        end = frame.end
        rows += [(line, frame.name) for line in frame.lines[frame.hashes == np.uint64(hash_)].tolist()]
    return IndexedRows(tuple(sorted(rows)), counts, nameless, end)


def erase_indexed(path: Path, hashes: Hashes) -> int:
    """Take ids out of an index, durably: their rows have none any more. Returns how many. `hashes`: theirs, sorted.

    Raises `FatalError` (74) if the disk refuses.
    """
    count = sum(int(np.count_nonzero(np.isin(frame.hashes, hashes))) for frame in frames_of(path))
    if count:
        write_durably(path, (piece for frame in frames_of(path) for piece in _pieces(_without(frame, hashes))))
    return count


def _without_lines(rows: Iterable[tuple[Hashes, Offsets]], sealed: Offsets) -> Iterator[tuple[Hashes, Offsets]]:
    """The rows that are on none of these lines; lists of which none is left are left out."""
    is_left = _left_beside(sealed)
    for hashes, lines in rows:
        left = is_left(lines)
        if left.any():
            yield hashes[left], lines[left]


def _left_beside(sealed: Offsets) -> Callable[[Offsets], Flags]:
    """A function that sets a flag for each line that is none of these."""
    first, last = (int(sealed.min()), int(sealed.max())) if len(sealed) else (0, 0)
    if last - first > _FAR_APART * len(sealed):
        return lambda lines: ~np.isin(lines, sealed)
    # Its first and its last flag are for all lines that are outside.
    table = np.ones(last - first + 3, dtype=np.bool_)
    table[sealed - (first - 1)] = False
    return lambda lines: table[np.clip(lines - (first - 1), 0, last - first + 2)]


def _without(frame: Frame, hashes: Hashes) -> Frame:
    left = np.where(np.isin(frame.hashes, hashes), np.uint64(NO_ID), frame.hashes)
    return Frame(frame.name, left, frame.lines)


def _joined(name: str, rows: Iterable[tuple[Hashes, Offsets]]) -> Frame:
    hashes, lines = zip(*rows, strict=True)
    return Frame(name, np.concatenate(hashes), np.concatenate(lines))


def _pieces(frame: Frame) -> Iterator[bytes]:
    name = frame.name.encode(errors="backslashreplace")[:65_535]
    for first in range(0, len(frame.hashes), _MOST_ROWS):
        part = slice(first, first + _MOST_ROWS)
        lines = np.minimum(frame.lines[part], _LAST_LINE).astype("<u4")
        body = name + frame.hashes[part].astype("<u8", copy=False).tobytes() + lines.tobytes()
        yield _HEAD.pack(crc32(body), len(lines), len(name)) + body
