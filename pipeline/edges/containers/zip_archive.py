"""The members of a zip archive: which are parts of an export, and what is in them.

The directory at the end of the archive says where they are; `zipfile` reads it, and nothing else. What it says is
checked before anything is read by it, and again while that is unpacked: no member lies in another, none holds more than
is said, and each has its checksum. Nothing is ever written under a name of a member.
"""

import lzma
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from zipfile import BadZipFile, ZipFile, ZipInfo

from isal.igzip_lib import DECOMP_DEFLATE, IgzipDecompressor

from pipeline.core.drop.signals import is_ignored, shown
from pipeline.core.errors import InputError
from pipeline.core.formats.file_kind import document_refusal
from pipeline.core.formats.packing import (
    BLOCK_BYTES,
    BZIP2,
    GZIP_INFLATION,
    JUDGED_FROM_BYTES,
    MAX_CONTENT_BYTES,
    MAX_INFLATION,
    XZ,
    XZ_MEMORY_BYTES,
    ZSTD,
    Packing,
    unpack,
)
from pipeline.edges.containers.member import Member

#: Members that an archive may have, those that are no parts too. Ours: a drop has some hundreds of files.
MAX_MEMBERS = 10_000
#: Bytes of the directory, which is read at once. Ours: 200 for each member, and a few times as much in memory.
MAX_DIRECTORY_BYTES = 200 * MAX_MEMBERS
#: The end of an archive without and with the longest comment, and where its length stands.
_END, _END_BYTES, _MAX_COMMENT_BYTES = b"PK\x05\x06", 22, 65_535
_COMMENT_LENGTH = struct.Struct("<H")
#: What stands before a member: signature, flags, method, lengths of its name and of what else stands there.
_LOCAL = struct.Struct("<4s2xHH16xHH")
_SIGNATURE = b"PK\x03\x04"
#: Flags: encrypted, in two ways, and the directory too; the content has an end mark (of lzma).
_ENCRYPTED, _HAS_END_MARK = 0x2041, 0x02
#: Methods: stored as it is, lzma, and Deflate64.
_STORED, _LZMA, _DEFLATE_64 = 0, 14, 9
#: What stands before content in lzma: a version, and the length of its five properties.
_LZMA_HEAD, _LZMA_PROPERTIES = struct.Struct("<2xH"), 5

_ADVICE = "make or transfer the export anew, and load it again (`unzip -t` tests an archive)."


def _deflate() -> IgzipDecompressor:
    return IgzipDecompressor(DECOMP_DEFLATE)


def _lzma() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=XZ_MEMORY_BYTES)


#: How content is packed, by the number of the method.
_PACKINGS = {
    8: Packing("deflate", "unzip -t", _deflate, GZIP_INFLATION),
    12: Packing("bzip2", "7z t", BZIP2.begin),
    _LZMA: Packing("lzma", "7z t", _lzma),
    93: Packing("zstd", "7z t", ZSTD.begin),
    95: Packing("xz", "7z t", XZ.begin),
}


def zip_members(file: FileIO, head: bytes) -> Sequence[Member]:
    """The parts of an export in a zip archive, in the order of their names. Blocks.

    Directories are none, nor is what is hidden, temporary, or in a directory that is: a name that begins with a dot or
    with `_`, as `__MACOSX/` does.

    Raises `InputError` (65) for an archive that is cut off, damaged, encrypted or no export.
    """
    infos = _directory(file)
    if told := document_refusal(head, {info.filename for info in infos}):
        raise InputError(f"it {told}.")
    parts = sorted((info for info in infos if _is_part(info)), key=lambda info: info.filename)
    if not parts:
        raise InputError("it is a zip archive with no export in it: only directories, hidden and temporary files.")
    for one, other in pairwise(parts):
        if one.filename == other.filename:
            raise InputError(f"it is a zip archive that holds two members of one name, {shown(one.filename)}.")
    for info in parts:
        _check(info)
    _check_growth(parts)
    places = _places(file, infos)
    return [_member(file, info, places[info.header_offset]) for info in parts]


def _names(info: ZipInfo) -> list[str]:
    """The directories and the name of a member. One that leads out of the archive leads nowhere."""
    return [name for name in info.filename.replace("\\", "/").split("/") if name not in ("", ".", "..")]


def _is_part(info: ZipInfo) -> bool:
    names = _names(info)
    is_directory = info.filename.endswith(("/", "\\"))
    return not (is_directory or not names or any(name[0] in "._" for name in names) or is_ignored(names[-1]))


class _Reader:
    """The file as `zipfile` reads it; what reads its bytes in order is not disturbed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._place = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1, /) -> bytes:
        size = self._size - self._place if size < 0 else size
        if size > max(MAX_DIRECTORY_BYTES, _END_BYTES + _MAX_COMMENT_BYTES):
            raise _too_many()
        content = os.pread(self._descriptor, max(size, 0), self._place)
        self._place += len(content)
        return content


def _directory(file: FileIO) -> list[ZipInfo]:
    """The entries of the directory, one for each member."""
    reader = _Reader(file.fileno())
    try:
        with ZipFile(reader) as archive:
            infos = archive.infolist()
    except NotImplementedError as error:
        raise InputError("it is a zip archive of a newer kind: write it as plain zip, with `zip` or 7-Zip.") from error
    except (BadZipFile, struct.error, ValueError, EOFError, OverflowError) as error:
        raise InputError(
            f"the zip archive is cut off or damaged: there is no whole directory at its end: {_ADVICE}"
        ) from error
    if len(infos) > MAX_MEMBERS:
        raise _too_many()
    _check_end(reader)
    return infos


def _check_end(reader: _Reader) -> None:
    """Nothing stands behind the directory and its comment, and the comment is all there."""
    size = reader.seek(0, os.SEEK_END)
    tail_bytes = min(size, _END_BYTES + _MAX_COMMENT_BYTES)
    reader.seek(-tail_bytes, os.SEEK_END)
    tail = reader.read(tail_bytes)
    at = len(tail)
    while (at := tail.rfind(_END, 0, at)) >= 0:
        (comment,) = _COMMENT_LENGTH.unpack_from(tail.ljust(at + _END_BYTES, b"\0"), at + _END_BYTES - 2)
        if at + _END_BYTES + comment == len(tail):
            return
    raise InputError(f"the zip archive is cut off in its comment, or something else stands behind its end: {_ADVICE}")


def _too_many() -> InputError:
    return InputError(
        f"it is a zip archive of more than {MAX_MEMBERS:,} members, or with very long names: write fewer, larger files."
    )


def _check(info: ZipInfo) -> None:
    """Raise `InputError` (65) for a member that cannot be unpacked."""
    name, method = shown(info.filename), info.compress_type
    if info.flag_bits & _ENCRYPTED:
        raise InputError(
            f"its member {name} is encrypted: unpack it with its password, and load what was in it; or have the "
            "archive written without one."
        )
    if method == _DEFLATE_64:
        raise InputError(
            f"its member {name} is packed with Deflate64, as the Windows Explorer does with large files: pack it with "
            "7-Zip or `zip`, method Deflate."
        )
    if method != _STORED and method not in _PACKINGS:
        raise InputError(f"its member {name} is packed in an unusual way (method {method}): pack it with Deflate.")


def _check_growth(infos: Sequence[ZipInfo]) -> None:
    """Raise `InputError` (65) for an archive that says it holds too much."""
    given, taken = sum(info.file_size for info in infos), sum(info.compress_size for info in infos)
    limit = max(_limit(info) for info in infos)
    if given > max(JUDGED_FROM_BYTES, limit * taken):
        raise InputError(
            f"the zip archive grows to more than {limit:,} times its size: that is no export. "
            "If it is meant, unpack it, and load what was in it."
        )
    if given > MAX_CONTENT_BYTES:
        raise InputError(f"the zip archive holds more than {MAX_CONTENT_BYTES >> 40} TiB: write it as several exports.")


def _limit(info: ZipInfo) -> int:
    packing = _PACKINGS.get(info.compress_type)
    return packing.max_inflation if packing else MAX_INFLATION


def _places(file: FileIO, infos: Sequence[ZipInfo]) -> dict[int, int]:
    """Where the content of each member begins, by where the member does. Raises `InputError` (65) if two overlap."""
    places, end, size = {}, 0, os.fstat(file.fileno()).st_size
    for info in sorted(infos, key=lambda each: each.header_offset):
        is_within = end <= info.header_offset <= size - _LOCAL.size
        head = os.pread(file.fileno(), _LOCAL.size, info.header_offset) if is_within else b""
        signature, _, method, name, more = _LOCAL.unpack(head.ljust(_LOCAL.size, b"\0"))
        if signature != _SIGNATURE or method != info.compress_type:
            raise InputError(
                f"the zip archive is damaged: its member {shown(info.filename)} is not where it should be, or lies in "
                f"another: {_ADVICE}"
            )
        places[info.header_offset] = begin = info.header_offset + _LOCAL.size + name + more
        end = begin + info.compress_size
    return places


@dataclass(frozen=True, slots=True)
class _Packed:
    """Where a member lies in its file, and what must come of it."""

    info: ZipInfo
    file: FileIO
    begin: int

    def packed(self) -> Iterator[bytes]:
        """The bytes as they lie there; less of them if the file ends before."""
        place, end = self.begin, self.begin + self.info.compress_size
        while place < end and (block := os.pread(self.file.fileno(), min(BLOCK_BYTES, end - place), place)):
            place += len(block)
            yield block

    def content(self) -> Iterator[bytes]:
        """The content, in blocks. Raises `InputError` (65) before the end if that is not what was packed."""
        given, checksum = 0, 0
        for block in self._unpacked():
            given += len(block)
            checksum = zlib.crc32(block, checksum)
            if given > self.info.file_size:
                raise self._damaged()
            yield block
        if given != self.info.file_size or checksum != self.info.CRC:
            raise self._damaged()

    def _unpacked(self) -> Iterator[bytes]:
        blocks = self.packed()
        if self.info.compress_type == _STORED:
            return blocks
        packing = _PACKINGS[self.info.compress_type]
        if self.info.compress_type == _LZMA:
            blocks = self._with_head(blocks)
        return unpack(blocks, packing, archive="the member")

    def _with_head(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """The content of a member in lzma, with the head that a file of its own would have."""
        first = next(blocks, b"")
        begin = _LZMA_HEAD.size + _LZMA_PROPERTIES
        if len(first) < begin or _LZMA_HEAD.unpack_from(first) != (_LZMA_PROPERTIES,):
            raise self._damaged()
        size = 2**64 - 1 if self.info.flag_bits & _HAS_END_MARK else self.info.file_size
        yield first[_LZMA_HEAD.size : begin] + size.to_bytes(8, "little") + first[begin:]
        yield from blocks

    def _damaged(self) -> InputError:
        return InputError(f"the member is damaged, it is not what was packed: {_ADVICE}")


def _member(file: FileIO, info: ZipInfo, begin: int) -> Member:
    return Member(shown("/".join(_names(info))), info.file_size, _Packed(info, file, begin).content)
