"""What is known of a job while it runs: one mutable record, written by the steps, read by screen and report."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.model import Batch, RowCounts, Settled

if TYPE_CHECKING:
    from pipeline.core.errors import PipelineError

#: Why a row is rejected that Target refused; the message of Target goes with it.
TARGET_REFUSED = "target.refused"


@dataclass(slots=True)
class Progress:
    """The counts and batches of a job so far; batches are named by their `batch_id`.

    `unplaced_rows` are those read that are in no sealed batch yet: open or held. `possibly_taken` are batches that
    Target may have; of those in `posting` a POST is under way. `error` is what ended the job early, and `ended_by` are
    errors that are about to. `waiting` says in words what nothing goes on without. A rehearsal sends nothing.
    """

    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    export_bytes: int = 0
    bytes_read: int = 0
    sha256: str = ""
    unplaced_rows: int = 0
    held_rows: int = 0
    last_number: int = 0
    sealed: dict[int, Batch] = field(default_factory=dict)
    possibly_taken: set[int] = field(default_factory=set)
    posting: set[int] = field(default_factory=set)
    accepted: set[int] = field(default_factory=set)
    settled: dict[int, Settled] = field(default_factory=dict)
    calls: int = 0
    waiting: str | None = None
    reading_is_done: bool = False
    is_abandoned: bool = False
    is_dry_run: bool = False
    error: "PipelineError | None" = None
    ended_by: "list[PipelineError]" = field(default_factory=list)

    def allot_number(self) -> int:
        """The number of the next batch of this job, from 1; given once only."""
        self.last_number += 1
        return self.last_number

    @property
    def rejects_by_reason(self) -> Counter[str]:
        """Rejected rows by reason, those that Target refused with them."""
        refused = sum(settled.rejected for settled in self.settled.values())
        return self.checkpoint.by_reason + Counter({TARGET_REFUSED: refused})

    def rows(self) -> RowCounts:
        """What has become of the rows so far; all classes but `unsent` are final."""
        checkpoint, settled = self.checkpoint, self.settled.values()
        return RowCounts(
            read=checkpoint.read,
            superseded=checkpoint.superseded,
            empty=checkpoint.empty,
            rejected=checkpoint.rejected + sum(batch.rejected for batch in settled),
            confirmed=sum(batch.confirmed for batch in settled),
            failed=sum(batch.failed for batch in settled),
            unconfirmed=sum(batch.unconfirmed for batch in settled),
        )

    def close(self) -> RowCounts:
        """The classes of all rows of a job that has ended; raises `FatalError` unless each row is in exactly one.

        Rows of a batch that Target may have are unconfirmed; all others that did not get that far are unsent.
        """
        rows = self.rows()
        rows.unsent = self.unplaced_rows
        for batch_id, batch in self.sealed.items():
            if batch_id in self.settled:
                continue
            if batch_id in self.possibly_taken:
                rows.unconfirmed += batch.rows
            else:
                rows.unsent += batch.rows
        rows.check()
        return rows

    def batches(self) -> list[Settled]:
        """The settled batches in the order of their numbers."""
        return sorted(self.settled.values(), key=lambda settled: settled.batch.number)

    @property
    def batches_under_way(self) -> int:
        """Batches that Target accepted and that are not settled."""
        return len(self.accepted - self.settled.keys())

    @property
    def sealed_rows(self) -> int:
        """Rows in sealed batches, counted once where a batch was split."""
        return sum(batch.rows for batch in self.sealed.values() if batch.parent is None)

    def whole_of(self, batch: Batch) -> int:
        """The `batch_id` of the batch of which a batch is a part after splits; its own if it is none."""
        while batch.parent is not None:
            batch = self.sealed[batch.parent]
        return batch.batch_id
