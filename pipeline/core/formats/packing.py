"""Unpacks gzip, zstd, bzip2 and xz, block by block: archives of several members, with padding, of any size.

An archive that is cut off or damaged raises an error before its end is given: what was read of it is no export. One
that was cut exactly between two of its members cannot be told from a whole one: that is what such an archive is.
"""

import bz2
import lzma
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from isal.igzip_lib import IsalError

from pipeline.core.errors import InputError
from pipeline.core.formats.gzip_member import GZIP, GzipMember

try:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
except ImportError:
    # From Python 3.14 on.
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError  # type: ignore[import-not-found,no-redef]

#: Bytes of a block that is given, at most.
BLOCK_BYTES = 262_144
#: Bytes that a decompressor gets at once. What stands behind a member is copied for each member, so an archive of
#: thousands of empty ones would take long in larger pieces.
_SLICE_BYTES = 32_768
#: Bytes given for each byte taken, at most: of gzip, which can do 1,030, and of the others. Ours. Exports shrink to a
#: fifth or a fiftieth. Measured at the end of what is thinkable, for gzip, zstd, bzip2 and xz: rows of 200 cells, of
#: which two are not `0`, to 1/23, 1/23, 1/31, 1/22; with `0` in each cell and random ids, to 1/32, 1/37, 1/47, 1/31. No
#: export, but the most there is: with `0` in each cell and ids that count up, to 1/93, 1/234, 1/401, 1/890.
GZIP_INFLATION, MAX_INFLATION = 250, 500
#: Bytes given from which on that is judged.
JUDGED_FROM_BYTES = 67_108_864
#: Bytes given at most, of one archive. Ours: at 100 MB/s they would take three hours.
MAX_CONTENT_BYTES = 1_099_511_627_776
#: zstd: memory that may be needed to unpack, as a power of two. The library's own limit, 128 MiB: all that `zstd` packs
#: without `--long=28` or more.
WINDOW_LOG_MAX = 27
#: xz: memory that may be needed to unpack. Ours: `xz -9` needs 65 MiB.
XZ_MEMORY_BYTES = 134_217_728

#: What decompressors raise: `bz2` an OSError.
_FAULTS: tuple[type[Exception], ...] = (IsalError, ZstdError, lzma.LZMAError, OSError, ValueError)  # type: ignore[assignment]
_ADVICE = "make or transfer the export anew, and load it again"


class Stream(Protocol):
    """A decompressor of the standard library, or one that is like them: of one member, stream or frame."""

    @property
    def eof(self) -> bool:
        """True behind the last byte."""

    @property
    def needs_input(self) -> bool:
        """True if nothing more can be given of what was taken."""

    @property
    def unused_data(self) -> bytes:
        """The bytes behind the last one."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Some of the content."""


@dataclass(frozen=True, slots=True)
class Packing:
    """A way in which a file is packed.

    `name`: that of the format.
    `test`: the command that tests such an archive.
    `begin`: makes what unpacks a member, from its first byte on.
    `max_inflation`: the bytes that an archive may give for each of its own.
    """

    name: str
    test: str
    begin: Callable[[], Stream]
    max_inflation: int = MAX_INFLATION


def _zstd() -> Stream:
    return ZstdDecompressor(options={DecompressionParameter.window_log_max: WINDOW_LOG_MAX})


def _xz() -> Stream:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)


GZIPPED = Packing("gzip", "gzip -t", GzipMember, GZIP_INFLATION)
ZSTD = Packing("zstd", "zstd -t", _zstd)
BZIP2 = Packing("bzip2", "bzip2 -t", bz2.BZ2Decompressor)
XZ = Packing("xz", "xz -t", _xz)

#: The first bytes of each. A frame of zstd that is skipped may stand before others (as `pzstd` writes them).
_ZSTD, _XZ = b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"
_SKIPPED, _LEAST_SKIPPED, _MOST_SKIPPED = b"\x2a\x4d\x18", 0x50, 0x5F
#: bzip2: the size of its blocks follows, and the number with which a block or the end of a stream begins.
_BZIP2, _BZIP2_BLOCKS = b"BZh", (b"1AY&SY", b"\x17rE8P\x90")


def packing_of(head: bytes) -> Packing | None:
    """The way in which a file is packed, told by its first bytes; None if it is not."""
    if head.startswith(GZIP):
        return GZIPPED
    if head.startswith(_ZSTD) or (head[1:4] == _SKIPPED and _LEAST_SKIPPED <= head[0] <= _MOST_SKIPPED):
        return ZSTD
    if head.startswith(_BZIP2) and head[3:4] in b"123456789" and head[4:10] in _BZIP2_BLOCKS:
        return BZIP2
    if head.startswith(_XZ):
        return XZ
    return None


def head_of(blocks: Iterator[bytes], size_bytes: int) -> bytes:
    """The first bytes of what comes in blocks, `size_bytes` of them if there are as many."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= size_bytes:
            break
    return head[:size_bytes]


def beginning_of(packed: bytes, packing: Packing, size_bytes: int) -> bytes:
    """The first bytes of what is in the beginning of an archive, however little that is."""
    head = b""
    with suppress(InputError):
        for block in unpack(iter([packed]), packing):
            head += block
            if len(head) >= size_bytes:
                break
    return head[:size_bytes]


@dataclass(slots=True)
class Growth:
    """The bytes taken of an archive and given, of which there may not be too many.

    `archive`: how it is called.
    `max_inflation`: the bytes that may be given for each byte taken.
    `judged_from_bytes`: the bytes given from which on that counts.
    `advice`: for who means it all the same.
    """

    archive: str
    max_inflation: int = MAX_INFLATION
    judged_from_bytes: int = JUDGED_FROM_BYTES
    taken: int = 0
    given: int = 0
    advice: str = "unpack it, and load what was in it"

    def give(self, size_bytes: int) -> None:
        """Count what is given. Raises `InputError` (65) for too much of it."""
        self.given += size_bytes
        if self.given > max(self.judged_from_bytes, self.max_inflation * self.taken):
            raise InputError(
                f"{self.archive} grows to more than {self.max_inflation:,} times its size: that is no export. "
                f"If it is meant, {self.advice}."
            )
        if self.given > MAX_CONTENT_BYTES:
            raise InputError(
                f"{self.archive} holds more than {MAX_CONTENT_BYTES >> 40} TiB: write it as several exports."
            )


def unpack(
    blocks: Iterator[bytes], packing: Packing, *, archive: str = "", growth: Growth | None = None
) -> Iterator[bytes]:
    """The content of an archive, in blocks that are never empty and have at most `BLOCK_BYTES`.

    `blocks`: the bytes of the archive.
    `archive`: how it is called in errors.
    `growth`: counts what is taken and given, if that is not done for this archive alone.

    Raises `InputError` (65) for an archive that is cut off or damaged, needs too much memory, or grows too much.
    """
    archive = archive or f"the {packing.name} archive"
    growth = growth or Growth(archive, packing.max_inflation)
    members = _Members(packing, archive)
    for block in blocks:
        growth.taken += len(block)
        ready: list[bytes] = []
        size = 0
        for piece in members.feed(block):
            growth.give(len(piece))
            if size + len(piece) > BLOCK_BYTES:
                yield b"".join(ready)
                ready, size = [], 0
            ready.append(piece)
            size += len(piece)
        if ready:
            # Small pieces in one: each block that is given has its price.
            yield b"".join(ready)
    members.finish()


class _Members:
    """Unpacks the members of an archive, one after the other."""

    def __init__(self, packing: Packing, archive: str) -> None:
        self._packing = packing
        self._archive = archive
        self._stream: Stream | None = None
        self._taken = 0
        self._whole = 0

    def feed(self, block: bytes) -> Iterator[bytes]:
        """The content of these bytes, in pieces that are not empty."""
        for at in range(0, len(block), _SLICE_BYTES):
            packed = block[at : at + _SLICE_BYTES]
            self._taken += len(packed)
            while packed:
                if self._stream is None:
                    if self._whole and not (packed := packed.lstrip(b"\0")):
                        # Archives on tapes and in blobs are padded with zeros.
                        break
                    self._stream = self._packing.begin()
                yield from self._content(self._stream, packed)
                packed = b""
                if self._stream.eof:
                    packed, self._stream = self._stream.unused_data, None
                    self._whole += 1

    def finish(self) -> None:
        """Raises `InputError` (65) if a member is not at its end."""
        if self._stream is not None:
            raise InputError(
                f"{self._archive} is cut off behind its {self._taken:,} bytes: {_ADVICE} "
                f"(`{self._packing.test}` tests an archive)."
            )

    def _content(self, stream: Stream, packed: bytes) -> Iterator[bytes]:
        """All that this member gives of `packed`."""
        while True:
            try:
                piece = stream.decompress(packed, BLOCK_BYTES)
            except _FAULTS as error:
                raise self._fault(str(error)) from error
            if piece:
                yield piece
            if stream.eof or stream.needs_input:
                return
            packed = b""

    def _fault(self, text: str) -> InputError:
        if "memory" in text.lower():
            return InputError(
                f"{self._archive} needs more than 128 MiB of memory to be unpacked: "
                "pack it with a smaller window (zstd --long=27 at most) or dictionary (xz -9 at most)."
            )
        if "dictionary" in text.lower():
            return InputError(f"{self._archive} was packed with a dictionary of its own: pack it without one.")
        behind = ", or something else stands behind its end" if self._whole else ""
        return InputError(
            f"{self._archive} is damaged within its first {self._taken:,} bytes{behind}: {_ADVICE} "
            f"(`{self._packing.test}` tests an archive)."
        )
