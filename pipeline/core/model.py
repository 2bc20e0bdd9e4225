"""The values that move between the steps: rows, rejects, batches, and the count of what became of every row.

Sizes are bytes, lines count from 1, arrays are numpy arrays of the shapes given. Nothing here does anything.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import FatalError

Octets = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]
#: Where rows begin in a body, which is smaller than 4 GB.
Starts = npt.NDArray[np.uint32]
#: What a batch has of each row, and is below 4 billion: its number, its size in bytes.
Wholes = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]


class Reason(StrEnum):
    """Why a row must not be sent; the fixed list that `rejects.jsonl` and the report use."""

    TEXT_AFTER_QUOTE = "local.text_after_quote"
    QUOTE_UNCLOSED = "local.quote_unclosed"
    RECORD_TOO_LONG = "local.record_too_long"
    NUL_BYTE = "local.nul_byte"
    INVALID_UTF8 = "local.invalid_utf8"
    FIELD_COUNT = "local.field_count"
    EMPTY_ID = "local.empty_id"
    ID_CHARACTER = "local.id_character"
    ID_TOO_LONG = "local.id_too_long"
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
    """A list of n encoded rows, in the order of the export.

    `body` holds the rows one after the other, each `id,cell,...` and a line feed. Row i is
    `body[ends[i - 1]:ends[i]]` (from 0 for the first), its encoded id the first `id_lengths[i]` bytes of it.
    `lines[i]` is where it stands in the export, `hashes[i]` the salted 64-bit hash of its encoded id.
    All arrays have shape (n,).
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

    @property
    def starts(self) -> Offsets:
        """Where each row begins in `body`, shape (n,)."""
        starts = np.empty_like(self.ends)
        if len(starts):
            starts[0] = 0
            starts[1:] = self.ends[:-1]
        return starts


@dataclass(slots=True)
class Warnings:
    """What the user should know about rows that are sent all the same; counts over rows to send.

    `empty_cells` counts per parameter name the cells that leave Target's old value as it is.
    """

    id_over_128_characters: int = 0
    value_over_256_characters: int = 0
    value_with_delimiter: int = 0
    bare_quote: int = 0
    empty_cells: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Warnings") -> None:
        """Count those of more rows."""
        self.id_over_128_characters += other.id_over_128_characters
        self.value_over_256_characters += other.value_over_256_characters
        self.value_with_delimiter += other.value_with_delimiter
        self.bare_quote += other.bare_quote
        self.empty_cells.update(other.empty_cells)

    @classmethod
    def from_dict(cls, counts: dict[str, Any]) -> "Warnings":
        """What `as_dict` made."""
        return cls(**{**counts, "empty_cells": Counter(counts.get("empty_cells", {}))})

    def as_dict(self) -> dict[str, Any]:
        """Only what occurred, for the report."""
        counts: dict[str, Any] = {
            "id_over_128_characters": self.id_over_128_characters,
            "value_over_256_characters": self.value_over_256_characters,
            "value_with_delimiter": self.value_with_delimiter,
            "bare_quote": self.bare_quote,
            "empty_cells": dict(sorted(self.empty_cells.items())),
        }
        return {name: count for name, count in counts.items() if count}


@dataclass(slots=True)
class RowCounts:
    """What became of every row read; each row is in exactly one class once the job has ended."""

    read: int = 0
    confirmed: int = 0
    superseded: int = 0
    rejected: int = 0
    empty: int = 0
    failed: int = 0
    unconfirmed: int = 0
    unsent: int = 0

    @property
    def accounted(self) -> int:
        """Rows that are in a class."""
        return (
            self.confirmed + self.superseded + self.rejected + self.empty + self.failed + self.unconfirmed + self.unsent
        )

    @property
    def lost(self) -> int:
        """Rows that may not have reached Target though they should have."""
        return self.failed + self.unconfirmed

    def check(self) -> None:
        """Raise `FatalError` unless every row read is in exactly one class."""
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
    """The rows of a sealed batch before they are written: n rows, `size_bytes` with header and `batch=`.

    `pieces` joined are the body to POST; whoever writes it down takes them out. `sizes` and `lines` (n,) are in the
    order of the body; `hashes` (n,) are sorted, and `order` (n,) tells the row of each.
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
        """Where in the body the row of each hash begins, shape (n,)."""
        starts = np.cumsum(self.sizes, dtype=np.uint32)
        starts -= self.sizes
        # Behind the header row.
        starts += np.uint32(self.size_bytes - int(self.sizes.sum(dtype=np.int64)))
        return starts[self.order]


@dataclass(frozen=True, slots=True, order=True)
class Batch:
    """A sealed batch: its body lies in the spool under its `batch_id`, and these are its facts.

    `batch_id` is its own among all batches of a state directory, `number` among those of its job. `parent` is the
    batch that was split into this one and another.
    """

    batch_id: int
    number: int
    rows: int
    size_bytes: int
    sha256: str
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row that Target named as failed: its id as Target names it, its line (None if not in the batch), its batch."""

    profile_id: str
    line: int | None
    batch_number: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The final outcome of a batch.

    `confirmed + failed + unconfirmed + rejected` equals its rows, but for a split batch, whose children have them.
    `why` says in words what kept it from being all confirmed.
    `release_at` is the monotonic time in seconds at which its ids are free; `may_be_applied` whether Target may
    have taken any copy of it.
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
