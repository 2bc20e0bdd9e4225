"""The values that move between the steps: rows, rejects, batches, and the counts of rows by class.

Sizes are bytes, lines count from 1, arrays are numpy arrays of the shapes given. The values have no behaviour.
"""

from collections import Counter
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import FatalError
from pipeline.core.plain import of_plain, plain, written

Octets = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]
#: Offsets of rows in a body, which is smaller than 4 GB.
Starts = npt.NDArray[np.uint32]
#: Values below 4 billion, one for each row of a batch: its index, or its size in bytes.
Wholes = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]


class Reason(StrEnum):
    """The reason why a row must not be sent; the fixed list for `rejects.jsonl` and the report."""

    TEXT_AFTER_QUOTE = "local.text_after_quote"
    QUOTE_UNCLOSED = "local.quote_unclosed"
    RECORD_TOO_LONG = "local.record_too_long"
    JSON_INVALID = "local.json_invalid"
    ARRAY = "local.array"
    NUL_BYTE = "local.nul_byte"
    INVALID_UTF8 = "local.invalid_utf8"
    FIELD_COUNT = "local.field_count"
    HEADER_AGAIN = "local.header_again"
    EMPTY_ID = "local.empty_id"
    ID_PLACEHOLDER = "local.id_placeholder"
    ID_NUMBER = "local.id_number"
    ID_IN_QUOTES = "local.id_in_quotes"
    ID_CHARACTER = "local.id_character"
    ID_TOO_LONG = "local.id_too_long"
    MAPPING_VALUE = "local.mapping_value"
    MAPPING_DATE = "local.mapping_date"
    MAPPING_NUMBER = "local.mapping_number"
    MAPPING_LENGTH = "local.mapping_length"
    DELIMITER = "local.delimiter"
    ATTRIBUTES_TOO_LARGE = "local.attributes_too_large"
    ROW_TOO_LARGE = "local.row_too_large"


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that must not be sent. `raw` is the record without its final line ending."""

    line: int
    reason: Reason
    profile_id: bytes | None
    raw: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A list of n encoded rows, in the order of the export. All arrays have shape (n,).

    `body`: the rows one after the other, each `id,cell,...` with a line feed.
    `ends`: the end of each row; row i is `body[ends[i - 1]:ends[i]]`, the first begins at 0.
    `id_lengths`: the bytes of each encoded id, with which the row begins.
    `lines`: the line of each row in the export.
    `hashes`: the salted 64-bit hash of each encoded id.
    """

    body: bytes
    ends: Offsets
    id_lengths: Offsets
    lines: Offsets
    hashes: Hashes

    def __len__(self) -> int:
        return len(self.ends)

    def text(self, index: int) -> bytes:
        """One encoded row with its line feed."""
        return self.body[int(self.ends[index - 1]) if index else 0 : int(self.ends[index])]

    def behind(self, index: int) -> "Rows":
        """The rows from this one on."""
        if not index:
            return self
        start, left = int(self.ends[index - 1]), slice(index, None)
        ends = self.ends[left] - start
        return Rows(self.body[start:], ends, self.id_lengths[left], self.lines[left], self.hashes[left])

    @property
    def starts(self) -> Offsets:
        """The offset in `body` at which each row begins, shape (n,)."""
        starts = np.empty_like(self.ends)
        if len(starts):
            starts[0] = 0
            starts[1:] = self.ends[:-1]
        return starts


#: Reasons of rejects that are no fault of the export's rows, so that they do not count against `max_rejects`.
NO_FAULTS = frozenset({Reason.HEADER_AGAIN})


@dataclass(slots=True)
class Warnings:
    """Warnings about rows that are sent all the same, counted over rows to send; and blank records, which are no rows.

    `empty_cells`: parameter name -> number of empty cells, which leave Target's old value as it is.
    `unnamed_columns`: the number of columns, not rows, that are not sent because they have no name.
    `empty_parts`: the number of parts of the export, not rows, in which nothing stands.
    `ids_gone`: the number of rows that no line of a snapshot has: their ids are not in it any more.
    `gone_unsure`: the number of rows of which nobody can tell whose they are, so that no id was taken for gone.
    `first_lines`: name of a warning -> line of the row, or blank record, that first gave cause to it.
    """

    id_over_128_characters: int = 0
    value_over_256_characters: int = 0
    value_with_delimiter: int = 0
    bare_quote: int = 0
    ids_trimmed: int = 0
    ids_padded: int = 0
    values_trimmed: int = 0
    values_padded: int = 0
    null_cells: int = 0
    id_ends_in_point_zero: int = 0
    id_with_guard: int = 0
    row_over_32_kb: int = 0
    rows_of_one_id: int = 0
    blank_records: int = 0
    empty_cells: Counter[str] = field(default_factory=Counter)
    unnamed_columns: int = 0
    array_joined: int = 0
    empty_parts: int = 0
    values_not_listed: int = 0
    values_unreadable: int = 0
    values_truncated: int = 0
    row_not_filled_in: int = 0
    ids_gone: int = 0
    gone_unsure: int = 0
    first_lines: dict[str, int] = field(default_factory=dict)

    def note(self, name: str, line: int, count: int = 1) -> None:
        """Count a warning, of which this is the first line unless an earlier one was noted."""
        if count:
            setattr(self, name, getattr(self, name) + count)
            self.first_lines.setdefault(name, line)

    def note_empty_cells(self, counts: dict[str, int], line: int) -> None:
        """Count empty cells by parameter name."""
        self.empty_cells.update(counts)
        self.first_lines.setdefault("empty_cells", line)

    def add(self, other: "Warnings") -> None:
        """Add the warnings of the rows that follow."""
        for name in _COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.empty_cells.update(other.empty_cells)
        self.first_lines = other.first_lines | self.first_lines

    def add_among(self, other: "Warnings") -> None:
        """Add the warnings of rows that stand among these, in the same file."""
        earliest = {name: min(line, self.first_lines.get(name, line)) for name, line in other.first_lines.items()}
        self.add(other)
        self.first_lines |= earliest

    @classmethod
    def from_dict(cls, counts: dict[str, Any]) -> "Warnings":
        """Rebuild warnings from the values of `as_dict`."""
        return of_plain(cls, counts)

    def as_dict(self) -> dict[str, Any]:
        """The counts that are not zero, and the first line of each, for the report."""
        counts = plain(self) | {
            "empty_cells": dict(sorted(self.empty_cells.items())),
            "first_lines": dict(sorted(self.first_lines.items())),
        }
        return {name: count for name, count in counts.items() if count}


_COUNTED = tuple(each.name for each in fields(Warnings) if each.name not in ("empty_cells", "first_lines"))


@dataclass(slots=True)
class RowCounts:
    """The number of rows in each class; each row read is in exactly one.

    `pending`: the rows that an unfinished job has sent or is about to send, which its next run follows. A job that has
    ended has none, and it is written only where there are any.
    """

    read: int = 0
    confirmed: int = 0
    superseded: int = 0
    unchanged: int = 0
    excluded: int = 0
    rejected: int = 0
    empty: int = 0
    failed: int = 0
    unconfirmed: int = 0
    unsent: int = 0
    pending: int = written(default=0, if_default=False)

    @property
    def accounted(self) -> int:
        """The number of rows that are in a class."""
        never_sent = self.superseded + self.unchanged + self.excluded + self.rejected + self.empty
        return never_sent + self.confirmed + self.failed + self.unconfirmed + self.unsent + self.pending

    @property
    def lost(self) -> int:
        """The number of rows that should have reached Target and may not have."""
        return self.failed + self.unconfirmed

    def check(self) -> None:
        """Raise `FatalError` unless the classes add up to the rows read."""
        if self.read != self.accounted:
            raise FatalError(
                f"of {self.read} rows read {self.accounted} are accounted for: {self}. "
                "This is a bug in profile-pipeline; please report it with this line."
            )


class BatchState(StrEnum):
    """The final outcome of a batch, as the report names it."""

    COMPLETE = "complete"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    SPLIT = "split"


@dataclass(frozen=True, slots=True, eq=False)
class BatchContent:
    """The n rows of a sealed batch before they are written to the spool.

    `pieces`: joined, they are the body to POST; whoever writes the body takes them out.
    `size_bytes`: of the body, with `batch=` and the header row.
    `hashes`: (n,), of the ids, sorted.
    `order`: (n,), the row index for each of `hashes`.
    `sizes`, `lines`: (n,), in the order of the body.
    """

    pieces: list[bytes | memoryview]
    rows: int
    size_bytes: int
    hashes: Hashes
    order: Wholes
    sizes: Wholes
    lines: Offsets

    @property
    def starts(self) -> Starts:
        """For each of `hashes`, the offset of its row in the body; shape (n,)."""
        starts = np.cumsum(self.sizes, dtype=np.uint32)
        starts -= self.sizes
        # The rows begin behind the header row.
        starts += np.uint32(self.size_bytes - int(self.sizes.sum(dtype=np.int64)))
        return starts[self.order]


@dataclass(frozen=True, slots=True, order=True)
class Batch:
    """A sealed batch: these are its facts, and the spool holds its body under its `batch_id`.

    `batch_id`: unique in a state directory.
    `number`: unique in its job.
    `sha256`: the digest of its body.
    `parent`: the batch that was split into this one and another, or None.
    `ids_sha256`, `lines_sha256`: the digests of the files beside its body; empty if an earlier version sealed it.
    """

    batch_id: int
    number: int
    rows: int
    size_bytes: int
    sha256: str
    parent: int | None = None
    ids_sha256: str = ""
    lines_sha256: str = ""


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row that Target named as failed.

    `profile_id`: the id as Target names it.
    `line`: the row's line in the export, or None if the id is not in the batch.
    """

    profile_id: str
    line: int | None
    batch_number: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The final outcome of a batch.

    `confirmed + failed + unconfirmed + rejected` equals its rows. A split batch has none: its children have them.

    `release_at`: the monotonic time, in seconds, at which its ids are free.
    `may_be_applied`: Target may have taken a copy of it.
    `why`: the reason, in words, why not all of its rows are confirmed.
    """

    batch: Batch
    state: BatchState
    confirmed: int
    failed: int
    unconfirmed: int
    attempts: int
    release_at: float
    may_be_applied: bool
    failed_ids: tuple[str, ...] = ()
    why: str | None = None
    rejected: int = 0
