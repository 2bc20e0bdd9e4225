"""Sorted files: rows in the order of their keys, in columns, in slices that are read one by one.

Constraints: a file is written once, durably, from beginning to end, and never changed. Reading one slice costs one read
of its columns, and of so much of its text as is wanted. Nothing is believed that is not what was written.

Format, all numbers little endian:

    MAGIC
    slices, each    text | columns | checksums of the text's blocks
    footer          JSON: names and kinds of the columns, notes, an index of the slices
    trailer         CRC-32 and length of the footer, MAGIC

A slice has the rows whose keys begin with one byte, its number; one without rows is not there. A column is written in
as few bytes a row as its values need above the least of them, so one that has a single value takes none. The index has
for each slice its number, the offset of its columns, rows, bytes of columns and of text, the CRC-32 of the columns and
of the checksums, and for each column the bytes a row and the least value. The text has a CRC-32 for each block of
`BLOCK_BYTES`, so that a single row can be read and checked.

Invariant: `FileFacts.checksum` is that of the footer, and so of all checksums in it: with the facts of a file that
somebody else keeps, an older file under the same name is told, and so is each byte that differs.

All functions block. What is not as written raises `DamagedFileError`, with the reason; the disk raises `OSError`.
"""

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
from isal.isal_zlib import crc32

from pipeline.core.memory.texts import TextList, Texts
from pipeline.core.model import Hashes, Offsets, Wholes
from pipeline.edges.durable import write_durably

Column = npt.NDArray[Any]

PARTITIONS = 256
BLOCK_BYTES = 4_096
_MAGIC = b"PPSORT2\n"
#: Of files in which the text of a slice is behind its columns.
_TEXT_BEHIND = b"PPSORT1\n"
_TRAILER = struct.Struct("<IQ8s")
_KEYS, _SIZES = "keys", "sizes"
#: A key's first byte is the number of its slice.
_PARTITION_SHIFT = np.uint64(56)
#: Rows whose text is read are read together with what lies between them, if that is no more than this: to copy it takes
#: no longer than another call.
_GAP_BYTES = 24_576


class DamagedFileError(ValueError):
    """A file is not what was written; the message says in what."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """The facts of a file that somebody else has to keep. `checksum`: the SHA-256 of its footer, in hexadecimal."""

    rows: int
    size_bytes: int
    checksum: str


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """n rows whose keys begin with one byte, sorted by key. `columns`: by name, each of shape (n,)."""

    keys: Hashes
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True, eq=False)
class PackedColumn:
    """A column of a slice as a file has it: `kind` is its numpy type, each value is `least` and one of `above`."""

    kind: str
    least: int
    above: Column

    @classmethod
    def of(cls, octets: memoryview, place: int, rows: int, kind: str, width: int, least: int) -> "PackedColumn":
        """That which `_packed` made these bytes of, from `place` on."""
        if not width:
            # One value for all of them, which takes no memory.
            return cls(kind, least, np.broadcast_to(np.zeros(1, dtype=kind), rows))
        return cls(kind, least, np.frombuffer(octets, dtype=f"<u{width}", count=rows, offset=place))

    def at(self, rows: Offsets | slice) -> Column:
        """The values of some rows."""
        column: Column = self.above[rows].astype(self.kind, copy=False)
        return column + np.dtype(self.kind).type(self.least) if self.least else column


_ALL = slice(None)


@dataclass(frozen=True, slots=True, eq=False)
class ReadSlice:
    """The n rows of a slice that was read, without their texts. What is not asked for is not unpacked.

    `packed`: the columns by name. `sizes`: of the texts, if the file has any; `block_checksums`: of the text's blocks.
    `size_bytes`: what was read of it.
    """

    keys: Hashes
    packed: Mapping[str, PackedColumn]
    sizes: PackedColumn | None
    block_checksums: Wholes
    size_bytes: int

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns by name, each of shape (n,)."""
        return {name: column.at(_ALL) for name, column in self.packed.items()}

    def places_of(self, indexes: Offsets) -> tuple[Offsets, Offsets]:
        """Where the texts of some rows begin and end in the text of the slice.

        `indexes`: of the rows, ascending, none twice, at least one.
        """
        if self.sizes is None:
            raise ValueError("the file has no texts")
        # Added up from one to the next: a sum for each row would take more memory than the slice.
        places = np.append(0, indexes) if indexes[0] else indexes
        above = np.add.reduceat(self.sizes.above[: int(indexes[-1])], places[:-1], dtype=np.int64)
        starts = np.append(0, np.cumsum(above))[-len(indexes) :] + indexes * self.sizes.least
        return starts, starts + self.sizes.at(indexes)

    def taken(self, indexes: Offsets | slice) -> Slice:
        """Some of the rows."""
        return Slice(self.keys[indexes], {name: column.at(indexes) for name, column in self.packed.items()})


class _Stored(NamedTuple):
    """A slice, as the index has it. `columns`: bytes a row and least value of each."""

    partition: int
    offset: int
    rows: int
    columns_bytes: int
    text_bytes: int
    checksum: int
    columns: list[list[int]]


#: Where the index has those.
_NUMBER, _ROWS, _COLUMNS = (_Stored._fields.index(each) for each in ("partition", "rows", "columns"))


def partition_of(keys: Hashes) -> npt.NDArray[np.int64]:
    """The number of the slice of each key; shape (n,)."""
    return (keys >> _PARTITION_SHIFT).astype(np.int64)


def bounds_of(keys: Hashes) -> Offsets:
    """Where each slice begins in sorted keys, and behind them where the last one ends; shape (257,)."""
    firsts = np.arange(PARTITIONS, dtype=np.uint64) << _PARTITION_SHIFT
    return np.append(np.searchsorted(keys, firsts), len(keys)).astype(np.int64)


def write_sorted(
    path: Path,
    keys: Hashes,
    columns: Mapping[str, Column],
    texts: Texts | None = None,
    *,
    notes: Mapping[str, Any] | None = None,
) -> FileFacts:
    """Write rows that are sorted by key, durably; see `write_slices`."""
    bounds = bounds_of(keys).tolist()

    def slices() -> Iterator[tuple[int, Slice, Texts | None]]:
        for partition in range(PARTITIONS):
            some = slice(bounds[partition], bounds[partition + 1])
            part = Slice(keys[some], {name: column[some] for name, column in columns.items()})
            yield partition, part, texts.of(some) if texts else None

    kinds = {name: column.dtype.str for name, column in columns.items()}
    return write_slices(path, kinds, slices(), has_texts=texts is not None, notes=notes)


def write_slices(
    path: Path,
    kinds: Mapping[str, str],
    slices: Iterable[tuple[int, Slice, Texts | None]],
    *,
    has_texts: bool,
    notes: Mapping[str, Any] | None = None,
) -> FileFacts:
    """Write slices in the order of their numbers, durably; return what to keep of the file.

    A slice may come in parts, one behind the other, so that not all of its texts are in memory at once: the next is
    asked for when those of the one before are written.
    `kinds`: the numpy type of each column, whole numbers without sign, by name.
    `notes`: anything that JSON can hold; the file keeps it.

    Raises `FatalError` (74) if the disk refuses, and leaves nothing behind then.
    """
    written = _Written(kinds, has_texts=has_texts, notes=dict(notes or {}))
    write_durably(path, written.pieces(slices))
    return FileFacts(written.rows, written.size_bytes, written.checksum)


@dataclass(slots=True)
class _Written:
    """A file while it is written."""

    kinds: Mapping[str, str]
    has_texts: bool
    notes: dict[str, Any]
    rows: int = 0
    size_bytes: int = 0
    checksum: str = ""
    index: list[_Stored] = field(default_factory=list)

    def pieces(self, slices: Iterable[tuple[int, Slice, Texts | None]]) -> Iterator[bytes | memoryview]:
        yield self._counted(_MAGIC)
        for partition, parts in groupby(slices, key=itemgetter(0)):
            yield from self._slice(partition, ((part, texts) for _, part, texts in parts))
        index = [list(stored) for stored in self.index]
        kinds = {_KEYS: "<u8", **self.kinds, **({_SIZES: "<u4"} if self.has_texts else {})}
        footer = orjson.dumps({"columns": kinds, "has_texts": self.has_texts, "notes": self.notes, "index": index})
        self.checksum = hashlib.sha256(footer).hexdigest()
        yield self._counted(footer)
        yield self._counted(_TRAILER.pack(crc32(footer), len(footer), _MAGIC))

    def _slice(self, partition: int, parts: Iterable[tuple[Slice, Texts | None]]) -> Iterator[bytes]:
        columns: dict[str, list[Column]] = {name: [] for name in (_KEYS, *self.kinds)}
        sizes, begin, blocks = list[Column](), self.size_bytes, _BlockChecksums()
        for part, texts in parts:
            columns[_KEYS].append(part.keys)
            for name in self.kinds:
                columns[name].append(part.columns[name])
            if texts is not None:
                sizes.append((texts.ends - texts.starts).astype(np.uint32))
                # A piece at a time: a text may be large.
                for piece in texts.pieces():
                    blocks.add(piece)
                    yield self._counted(piece)
        rows = sum(map(len, columns[_KEYS]))
        if not rows:
            return
        offset, checksum, widths = self.size_bytes, 0, list[list[int]]()
        for name, of_parts in [*columns.items(), *([(_SIZES, sizes)] if sizes else [])]:
            octets, width, least = _packed(np.concatenate(of_parts), is_sorted=name == _KEYS)
            of_parts.clear()
            widths.append([width, least])
            checksum = crc32(octets, checksum)
            yield self._counted(octets)
        checksums = blocks.taken()
        yield self._counted(checksums)
        size_bytes, checksum = self.size_bytes - offset, crc32(checksums, checksum)
        self.index.append(_Stored(partition, offset, rows, size_bytes, offset - begin, checksum, widths))
        self.rows += rows

    def _counted(self, piece: bytes) -> bytes:
        self.size_bytes += len(piece)
        return piece


class SortedFile:
    """A file that is read slice by slice; nothing of it is kept open."""

    def __init__(self, path: Path, facts: FileFacts, footer: Mapping[str, Any], *, is_text_behind: bool) -> None:
        self.path = path
        self.facts = facts
        self._is_text_behind = is_text_behind
        self.notes: Mapping[str, Any] = footer["notes"]
        self._kinds: dict[str, str] = footer["columns"]
        self._has_texts: bool = footer["has_texts"]
        index: list[list[Any]] = footer["index"]
        # Hundreds of files are open at once, so what is known of their slices is one array each.
        entries = [[*each[:-1], *chain.from_iterable(each[-1])] for each in index]
        width = len(_Stored._fields) - 1 + 2 * len(self._kinds)
        self._index = np.array(entries, dtype=np.uint64).reshape(len(index), width)
        #: By number of a slice its place in the index, -1 if it has no rows.
        self._places = np.full(PARTITIONS, -1, dtype=np.int16)
        self._places[[each[0] for each in index]] = range(len(index))

    @classmethod
    def open(cls, path: Path, facts: FileFacts) -> "SortedFile":
        """A file with these facts; its footer is read and checked. Raises `DamagedFileError`, or `OSError`."""
        with path.open("rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != facts.size_bytes:
                raise DamagedFileError(f"{path.name} has {found:,} bytes and was written with {facts.size_bytes:,}")
            trailer = os.pread(file.fileno(), _TRAILER.size, max(0, found - _TRAILER.size))
            if len(trailer) < _TRAILER.size:
                raise DamagedFileError(f"{path.name} is cut off")
            checksum, length, magic = _TRAILER.unpack(trailer)
            start = found - _TRAILER.size - length
            begin = os.pread(file.fileno(), len(_MAGIC), 0)
            if magic not in (_MAGIC, _TEXT_BEHIND) or start < len(_MAGIC) or begin != magic:
                raise DamagedFileError(f"{path.name} is no such file, or its end is damaged")
            footer = os.pread(file.fileno(), length, start)
        if crc32(footer) != checksum:
            raise DamagedFileError(f"{path.name} is damaged at its end")
        if hashlib.sha256(footer).hexdigest() != facts.checksum:
            raise DamagedFileError(f"{path.name} is another file than was written, an older one perhaps")
        return cls(path, facts, orjson.loads(footer), is_text_behind=magic == _TEXT_BEHIND)

    def has_rows(self, partition: int) -> bool:
        """True if there is any row in a slice."""
        return bool(self._places[partition] >= 0)

    @property
    def partitions(self) -> dict[int, int]:
        """By number of a slice the number of its rows; slices without rows are not there."""
        return dict(self._index[:, [_NUMBER, _ROWS]].tolist())

    def rows_in(self, partition: int) -> int:
        """The number of rows of a slice."""
        return int(self._index[self._places[partition], _ROWS]) if self.has_rows(partition) else 0

    def least_in(self, partition: int, column: str) -> int:
        """The least value of a column of a slice that has rows; nothing is read for it."""
        least = _COLUMNS + 2 * list(self._kinds).index(column) + 1
        return int(self._index[self._places[partition], least])

    def size_of(self, partition: int) -> int:
        """The bytes of a slice without its texts, as they are read."""
        return self._stored(partition).columns_bytes if self.has_rows(partition) else 0

    def rows_of(self, partition: int, into: memoryview | None = None) -> ReadSlice:
        """The rows of a slice, without their texts. Raises `DamagedFileError`, or `OSError`.

        `into`: where it lies then, `size_of` bytes; if None, in memory of its own.
        """
        octets, place, columns = memoryview(b""), 0, dict[str, PackedColumn]()
        stored = _Stored(partition, 0, 0, 0, 0, 0, [[0, 0]] * len(self._kinds))
        if self.has_rows(partition):
            stored = self._stored(partition)
            octets = self._columns(stored, memoryview(bytearray(stored.columns_bytes)) if into is None else into)
        for (name, kind), (width, least) in zip(self._kinds.items(), stored.columns, strict=True):
            columns[name] = PackedColumn.of(octets, place, stored.rows, kind, width, least)
            place += width * stored.rows
        keys, sizes = columns.pop(_KEYS).at(_ALL), columns.pop(_SIZES, None)
        checksums = np.frombuffer(octets, dtype="<u4", offset=place)
        return ReadSlice(keys, columns, sizes, checksums, len(octets))

    def texts(self, partition: int, rows: ReadSlice, indexes: Offsets) -> bytes:
        """The texts of some rows of a slice that was read, one behind the other; `indexes` ascend.

        Little more of the file is read than they need, and only blocks that they are in are checked.
        """
        if not len(indexes) or rows.sizes is None:
            return b""
        stored, checksums = self._stored(partition), rows.block_checksums
        starts, ends = rows.places_of(indexes)
        firsts = np.append(0, np.flatnonzero(starts[1:] - ends[:-1] > _GAP_BYTES) + 1)
        lasts = np.append(firsts[1:], len(starts)) - 1
        begins = starts[firsts] // BLOCK_BYTES * BLOCK_BYTES
        stops = np.minimum(-(-ends[lasts] // BLOCK_BYTES) * BLOCK_BYTES, stored.text_bytes)
        blocks = _blocks_of(starts, ends)
        # Those between two parts are not read. The last block of a text is rarely a whole one.
        of_parts = [np.searchsorted(blocks, -(-bounds // BLOCK_BYTES)).tolist() for bounds in (begins, stops)]
        pieces = []
        with opened(self.path) as descriptor:
            for begin, stop, first, last in zip(begins.tolist(), stops.tolist(), *of_parts, strict=True):
                octets = self._read(stored, begin, stop, descriptor)
                self._check_blocks(stored, checksums, octets, begin, blocks[first:last])
                pieces.append(octets)
        texts = TextList.of(pieces)
        moved = np.repeat(texts.begins[:-1] - begins, lasts + 1 - firsts)
        return texts.joined(starts + moved, ends + moved)

    def _stored(self, partition: int) -> _Stored:
        """The entry of a slice, which is there, in the index."""
        number, offset, rows, columns_bytes, text_bytes, checksum, *columns = self._index[
            self._places[partition]
        ].tolist()
        of_each = [columns[place : place + 2] for place in range(0, len(columns), 2)]
        return _Stored(number, offset, rows, columns_bytes, text_bytes, checksum, of_each)

    def _columns(self, stored: _Stored, into: memoryview) -> memoryview:
        """The packed columns of a slice, and behind them the checksums of its text's blocks."""
        with opened(self.path) as descriptor:
            count = os.preadv(descriptor, [into], stored.offset)
        if count != stored.columns_bytes or crc32(into) != stored.checksum:
            raise DamagedFileError(f"{self.path.name} is damaged in slice {stored.partition}")
        return into.toreadonly()

    def _read(self, stored: _Stored, begin: int, stop: int, descriptor: int) -> bytes:
        """The bytes of a slice's text from `begin` to `stop`."""
        text = stored.offset + (stored.columns_bytes if self._is_text_behind else -stored.text_bytes)
        octets = os.pread(descriptor, stop - begin, text + begin)
        if len(octets) != stop - begin:
            raise self._damaged_text(stored)
        return octets

    def _check_blocks(self, stored: _Stored, checksums: Wholes, octets: bytes, begin: int, blocks: Offsets) -> None:
        """Check some blocks of a slice's text. `octets`: those that were read, from `begin` on."""
        view = memoryview(octets)
        for block, checksum in zip((blocks * BLOCK_BYTES - begin).tolist(), checksums[blocks].tolist(), strict=True):
            if crc32(view[block : block + BLOCK_BYTES]) != checksum:
                raise self._damaged_text(stored)

    def _damaged_text(self, stored: _Stored) -> DamagedFileError:
        return DamagedFileError(f"{self.path.name} is damaged in the text of slice {stored.partition}")


def _blocks_of(starts: Offsets, ends: Offsets) -> Offsets:
    """The numbers of the blocks in which texts are that come one behind the other, ascending; and some between them."""
    some = np.flatnonzero(ends > starts)
    firsts, lasts = starts[some] // BLOCK_BYTES, (ends[some] - 1) // BLOCK_BYTES
    if (lasts - firsts > 1).any():
        return np.arange(int(firsts[0]), int(lasts[-1]) + 1)
    blocks = np.sort(np.concatenate([firsts, lasts]))
    is_new = np.ones(len(blocks), dtype=np.bool_)
    is_new[1:] = blocks[1:] != blocks[:-1]
    only: Offsets = blocks[is_new]
    return only


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """The descriptor of a file that is read; `Path.open` takes as long as to read a small slice."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _packed(column: Column, *, is_sorted: bool) -> tuple[bytes, int, int]:
    """A column in as few bytes a row as its values need: the bytes, how many a row, and the least value."""
    least = int(column[0] if is_sorted else column.min())
    most = int(column[-1] if is_sorted else column.max()) - least
    width = next(width for width in (0, 1, 2, 4, 8) if most < 1 << (8 * width))
    if not width:
        return b"", 0, least
    if width == column.dtype.itemsize:
        return column.astype(f"<u{width}", copy=False).tobytes(), width, 0
    return (column - column.dtype.type(least)).astype(f"<u{width}").tobytes(), width, least


class _BlockChecksums:
    """The CRC-32 of each block of a text that comes in pieces."""

    def __init__(self) -> None:
        self._whole: list[int] = []
        self._of_last = self._in_last = 0

    def add(self, piece: bytes | memoryview) -> None:
        """Add the next piece."""
        left = memoryview(piece)
        while left:
            part, left = left[: BLOCK_BYTES - self._in_last], left[BLOCK_BYTES - self._in_last :]
            self._of_last, self._in_last = crc32(part, self._of_last), self._in_last + len(part)
            if self._in_last == BLOCK_BYTES:
                self._whole.append(self._of_last)
                self._of_last = self._in_last = 0

    def taken(self) -> bytes:
        """Those of the text, the last of which may be a part of a block."""
        return np.array([*self._whole, *([self._of_last] if self._in_last else [])], dtype="<u4").tobytes()
