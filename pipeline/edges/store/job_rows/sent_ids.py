"""The ids that a batch had, and the line of each: by them a row that is mended later is told from one that is too old.

A file for each batch, in the folder of its job: the number of rows n, n sorted hashes of ids (uint64), the n lines of
their rows (uint32), all little endian, and a checksum. It is not flushed: one that a crash has taken, or torn, only
keeps rows from being sent, as any of them may have been in that batch then.
"""

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from pipeline.core.model import BatchContent, Hashes, Offsets, Wholes
from pipeline.edges.durable import write_durably

#: Of the number of rows, and of the checksum.
_NUMBER = struct.Struct("<Q")
#: Bytes of a row.
_ROW_BYTES = 12
#: The last line that a file can tell; a row behind it counts as on it. It is behind any line that is mended.
_LAST_LINE = 2**32 - 1


def note_sent(path: Path, content: BatchContent) -> None:
    """Write the file of a batch; if the disk refuses, there is none."""
    lines = np.minimum(content.lines[content.order], _LAST_LINE).astype("<u4")
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.writelines(_pieces(content.hashes, lines))


def erase_sent(path: Path, hashes: Hashes) -> int:
    """Take ids out of the file of a batch, durably; return how many it had. `hashes`: theirs, sorted.

    Raises `FatalError` (74) if the disk refuses.
    """
    sent = read_sent(path)
    if sent is None:
        return 0
    theirs, lines = sent
    kept = ~np.isin(theirs, hashes)
    if not kept.all():
        write_durably(path, _pieces(theirs[kept], lines[kept]))
    return int(np.count_nonzero(~kept))


def read_sent(path: Path) -> tuple[Hashes, Offsets] | None:
    """The sorted hashes of a batch's ids, and the line of each; None if there is no file, or no whole one."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if len(content) < 2 * _NUMBER.size:
        return None
    body, rows = content[: -_NUMBER.size], _NUMBER.unpack_from(content)[0]
    is_whole = len(content) == 2 * _NUMBER.size + _ROW_BYTES * rows
    if not is_whole or zlib.crc32(body) != _NUMBER.unpack_from(content, len(body))[0]:
        return None
    hashes = np.frombuffer(body, dtype="<u8", offset=_NUMBER.size, count=rows)
    lines = np.frombuffer(body, dtype="<u4", offset=_NUMBER.size + 8 * rows, count=rows)
    return hashes, lines.astype(np.int64)


def _pieces(hashes: Hashes, lines: Offsets | Wholes) -> list[bytes]:
    body = _NUMBER.pack(len(hashes)) + hashes.astype("<u8").tobytes() + lines.astype("<u4").tobytes()
    return [body, _NUMBER.pack(zlib.crc32(body))]
