"""The form of an id under which its rows can be found again: as it is sent, encoded, and of that a salted hash.

An id that is never sent has such a form too: that of a row which is rejected, left out, or has no value.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.formats.text_codec import is_utf8
from pipeline.core.model import Hashes, Offsets
from pipeline.core.rows.cells import trimmed
from pipeline.core.rows.encoding import KEPT, encode
from pipeline.core.rows.hashing import hash_ids
from pipeline.core.values.column_steps import ColumnSteps

#: The hash of a row without an id; no id has it.
NO_ID = 0
#: Bytes of an encoded id that count: a broken record may have anything in the place of its id. Ours.
_MOST_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class IdForms:
    """The forms of the ids of an export.

    `salt`: of the hashes. `steps`: what [mapping] does to the column of ids, or None. `is_trimmed`: what is around an
    id is no part of it.
    """

    salt: int
    steps: ColumnSteps | None = None
    is_trimmed: bool = True

    def of(self, ids: Sequence[bytes]) -> list[bytes]:
        """The encoded ids that are, or would be, sent for these of the export; empty where there is none."""
        if self.steps is None and not b"".join(ids).translate(None, KEPT):
            return [*ids]
        return [*map(self._of_one, ids)]

    def hashes(self, ids: Sequence[bytes]) -> Hashes:
        """The hashes of these forms; shape (n,)."""
        return hashes_of(self.of(ids), self.salt)

    def _of_one(self, written: bytes) -> bytes:
        bare = trimmed(written) if self.is_trimmed and is_utf8(written) else written
        if bare and self.steps is not None and is_utf8(bare):
            bare = self.steps.hashed(self.steps.in_case(bare.decode())).encode()
        return encode(bare)


def hashes_of(forms: Sequence[bytes], salt: int) -> Hashes:
    """The hashes of encoded ids, `NO_ID` where there is none; shape (n,)."""
    cut = [each[:_MOST_BYTES] for each in forms]
    lengths = np.fromiter(map(len, cut), dtype=np.int64, count=len(cut))
    hashes = hash_ids(b"".join(cut), np.cumsum(lengths) - lengths, lengths, salt)
    hashes[lengths == 0] = NO_ID
    return hashes


@dataclass(frozen=True, slots=True, eq=False)
class NotSent:
    """Rows of an export that are neither sent nor rejected. All arrays have shape (n,).

    `why`: `empty`, or `excluded` and the column of the condition.
    """

    why: str
    hashes: Hashes
    lines: Offsets


EMPTY = "empty"


def excluded_by(column: str) -> str:
    """`NotSent.why` of rows that a condition on this column leaves out."""
    return f"excluded {column}"


def not_sent(found: Iterable[tuple[str, bytes, int]], salt: int) -> tuple[NotSent, ...]:
    """Rows given by why, encoded id and line, put together."""
    by_why: dict[str, tuple[list[bytes], list[int]]] = {}
    for why, form, line in found:
        forms, lines = by_why.setdefault(why, ([], []))
        forms.append(form)
        lines.append(line)
    return tuple(
        NotSent(why, hashes_of(forms, salt), np.array(lines, dtype=np.int64)) for why, (forms, lines) in by_why.items()
    )
