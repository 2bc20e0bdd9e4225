"""The held rows in the ledger: a log of their changes, one per seal, which is replayed in order.

A table with a row for each held row cost more than sending it. Ids come in no order, so each row is on another page,
and each seal wrote as many pages as rows had changed.

A change is one or more blobs. Each holds integers, little endian, and then texts: the number of rows and of gone ids
(int64), the rows' lines (int64), the sizes of the rows, of their ids and of the gone ids (uint32), the rows, the gone
ids. A gone id has no waiting rows any more, except those of the same change.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

import numpy as np

from pipeline.core.batches.tracker import HeldChanges
from pipeline.core.model import Rows

#: Encoded id, encoded row and line.
Held = tuple[bytes, bytes, int]

_COUNTS_BYTES = 16


def blobs_of(changes: HeldChanges) -> Iterator[bytes]:
    """The blobs of a change, in order."""
    gone = changes.gone
    for rows in changes.rows:
        yield _blob(rows, gone)
        gone = ()
    if gone:
        yield _blob(None, gone)


def replay(blobs: Iterable[tuple[int, bytes]]) -> list[Held]:
    """The rows that wait after these changes, in the order of their ids; those of one id in the order of the export.

    `blobs`: pairs of seal number and blob.

    Raises `ValueError` for a blob that is no change.
    """
    held: dict[bytes, list[Held]] = {}
    for _, change in groupby(blobs, itemgetter(0)):
        changed: dict[bytes, list[Held]] = {}
        for _, blob in change:
            rows, gone = _read(blob)
            for profile_id in gone:
                changed.setdefault(profile_id, [])
            for row in rows:
                changed.setdefault(row[0], []).append(row)
        held |= changed
        for profile_id in [each for each, rows in changed.items() if not rows]:
            del held[profile_id]
    return [row for profile_id in sorted(held) for row in held[profile_id]]


def _blob(rows: Rows | None, gone: tuple[bytes, ...]) -> bytes:
    parts = [np.array([0 if rows is None else len(rows), len(gone)], dtype="<i8").tobytes()]
    if rows is not None:
        sizes = np.diff(rows.ends, prepend=0)
        parts += [
            rows.lines.astype("<i8").tobytes(),
            *(each.astype("<u4").tobytes() for each in (sizes, rows.id_lengths)),
        ]
    parts.append(np.fromiter(map(len, gone), dtype="<u4", count=len(gone)).tobytes())
    return b"".join([*parts, b"" if rows is None else rows.body, *gone])


def _read(blob: bytes) -> tuple[list[Held], list[bytes]]:
    rows, gone = np.frombuffer(blob[:_COUNTS_BYTES], dtype="<i8").tolist()
    if not (0 <= rows <= len(blob) and 0 <= gone <= len(blob)):
        raise ValueError(f"{len(blob)} bytes are no change of {rows:,} held rows and {gone:,} ids")
    lines = np.frombuffer(blob, dtype="<i8", count=rows, offset=_COUNTS_BYTES)
    numbers = np.frombuffer(blob, dtype="<u4", count=2 * rows + gone, offset=_COUNTS_BYTES + 8 * rows).astype(np.int64)
    sizes, id_sizes, gone_sizes = numbers[:rows], numbers[rows : 2 * rows], numbers[2 * rows :]
    start = _COUNTS_BYTES + 16 * rows + 4 * gone
    ends = start + np.cumsum(np.concatenate([sizes, gone_sizes]))
    if len(blob) != (ends[-1] if len(ends) else start):
        raise ValueError(f"{len(blob)} bytes are no change of held rows")
    starts = ends - np.concatenate([sizes, gone_sizes])
    texts = [blob[first:last] for first, last in zip(starts.tolist(), ends.tolist(), strict=True)]
    held = zip(texts[:rows], id_sizes.tolist(), lines.tolist(), strict=True)
    return [(text[:id_size], text, line) for text, id_size, line in held], texts[rows:]
