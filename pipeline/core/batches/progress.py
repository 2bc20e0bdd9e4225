"""The progress of a running job: one mutable record, written by its steps, read by screen and report."""

from collections import Counter
from dataclasses import dataclass, field

from pipeline.core.batches.book import Book
from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.lifecycle import Phase
from pipeline.core.model import RowCounts
from pipeline.core.target.time_spent import TimeSpent

#: The reason of rejects that Target refused; Target's message goes with it.
TARGET_REFUSED = "target.refused"


@dataclass(slots=True)
class Progress:
    """The counts of a job so far; `book` has its batches.

    `unplaced_rows`: rows read that are in no sealed batch yet, but open or held. `posts_under_way`: POSTs that may have
    begun and have not ended. `waiting`: in words, what the producer waits for. `is_all_sealed`: no batch will come but
    children of these. `is_dry_run`: nothing is sent. `is_in_sandbox`: a sandbox answers in Target's place, or did when
    there was an answer last. `calls_refused_below_share`: see `CallQueue`; of the runs before too.

    `began_at`: the monotonic time at which this run began, in seconds. `calls_of_run`: calls to Target in it.
    `time_spent`: where the time of this run went.
    `seconds_before`, `calls_before`: the same of the runs before, as far as they are known.
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
    began_at: float = 0.0
    seconds_before: float = 0.0
    calls_before: int = 0
    calls_of_run: int = 0
    calls_refused_below_share: int = 0
    time_spent: TimeSpent = field(init=False)
    waiting: str | None = None
    reading_is_done: bool = False
    is_all_sealed: bool = False
    is_dry_run: bool = False
    is_in_sandbox: bool = False

    def __post_init__(self) -> None:
        self.time_spent = TimeSpent(self.began_at)

    def allot_number(self) -> int:
        """The number of the next batch of this job, from 1; each is returned once only."""
        self.last_number += 1
        return self.last_number

    @property
    def rejects_by_reason(self) -> Counter[str]:
        """Rejected rows by reason, those that Target refused among them."""
        return self.checkpoint.by_reason + Counter({TARGET_REFUSED: self.book.refused_rows})

    def rows(self) -> RowCounts:
        """The classes of the rows so far. A count only grows; `unsent` and `pending` are 0 until `close`."""
        checkpoint = self.checkpoint
        rows = RowCounts(
            read=checkpoint.read,
            superseded=checkpoint.superseded,
            unchanged=checkpoint.unchanged,
            excluded=checkpoint.excluded,
            empty=checkpoint.empty,
            rejected=checkpoint.rejected,
        )
        self.book.count(rows)
        return rows

    def close(self, *, goes_on: bool = False) -> RowCounts:
        """The classes of all rows at the end of a run. Raises `FatalError` unless each row is in exactly one.

        If the job `goes_on` with the next run, all rows without an outcome are pending. If it has ended, rows of an
        unsettled batch that Target may have are unconfirmed; all other rows left are unsent.
        """
        rows = self.rows()
        if goes_on:
            rows.pending = self.unplaced_rows
        else:
            rows.unsent = self.unplaced_rows
        self.book.close(rows, goes_on=goes_on)
        rows.check()
        return rows

    @property
    def calls(self) -> int:
        """Calls to Target in all runs of the job."""
        return self.calls_before + self.calls_of_run

    def seconds(self, now: float) -> float:
        """The duration of all runs of the job, up to the monotonic time `now`."""
        return self.seconds_before + now - self.began_at

    @property
    def batches_under_way(self) -> int:
        """The number of batches that Target accepted and that are not settled."""
        return self.book.phases()[Phase.FOLLOWING]
