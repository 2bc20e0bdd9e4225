"""The progress of a running job: one mutable record, written by its steps, read by screen and report."""

from collections import Counter
from dataclasses import dataclass, field

from pipeline.core.batches.book import Book
from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.lifecycle import Phase
from pipeline.core.model import RowCounts

#: The reason of rejects that Target refused; Target's message goes with it.
TARGET_REFUSED = "target.refused"


@dataclass(slots=True)
class Progress:
    """The counts of a job so far; `book` has its batches.

    `unplaced_rows`: rows read that are in no sealed batch yet, but open or held. `posts_under_way`: POSTs that may have
    begun and have not ended. `waiting`: in words, what the producer waits for. `is_all_sealed`: no batch will come but
    parts of these. `is_dry_run`: nothing is sent. `is_in_sandbox`: a sandbox answers in Target's place.
    """

    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    book: Book = field(default_factory=Book)
    export_bytes: int = 0
    bytes_read: int = 0
    sha256: str = ""
    unplaced_rows: int = 0
    held_rows: int = 0
    last_number: int = 0
    posts_under_way: int = 0
    calls: int = 0
    waiting: str | None = None
    reading_is_done: bool = False
    is_all_sealed: bool = False
    is_dry_run: bool = False
    is_in_sandbox: bool = False

    def allot_number(self) -> int:
        """The number of the next batch of this job, from 1; each is returned once only."""
        self.last_number += 1
        return self.last_number

    @property
    def rejects_by_reason(self) -> Counter[str]:
        """Rejected rows by reason, those that Target refused among them."""
        return self.checkpoint.by_reason + Counter({TARGET_REFUSED: self.book.refused_rows})

    def rows(self) -> RowCounts:
        """The classes of the rows so far. A count only grows; `unsent` is 0 until `close`."""
        checkpoint = self.checkpoint
        rows = RowCounts(
            read=checkpoint.read,
            superseded=checkpoint.superseded,
            empty=checkpoint.empty,
            rejected=checkpoint.rejected,
        )
        self.book.count(rows)
        return rows

    def close(self) -> RowCounts:
        """The classes of all rows of a job that has ended. Raises `FatalError` unless each row is in exactly one.

        Rows of an unsettled batch that Target may have are unconfirmed; all other rows left are unsent.
        """
        rows = self.rows()
        rows.unsent = self.unplaced_rows
        self.book.close(rows)
        rows.check()
        return rows

    @property
    def batches_under_way(self) -> int:
        """The number of batches that Target accepted and that are not settled."""
        return self.book.phases()[Phase.FOLLOWING]
