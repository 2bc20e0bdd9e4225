"""Unpacks gzip, block by block: archives of several members, with padding, of any size.

An archive that is cut off or damaged raises an error before its end is given: what was read of it is no export.
"""

import zlib
from collections.abc import Iterator

from pipeline.core.errors import InputError

#: Bytes of a block that is given, at most.
_BLOCK_BYTES = 262_144
#: `zlib`: with the header and the checksum of gzip.
_GZIP_FORMAT = 31
#: Bytes given for each byte taken, at most. Ours: exports shrink to a fifth or a twentieth, and the worst that gzip can
#: do is 1,030. Nothing here grows with what is given, so the limit only ends a load that would go on for days.
MAX_INFLATION = 500
#: Bytes given from which on that is judged.
_JUDGED_FROM_BYTES = 1_073_741_824

_ADVICE = "make or transfer the export anew, and load it again (`gzip -t` tests an archive)."


def gunzip(blocks: Iterator[bytes], *, judged_from_bytes: int = _JUDGED_FROM_BYTES) -> Iterator[bytes]:
    """The content of an archive, in blocks that are never empty; `blocks` are its bytes.

    Raises `InputError` (65) for an archive that is cut off or damaged; or that has given so many bytes, more than
    `MAX_INFLATION` times those taken.
    """
    taken = given = 0
    member = None
    for block in blocks:
        taken, rest = taken + len(block), block
        while rest:
            if member is None:
                # Members may follow one another; archives on tapes and in blobs are padded with zeros.
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                member = zlib.decompressobj(_GZIP_FORMAT)
            content = _unpack(member, rest, taken)
            given += len(content)
            if given > max(judged_from_bytes, MAX_INFLATION * taken):
                raise InputError(
                    f"the gzip archive grows to more than {MAX_INFLATION} times its size: that is no export. "
                    "If it is meant, unpack it first."
                )
            if content:
                yield content
            rest = member.unused_data if member.eof else member.unconsumed_tail
            member = None if member.eof else member
    while member is not None:
        content = _unpack(member, b"", taken)
        if content:
            yield content
        elif not member.eof:
            raise InputError(f"the gzip archive is cut off behind its {taken:,} bytes: {_ADVICE}")
        member = None if member.eof else member


def _unpack(member: "zlib._Decompress", packed: bytes, taken: int) -> bytes:
    try:
        return member.decompress(packed, _BLOCK_BYTES)
    except zlib.error as error:
        raise InputError(f"the gzip archive is damaged within its first {taken:,} bytes: {_ADVICE}") from error
