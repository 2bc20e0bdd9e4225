"""The ids that somebody asked to erase, in every form in which they are written; and what is left of a fact of them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import unquote

import numpy as np

from pipeline.core.batches.lifecycle import Fact, RowRejected, SeenComplete
from pipeline.core.formats.framing import BrokenLine, Record
from pipeline.core.formats.text_codec import is_utf8
from pipeline.core.model import Hashes
from pipeline.core.rows.cells import trimmed
from pipeline.core.rows.encoding import encode
from pipeline.core.rows.hashing import hash_ids
from pipeline.core.values.column_steps import ColumnSteps

#: What may not stand around an id that is found within a text: it would be a part of another word.
_BEFORE, _BEHIND = rb"(?<![0-9A-Za-z_.@%+-])", rb"(?![0-9A-Za-z_@%+-])"


@dataclass(frozen=True)
class Wanted:
    """The ids to erase.

    `given`: as they were asked for. `texts`: as an export has them, in UTF-8.
    `sent`: as Target knows them, in UTF-8: after the steps of [mapping], before they are encoded.
    `steps`: of the id column of the export that is looked at.
    """

    given: frozenset[bytes]
    texts: frozenset[bytes]
    sent: frozenset[bytes]
    steps: ColumnSteps | None = None

    @classmethod
    def of(cls, given: Iterable[bytes], steps: Iterable[ColumnSteps] = ()) -> "Wanted":
        """Those in the lines of a file: as an export has them, or as they are sent, encoded or not.

        `steps`: all that are known of id columns.
        """
        lines = {trimmed(line) for line in given if is_utf8(line)} - {b""}
        texts = lines | {unquoted for line in lines if encode(unquoted := unquote(line.decode()).encode()) == line}
        sent = {done.encode() for each in steps for text in texts if (done := each.done(text.decode()).value)}
        return cls(frozenset(lines), frozenset(texts), frozenset(texts | sent))

    def by(self, steps: ColumnSteps | None) -> "Wanted":
        """The same ids, for an export of which the id column has these steps."""
        return replace(self, steps=steps)

    @cached_property
    def encoded(self) -> frozenset[bytes]:
        """As they stand in batches."""
        return frozenset(map(encode, self.sent))

    def hashes(self, salt: int) -> Hashes:
        """Of `encoded`, sorted."""
        ids = sorted(self.encoded)
        lengths = np.array([len(each) for each in ids], dtype=np.int64)
        return np.sort(hash_ids(b"".join(ids), np.cumsum(lengths) - lengths, lengths, salt))

    def is_id(self, cell: bytes) -> bool:
        """True if the id cell of an export is one of them."""
        if cell in self.texts:
            return True
        if not is_utf8(cell):
            return False
        bare = trimmed(cell)
        if bare in self.texts:
            return True
        return bool(bare) and self.steps is not None and self.steps.done(bare.decode()).value.encode() in self.sent

    def is_named(self, name: str) -> bool:
        """True if a text that is an id, as an export has it or as Target knows it, encoded or not, is one of them."""
        text = name.encode(errors="surrogateescape")
        return text in self.sent or text in self.encoded or self.is_id(text)

    def is_in(self, text: bytes) -> bool:
        """True if one of them stands anywhere in a text, and is no part of a longer word."""
        return self._pattern.search(text) is not None

    def has_row(self, record: Record | BrokenLine, id_index: int, width: int) -> bool:
        """True if a record is of one of them. One that could not be cut into `width` cells may have it anywhere."""
        if isinstance(record, BrokenLine):
            return self.is_in(record.raw)
        if len(record.fields) == width:
            return self.is_id(record.fields[id_index])
        return any(map(self.is_id, record.fields))

    @cached_property
    def _pattern(self) -> "re.Pattern[bytes]":
        forms = sorted(self.sent | self.encoded, key=len, reverse=True)
        return re.compile(_BEFORE + b"(?:" + b"|".join(map(re.escape, forms)) + b")" + _BEHIND)


def erased_from(fact: Fact, wanted: Wanted) -> Fact:
    """A fact of a batch without these ids: what is left tells no row of them, and counts none."""
    match fact:
        case RowRejected(row=row) if row.partition(",")[0].encode() in wanted.encoded:
            message = "" if wanted.is_in(fact.message.encode()) else fact.message
            return replace(fact, row="", message=message)
        case SeenComplete():
            failed = tuple(name for name in fact.failed_ids if not wanted.is_named(name))
            unconfirmed = tuple(name for name in fact.unconfirmed_ids if not wanted.is_named(name))
            return replace(
                fact,
                failed=max(0, fact.failed - len(fact.failed_ids) + len(failed)),
                failed_ids=failed,
                unconfirmed=max(0, fact.unconfirmed - len(fact.unconfirmed_ids) + len(unconfirmed)),
                unconfirmed_ids=unconfirmed,
            )
    return fact
