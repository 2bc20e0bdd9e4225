"""What is known of a job while it runs: one mutable record, written by the steps, read by screen and report."""

from collections import Counter
from dataclasses import dataclass, field

from pipeline.core.batches.book import Book
from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.lifecycle import Phase
from pipeline.core.model import RowCounts, Settled

#: Why a row is rejected that Target refused; the message of Target goes with it.
TARGET_REFUSED = "target.refused"


@dataclass(slots=True)
class Progress:
    """The counts of a job so far; `book` has its batches.

    `unplaced_rows` are those read that are in no sealed batch yet: open or held. `posts_under_way` counts POSTs that
    may have begun and have not ended. `waiting` says in words what nothing goes on without. `is_all_sealed`: there will
    be no other batches than these and their parts. A dry run sends nothing.
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

    def allot_number(self) -> int:
        """The number of the next batch of this job, from 1; given once only."""
        self.last_number += 1
        return self.last_number

    @property
    def rejects_by_reason(self) -> Counter[str]:
        """Rejected rows by reason, those that Target refused with them."""
        return self.checkpoint.by_reason + Counter({TARGET_REFUSED: self.book.refused_rows})

    def rows(self) -> RowCounts:
        """What has become of the rows so far; all classes but `unsent` are final."""
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
        """The classes of all rows of a job that has ended; raises `FatalError` unless each row is in exactly one.

        Rows of a batch that Target may have are unconfirmed; all others that did not get that far are unsent.
        """
        rows = self.rows()
        rows.unsent = self.unplaced_rows
        self.book.close(rows)
        rows.check()
        return rows

    def batches(self) -> list[Settled]:
        """The settled batches in the order of their numbers."""
        return self.book.settled

    @property
    def batches_under_way(self) -> int:
        """Batches that Target accepted and that are not settled."""
        return self.book.phases()[Phase.FOLLOWING]

    @property
    def sealed_rows(self) -> int:
        """Rows in sealed batches, counted once where a batch was split."""
        return self.book.rows
