"""Gathered runs: files of some rows of an export, by the first byte of the hash of their id.

Constraints: a run is written once, durably, from its beginning to its end, and never changed. What is asked of rows
most often, whether they say anything new, is answered without their texts: those lie apart, and are read only where
one is wanted. Nothing is believed that is not what was written.

Format, all numbers little endian:

    MAGIC
    records     of each row one `RECORD`; those of one partition together, in the order of the export
    texts       of the rows in the same order
    index       for each of the 256 partitions: its rows, the bytes of their texts, and the CRC-32 of both
    trailer     the CRC-32 of the index, MAGIC

Invariant: `FileFacts.checksum` is that of the index: with the facts of a file, another one is told from it.

All functions block. What is not as written raises `DamagedFileError`, with the reason; the disk raises `OSError`.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32

from pipeline.core.memory.texts import joined_texts
from pipeline.core.model import Hashes, Offsets, Rows
from pipeline.edges.durable import write_durably
from pipeline.edges.store.memory.sorted_file import PARTITIONS, DamagedFileError, FileFacts, opened, partition_of

#: A row: the hash of its id, its digest, its line, its bytes, and the bytes of its id.
RECORD = np.dtype([("hashes", "<u8"), ("digests", "<u8"), ("lines", "<i8"), ("sizes", "<u4"), ("id_lengths", "<u4")])
Records = npt.NDArray[Any]

_MAGIC = b"PPROWS1\n"
#: Of runs that were sorted files.
_OF_EARLIER_VERSION = b"PPSORT1\n"
_TRAILER = struct.Struct("<I8s")
#: Partitions whose texts are copied together: they are less than a megabyte, most often.
_PARTITIONS_AT_ONCE = 16
_INDEX = np.dtype([("rows", "<u8"), ("text_bytes", "<u8"), ("records_crc", "<u8"), ("text_crc", "<u8")])


def write_gathered(path: Path, rows: Rows, digests: Hashes) -> FileFacts:
    """Write a run of n rows, durably. `digests`: of each row (`digest_rows`); shape (n,).

    Raises `FatalError` (74) if the disk refuses, and leaves nothing behind then.
    """
    partitions = partition_of(rows.hashes).astype(np.uint8)
    order = np.argsort(partitions, kind="stable")
    bounds = np.append(0, np.cumsum(np.bincount(partitions, minlength=PARTITIONS)))
    records = np.empty(len(order), dtype=RECORD)
    records["hashes"], records["digests"] = rows.hashes[order], digests[order]
    records["lines"], records["id_lengths"] = rows.lines[order], rows.id_lengths[order]
    starts, ends = rows.starts[order], rows.ends[order]
    records["sizes"] = ends - starts
    text_bounds = np.append(0, np.cumsum(records["sizes"], dtype=np.int64))[bounds]
    index = np.zeros(PARTITIONS, dtype=_INDEX)
    index["rows"], index["text_bytes"] = np.diff(bounds), np.diff(text_bounds)

    def pieces() -> Iterator[bytes | memoryview]:
        yield _MAGIC
        octets = records.view(np.uint8).data
        yield octets
        index["records_crc"] = [*_checksums(octets, (bounds * RECORD.itemsize).tolist())]
        for first in range(0, PARTITIONS, _PARTITIONS_AT_ONCE):
            stop = first + _PARTITIONS_AT_ONCE
            some, texts = slice(bounds[first], bounds[stop]), slice(first, stop)
            text = joined_texts(rows.body, starts[some], ends[some])
            begins = text_bounds[first : stop + 1] - text_bounds[first]
            index["text_crc"][texts] = [*_checksums(memoryview(text), begins.tolist())]
            yield text
        yield index.tobytes()
        yield _TRAILER.pack(crc32(index.tobytes()), _MAGIC)

    write_durably(path, pieces())
    size_bytes = 2 * len(_MAGIC) + 4 + records.nbytes + index.nbytes + int(index["text_bytes"].sum())
    return FileFacts(len(order), size_bytes, _checksum(index.tobytes()))


class GatheredRun:
    """A run that is read. Nothing stays open between two calls.

    `rows`: by partition the number of rows in it; shape (256,). `text_bytes`: the bytes of their texts; shape (256,).
    """

    def __init__(self, path: Path, index: Records) -> None:
        self.path = path
        self.rows: Offsets = index["rows"].astype(np.int64)
        self.text_bytes: Offsets = index["text_bytes"].astype(np.int64)
        # Hundreds of runs are open at once, so what is known of them stays in arrays.
        self._records_crc, self._text_crc = index["records_crc"], index["text_crc"]
        self._records_begin = len(_MAGIC) + RECORD.itemsize * np.append(0, np.cumsum(self.rows))
        self._text_begin = self._records_begin[-1] + np.append(0, np.cumsum(self.text_bytes))

    @classmethod
    def open(cls, path: Path, facts: FileFacts) -> Self:
        """A run that was written; its index is checked."""
        length = PARTITIONS * _INDEX.itemsize
        with opened(path) as descriptor:
            found = os.fstat(descriptor).st_size
            if found != facts.size_bytes:
                raise DamagedFileError(f"{path.name} has {found:,} bytes, not {facts.size_bytes:,}")
            begin = os.pread(descriptor, len(_MAGIC), 0)
            if begin == _OF_EARLIER_VERSION:
                raise DamagedFileError(f"{path.name} was written by an earlier version")
            octets = os.pread(descriptor, length + _TRAILER.size, max(0, found - length - _TRAILER.size))
        index, (checksum, magic) = octets[:length], _TRAILER.unpack(octets[length:].rjust(_TRAILER.size))
        if magic != _MAGIC or begin != _MAGIC or crc32(index) != checksum:
            raise DamagedFileError(f"{path.name} is no such file, or its end is damaged")
        if _checksum(index) != facts.checksum:
            raise DamagedFileError(f"{path.name} is another file than was written")
        return cls(path, np.frombuffer(index, dtype=_INDEX))

    def hashes(self, partition: int) -> Hashes:
        """The hashes of the ids of a partition, in the order of the export."""
        records = np.empty(int(self.rows[partition]), dtype=RECORD)
        self.read_records(partition, partition + 1, records.view(np.uint8).data)
        hashes: Hashes = records["hashes"]
        return hashes

    def read_records(self, first: int, stop: int, into: memoryview) -> None:
        """Read the records of the partitions from `first` to `stop` into a buffer of their size."""
        self._read(self._records_begin[first : stop + 1], self._records_crc[first:stop], first, into)

    def read_texts(self, first: int, stop: int, into: memoryview) -> None:
        """Read the texts of the partitions from `first` to `stop` into a buffer of their size."""
        self._read(self._text_begin[first : stop + 1], self._text_crc[first:stop], first, into)

    def _read(self, bounds: Offsets, checksums: Hashes, first: int, into: memoryview) -> None:
        """Read partitions, and check each. `bounds`: where each begins in the file, and where the last ends."""
        begins = bounds.tolist()
        with opened(self.path) as descriptor:
            count = os.preadv(descriptor, [into], begins[0])
        for place, checksum in enumerate(checksums.tolist()):
            of_partition = into[:count][begins[place] - begins[0] : begins[place + 1] - begins[0]]
            if len(of_partition) < begins[place + 1] - begins[place] or crc32(of_partition) != checksum:
                raise DamagedFileError(f"{self.path.name} is damaged in partition {first + place}")


def _checksums(octets: memoryview, bounds: list[int]) -> Iterator[int]:
    """The CRC-32 of each part."""
    return (crc32(octets[begin:end]) for begin, end in pairwise(bounds))


def _checksum(index: bytes) -> str:
    return hashlib.sha256(index).hexdigest()
