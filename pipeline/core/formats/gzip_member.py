"""Unpacks one member of a gzip archive, with the interface of the standard library's decompressors.

`isal` inflates it, and compares its checksum and its length. The header is read here: where one with several fields is
cut between two blocks, the library takes the archive for a damaged one.
"""

import zlib

from isal.igzip_lib import DECOMP_GZIP_NO_HDR_VER, IgzipDecompressor

#: The first bytes: gzip, and `deflate`, the only method there is.
GZIP = b"\x1f\x8b\x08"
#: Bytes of a header with names, comments and other fields, at most. Ours: they are a few dozen.
MAX_HEADER_BYTES = 262_144
#: Bytes of a header before its fields, and the place of the flags in it.
_FIXED_BYTES, _FLAGS = 10, 3
#: The flags: a checksum of the header, a field with its length before it, a name, a comment, and those of nobody.
_CHECKSUM, _EXTRA, _NAME, _COMMENT, _RESERVED = 2, 4, 8, 16, 0xE0


class GzipMember:
    """A member from its first byte on.

    `eof`: all of it is unpacked, and is what was packed. `unused_data`: what came behind it.
    `needs_input`: nothing more can be given of what was taken.
    """

    def __init__(self) -> None:
        self._header = b""
        self._content: IgzipDecompressor | None = None

    @property
    def eof(self) -> bool:
        """True behind the last byte."""
        return self._content is not None and self._content.eof

    @property
    def needs_input(self) -> bool:
        """True if `decompress` needs more bytes to give any."""
        return self._content is None or self._content.needs_input

    @property
    def unused_data(self) -> bytes:
        """The bytes behind the last one."""
        return self._content.unused_data if self._content is not None else b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Some of the content, at most `max_length` bytes. Raises `ValueError` or `IsalError` for a damaged member."""
        if self._content is None:
            self._header += data
            end = _end_of_header(self._header)
            if end is None:
                return b""
            data, self._header = self._header[end:], b""
            self._content = IgzipDecompressor(DECOMP_GZIP_NO_HDR_VER)
        return self._content.decompress(data, max_length)


def _end_of_header(header: bytes) -> int | None:
    """The offset behind a header, or None if it is not all there. Raises `ValueError` for what is none."""
    if not (header.startswith(GZIP) or GZIP.startswith(header)):
        raise ValueError("no header of gzip")
    end = _FIXED_BYTES
    if len(header) < end:
        return None
    flags = header[_FLAGS]
    if flags & _RESERVED:
        raise ValueError("a flag that is not used")
    if flags & _EXTRA:
        end += 2 + int.from_bytes(header[end : end + 2], "little")
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            end = header.find(b"\0", end) + 1
            if not end:
                if len(header) > MAX_HEADER_BYTES:
                    raise ValueError("a header without end")
                return None
    if flags & _CHECKSUM:
        checksum = zlib.crc32(header[:end]) & 0xFFFF
        end += 2
        if end <= len(header) and checksum != int.from_bytes(header[end - 2 : end], "little"):
            raise ValueError("another checksum of the header")
    return end if end <= len(header) else None
