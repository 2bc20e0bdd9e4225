"""Sorted files: rows in the order of their keys, in columns, in slices that are read one by one.

Constraints: a file is written once, durably, from beginning to end, and never changed. Reading one slice costs one read
of its columns, and of so much of its text as is wanted. Nothing is believed that is not what was written.

Format, all numbers little endian:

    MAGIC
    slices, each    columns | checksums of the text's blocks | text
    footer          JSON: names and kinds of the columns, notes, an index of the slices
    trailer         CRC-32 and length of the footer, MAGIC

A slice has the rows whose keys begin with one byte, its number; one without rows is not there. A column is written in
as few bytes a row as its values need above the least of them, so one that has a single value takes none. The index has
for each slice its number, offset, rows, bytes of columns and of text, the CRC-32 of the columns and of the checksums,
and for each column the bytes a row and the least value. The text has a CRC-32 for each block of `BLOCK_BYTES`, so that
a single row can be read and checked.

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
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
from isal.isal_zlib import crc32

from pipeline.core.memory.texts import joined_texts
from pipeline.core.model import Hashes, Offsets, Wholes
from pipeline.edges.durable import write_durably

Column = npt.NDArray[Any]

PARTITIONS = 256
BLOCK_BYTES = 4_096
_MAGIC = b"PPSORT1\n"
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
class Texts:
    """The texts of n rows, wherever they lie: that of row i is `body[starts[i]:ends[i]]`."""

    body: bytes | memoryview
    starts: Offsets
    ends: Offsets

    def of(self, some: slice) -> "Texts":
        """Those of some rows."""
        return Texts(self.body, self.starts[some], self.ends[some])


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """The n rows of a file whose keys begin with one byte, sorted by key.

    `columns`: by name, each of shape (n,).
    `ends`: the end of each row's text in the text of the slice; None if the file has no texts.
    `block_checksums`: those of the text's blocks.
    """

    keys: Hashes
    columns: Mapping[str, Column]
    ends: Offsets | None = None
    block_checksums: Wholes | None = None

    def __len__(self) -> int:
        return len(self.keys)


class _Stored(NamedTuple):
    """A slice, as the index has it. `columns`: bytes a row and least value of each."""

    partition: int
    offset: int
    rows: int
    columns_bytes: int
    text_bytes: int
    checksum: int
    columns: list[list[int]]


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
        for partition, part, texts in slices:
            if len(part):
                yield from self._slice(partition, part, texts)
        index = [list(stored) for stored in self.index]
        kinds = {_KEYS: "<u8", **self.kinds, **({_SIZES: "<u4"} if self.has_texts else {})}
        footer = orjson.dumps({"columns": kinds, "has_texts": self.has_texts, "notes": self.notes, "index": index})
        self.checksum = hashlib.sha256(footer).hexdigest()
        yield self._counted(footer)
        yield self._counted(_TRAILER.pack(crc32(footer), len(footer), _MAGIC))

    def _slice(self, partition: int, part: Slice, texts: Texts | None) -> Iterator[bytes]:
        columns = {_KEYS: part.keys, **{name: part.columns[name] for name in self.kinds}}
        text = b""
        if texts is not None:
            text = joined_texts(texts.body, texts.starts, texts.ends)
            columns[_SIZES] = (texts.ends - texts.starts).astype(np.uint32)
        packed = [_packed(column, is_sorted=name == _KEYS) for name, column in columns.items()]
        encoded = b"".join([*(octets for octets, _, _ in packed), _block_checksums(text)])
        widths = [[width, least] for _, width, least in packed]
        self.index.append(
            _Stored(partition, self.size_bytes, len(part), len(encoded), len(text), crc32(encoded), widths)
        )
        self.rows += len(part)
        yield self._counted(encoded)
        yield self._counted(text)

    def _counted(self, piece: bytes) -> bytes:
        self.size_bytes += len(piece)
        return piece


class SortedFile:
    """A file that is read slice by slice; nothing of it is kept open."""

    def __init__(self, path: Path, facts: FileFacts, footer: Mapping[str, Any]) -> None:
        self.path = path
        self.facts = facts
        self.notes: Mapping[str, Any] = footer["notes"]
        self._kinds: dict[str, str] = footer["columns"]
        self._has_texts: bool = footer["has_texts"]
        index: list[list[Any]] = footer["index"]
        # Hundreds of files are open at once, so what is known of their slices is one array each.
        self._index = np.array([[*each[:-1], *chain.from_iterable(each[-1])] for each in index], dtype=np.uint64)
        self._places = {int(each[0]): place for place, each in enumerate(index)}
        #: By number of a slice the number of its rows; slices without rows are not there.
        self.partitions: Mapping[int, int] = {int(each[0]): int(each[2]) for each in index}

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
            if magic != _MAGIC or start < len(_MAGIC) or os.pread(file.fileno(), len(_MAGIC), 0) != _MAGIC:
                raise DamagedFileError(f"{path.name} is no such file, or its end is damaged")
            footer = os.pread(file.fileno(), length, start)
        if crc32(footer) != checksum:
            raise DamagedFileError(f"{path.name} is damaged at its end")
        if hashlib.sha256(footer).hexdigest() != facts.checksum:
            raise DamagedFileError(f"{path.name} is another file than was written, an older one perhaps")
        return cls(path, facts, orjson.loads(footer))

    def least(self, column: str) -> dict[int, int]:
        """By number of a slice the least value of a column in it; nothing is read for it."""
        place = list(self._kinds).index(column)
        return {partition: self._stored(partition).columns[place][1] for partition in self._places}

    def rows_of(self, partition: int) -> Slice:
        """The rows of a slice, without their texts. Raises `DamagedFileError`, or `OSError`."""
        if partition not in self._places:
            columns = {name: np.zeros(0, dtype=kind) for name, kind in self._kinds.items() if name != _KEYS}
            ends = columns.pop(_SIZES, None)
            empty = np.zeros(0, dtype=np.uint64)
            return Slice(empty, columns, None if ends is None else ends.astype(np.int64))
        stored = self._stored(partition)
        columns, checksums = self._columns(stored)
        keys, sizes = columns.pop(_KEYS), columns.pop(_SIZES, None)
        return Slice(keys, columns, None if sizes is None else np.cumsum(sizes, dtype=np.int64), checksums)

    def text_of(self, partition: int, rows: Slice | None = None) -> bytes:
        """All texts of a slice, one behind the other. `rows`: the slice, if it was read already."""
        if partition not in self._places:
            return b""
        return self._text(self._stored(partition), _checksums_in(rows or self.rows_of(partition)))

    def texts(self, partition: int, rows: Slice, indexes: Offsets) -> bytes:
        """The texts of some rows of a slice that was read, one behind the other; `indexes` ascend.

        Little more of the file is read than they need, and only blocks that they are in are checked.
        """
        if not len(indexes) or rows.ends is None:
            return b""
        stored, checksums = self._stored(partition), _checksums_in(rows)
        starts, ends = np.append(0, rows.ends)[indexes], rows.ends[indexes]
        breaks = np.flatnonzero(starts[1:] - ends[:-1] > _GAP_BYTES) + 1
        pieces = []
        with _opened(self.path) as descriptor:
            for first, last in pairwise([0, *breaks.tolist(), len(starts)]):
                some = slice(first, last)
                begin, end = int(starts[first]) // BLOCK_BYTES * BLOCK_BYTES, int(ends[last - 1])
                octets = self._read(stored, begin, end, descriptor)
                self._check_blocks(stored, checksums, octets, begin, _blocks_of(starts[some], ends[some]))
                pieces.append(joined_texts(octets, starts[some] - begin, ends[some] - begin))
        return b"".join(pieces)

    def _stored(self, partition: int) -> _Stored:
        """The entry of a slice, which is there, in the index."""
        number, offset, rows, columns_bytes, text_bytes, checksum, *columns = self._index[
            self._places[partition]
        ].tolist()
        of_each = [columns[place : place + 2] for place in range(0, len(columns), 2)]
        return _Stored(number, offset, rows, columns_bytes, text_bytes, checksum, of_each)

    def _columns(self, stored: _Stored) -> tuple[dict[str, Column], Wholes]:
        """The columns of a slice by name, and the checksums of its text's blocks."""
        with _opened(self.path) as descriptor:
            octets = os.pread(descriptor, stored.columns_bytes, stored.offset)
        if len(octets) != stored.columns_bytes or crc32(octets) != stored.checksum:
            raise DamagedFileError(f"{self.path.name} is damaged in slice {stored.partition}")
        columns, place = {}, 0
        for (name, kind), (width, least) in zip(self._kinds.items(), stored.columns, strict=True):
            columns[name] = _unpacked(octets, place, stored.rows, kind, width, least)
            place += width * stored.rows
        return columns, np.frombuffer(octets, dtype="<u4", offset=place)

    def _text(self, stored: _Stored, checksums: Wholes) -> bytes:
        """The whole text of a slice, whose blocks are checked."""
        with _opened(self.path) as descriptor:
            octets = self._read(stored, 0, stored.text_bytes, descriptor)
        if _block_checksums(octets) != checksums.tobytes():
            raise self._damaged_text(stored)
        return octets

    def _read(self, stored: _Stored, begin: int, end: int, descriptor: int) -> bytes:
        """The bytes of a slice's text from `begin`, where a block begins, to the end of the block before `end`."""
        stop = min(-(-end // BLOCK_BYTES) * BLOCK_BYTES, stored.text_bytes)
        octets = os.pread(descriptor, stop - begin, stored.offset + stored.columns_bytes + begin)
        if len(octets) != stop - begin:
            raise self._damaged_text(stored)
        return octets

    def _check_blocks(self, stored: _Stored, checksums: Wholes, octets: bytes, begin: int, blocks: Offsets) -> None:
        """Check some blocks of a slice's text. `octets`: those that were read, from `begin` on."""
        view = memoryview(octets)
        firsts = blocks * BLOCK_BYTES - begin
        sums = [crc32(view[first : first + BLOCK_BYTES]) for first in firsts.tolist()]
        if (np.array(sums, dtype="<u4") != checksums[blocks]).any():
            raise self._damaged_text(stored)

    def _damaged_text(self, stored: _Stored) -> DamagedFileError:
        return DamagedFileError(f"{self.path.name} is damaged in the text of slice {stored.partition}")


def _blocks_of(starts: Offsets, ends: Offsets) -> Offsets:
    """The numbers of the blocks in which texts are that come one behind the other, ascending."""
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
def _opened(path: Path) -> Iterator[int]:
    """The descriptor of a file that is read; `Path.open` takes as long as to read a small slice."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _checksums_in(rows: Slice) -> Wholes:
    if rows.block_checksums is None:
        raise ValueError("the rows are of no slice that was read")
    return rows.block_checksums


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


def _unpacked(octets: bytes, place: int, rows: int, kind: str, width: int, least: int) -> Column:
    """The column that `_packed` made these bytes of."""
    if not width:
        return np.full(rows, least, dtype=kind)
    column: Column = np.frombuffer(octets, dtype=f"<u{width}", count=rows, offset=place).astype(kind, copy=False)
    return column + np.dtype(kind).type(least) if least else column


def _block_checksums(text: bytes) -> bytes:
    view = memoryview(text)
    sums = [crc32(view[start : start + BLOCK_BYTES]) for start in range(0, len(text), BLOCK_BYTES)]
    return np.array(sums, dtype="<u4").tobytes()
