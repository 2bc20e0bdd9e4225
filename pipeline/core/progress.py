"""What is known of a job while it runs: one mutable record, written by the steps, read by screen and report."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.core.model import Batch, Reject, RowCounts, Settled, Warnings

if TYPE_CHECKING:
    from pipeline.core.errors import PipelineError

#: So many rejects are named where the number of rejects stops a job.
_FIRST_REJECTS = 3


@dataclass(slots=True)
class Progress:
    """The counts and batches of a job so far.

    `rows` holds what is already final of each class; rows in sealed batches enter it as the batches settle.
    `error` is what ended the job early. `waiting` says in words what nothing goes on without, if anything.
    """

    rows: RowCounts = field(default_factory=RowCounts)
    warnings: Warnings = field(default_factory=Warnings)
    export_bytes: int = 0
    bytes_read: int = 0
    sha256: str = ""
    columns_sent: tuple[str, ...] = ()
    rejects_by_reason: Counter[str] = field(default_factory=Counter)
    first_rejects: list[Reject] = field(default_factory=list)
    sealed: dict[int, Batch] = field(default_factory=dict)
    possibly_taken: set[int] = field(default_factory=set)
    accepted: set[int] = field(default_factory=set)
    settled: dict[int, Settled] = field(default_factory=dict)
    held_rows: int = 0
    rows_to_place: int = 0
    calls: int = 0
    waiting: str | None = None
    reading_is_done: bool = False
    error: "PipelineError | None" = None

    def reject(self, rejects: list[Reject]) -> None:
        """Count these rejected rows."""
        self.rows.rejected += len(rejects)
        self.rejects_by_reason.update(reject.reason.value for reject in rejects)
        self.first_rejects += rejects[: _FIRST_REJECTS - len(self.first_rejects)]

    def settle(self, settled: Settled) -> None:
        """A batch is settled: its rows are in their classes now."""
        self.settled[settled.batch.number] = settled
        self.rows.confirmed += settled.confirmed
        self.rows.failed += settled.failed
        self.rows.unconfirmed += settled.unconfirmed

    def close(self) -> None:
        """The job has ended: put every row that is in no class yet into one, and check that all are in one.

        Rows of a batch that Target may have are unconfirmed; all others that did not get that far are unsent.
        """
        for number, batch in self.sealed.items():
            if number in self.settled:
                continue
            if number in self.possibly_taken:
                self.rows.unconfirmed += batch.rows
            else:
                self.rows.unsent += batch.rows
        self.rows.unsent += self.rows_to_place
        self.rows_to_place = 0
        self.rows.check()
