"""Where each batch of a job stands: the only place in which a fact counts.

Delivery, recovery and `status` all ask the book; nobody else keeps a list of batches that are posted, followed or
settled. A fact comes here when it is durable in the ledger, never before. What follows from the facts is worked out
when it is asked for, and stored nowhere.
"""

from collections import Counter
from collections.abc import Iterator

from pipeline.core.batches.lifecycle import (
    Fact,
    Failed,
    GivenUp,
    Life,
    Phase,
    RowRejected,
    SeenComplete,
    SplitUp,
    after_restart,
    born_of,
    check_legal,
    fold,
    release_at,
    try_again,
)
from pipeline.core.model import Batch, BatchState, RowCounts, Settled
from pipeline.core.target.replies import Complete, RowOutcomes, count_rows


class Book:
    """The batches of one job by `batch_id`, each with its life. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._batches: dict[int, Batch] = {}
        self._lives: dict[int, Life] = {}
        # The outcome of a settled batch does not change: it is worked out once.
        self._settled: dict[int, Settled] = {}

    # Batches come and go on.

    def seal(self, batch: Batch) -> None:
        """A batch was sealed: it waits to be sent."""
        self._put(batch, Life())

    def adopt(self, batch: Batch, life: Life, *, now: float, hold_s: float) -> Fact | None:
        """Take up a batch as a new process finds it; the fact returned is to be written down before it goes on."""
        life, fact = after_restart(life, now)
        self._put(batch, life)
        self._settle(batch.batch_id, now, hold_s)
        return fact

    def split(self, batch_id: int, children: tuple[Batch, Batch], *, now: float) -> None:
        """A refused batch was replaced by two parts, which have its rows and its open attempts."""
        whole = self._lives[batch_id]
        split = fold(whole, SplitUp((children[0].batch_id, children[1].batch_id)), now)
        for child in children:
            self._put(child, born_of(whole))
        self._lives[batch_id] = split
        self._settle(batch_id, now, hold_s=0.0)

    def check(self, batch_id: int, fact: Fact) -> None:
        """Raise `IllegalFactError` unless this fact may happen to the batch now: asked before it is written down."""
        check_legal(self._lives[batch_id], fact)

    def record(self, batch_id: int, fact: Fact, *, now: float, hold_s: float) -> Life:
        """Let a fact count that is durable; the life after it. Raises `IllegalFactError`, and changes nothing then."""
        life = self._lives[batch_id] = fold(self._lives[batch_id], fact, now)
        self._settle(batch_id, now, hold_s)
        return life

    def try_again(self, batch_id: int) -> None:
        """A refused batch is sent once more."""
        self._lives[batch_id] = try_again(self._lives[batch_id])

    # What follows from it.

    def __iter__(self) -> Iterator[Batch]:
        """All batches, split ones too, in the order in which they came."""
        return iter(self._batches.values())

    def __len__(self) -> int:
        return len(self._batches)

    def life(self, batch_id: int) -> Life:
        """Where a batch is in its life."""
        return self._lives[batch_id]

    @property
    def settled(self) -> list[Settled]:
        """The outcomes of the settled batches, in the order of their numbers."""
        return sorted(self._settled.values(), key=lambda settled: settled.batch.number)

    def outcome(self, batch_id: int) -> Settled | None:
        """The outcome of a batch; None where it is not settled, or was dropped before it was ever sent."""
        return self._settled.get(batch_id)

    @property
    def unsettled(self) -> list[Batch]:
        """The batches that have no outcome: under way, or never to be sent."""
        return [batch for batch_id, batch in self._batches.items() if batch_id not in self._settled]

    @property
    def unsettled_count(self) -> int:
        """The number of batches without an outcome."""
        return len(self._batches) - len(self._settled)

    @property
    def is_all_settled(self) -> bool:
        """Is every batch settled?"""
        return not self.unsettled_count

    def phases(self) -> Counter[Phase]:
        """The number of batches in each phase."""
        return Counter(life.phase for life in self._lives.values())

    @property
    def last_number(self) -> int:
        """The highest number of a batch, 0 where there is none."""
        return max((batch.number for batch in self._batches.values()), default=0)

    @property
    def rows(self) -> int:
        """Rows in sealed batches, counted once where a batch was split."""
        return sum(batch.rows for batch in self._batches.values() if batch.parent is None)

    @property
    def refused_rows(self) -> int:
        """Rows that Target rejected."""
        return sum(settled.rejected for settled in self._settled.values())

    def count(self, rows: RowCounts) -> None:
        """Add the rows of settled batches to their classes."""
        for settled in self._settled.values():
            rows.rejected += settled.rejected
            rows.confirmed += settled.confirmed
            rows.failed += settled.failed
            rows.unconfirmed += settled.unconfirmed

    def close(self, rows: RowCounts) -> None:
        """Add the rows of unsettled batches as they stand when the job ends: unconfirmed where Target may have them."""
        for batch in self.unsettled:
            if self._lives[batch.batch_id].may_be_applied:
                rows.unconfirmed += batch.rows
            else:
                rows.unsent += batch.rows

    def whole_of(self, batch: Batch) -> int:
        """The `batch_id` of the batch of which a batch is a part after splits; its own if it is none."""
        while batch.parent is not None:
            batch = self._batches[batch.parent]
        return batch.batch_id

    def _put(self, batch: Batch, life: Life) -> None:
        self._batches[batch.batch_id] = batch
        self._lives[batch.batch_id] = life

    def _settle(self, batch_id: int, now: float, hold_s: float) -> None:
        life = self._lives[batch_id]
        if life.phase is Phase.SETTLED and not life.is_never_sent and batch_id not in self._settled:
            self._settled[batch_id] = settlement(self._batches[batch_id], life, now=now, hold_s=hold_s)


def settlement(batch: Batch, life: Life, *, now: float, hold_s: float) -> Settled:
    """The final outcome of a settled batch, with its rows counted by class."""
    state, rows, why, failed_ids = _outcome(batch.rows, life)
    return Settled(
        batch=batch,
        state=state,
        confirmed=rows.confirmed,
        failed=rows.failed,
        unconfirmed=rows.unconfirmed,
        attempts=life.attempts,
        release_at=release_at(life, settled_at=now, hold_s=hold_s),
        may_be_applied=life.may_be_applied,
        failed_ids=failed_ids,
        why=why,
        rejected=batch.rows if isinstance(life.last, RowRejected) else 0,
    )


def _outcome(rows: int, life: Life) -> tuple[BatchState, RowOutcomes, str | None, tuple[str, ...]]:
    is_open = bool(life.open_since)
    match life.last:
        case SeenComplete(failed, unconfirmed, failed_ids):
            outcomes = RowOutcomes(rows - failed - unconfirmed, failed, unconfirmed)
            why = f"Target failed {failed} rows and did not consume {unconfirmed}" if failed or unconfirmed else None
            return BatchState.COMPLETE, outcomes, why, failed_ids
        case GivenUp(why):
            return BatchState.UNCONFIRMED, RowOutcomes(0, 0, rows), why, ()
        case Failed(why) if not is_open:
            return BatchState.FAILED, RowOutcomes(0, rows, 0), why, ()
        case Failed(why):
            return BatchState.UNCONFIRMED, RowOutcomes(0, 0, rows), f"{why}; an earlier attempt may be applied", ()
        case SplitUp():
            return BatchState.SPLIT, RowOutcomes(0, 0, 0), None, ()
        case RowRejected(message=message):
            return BatchState.FAILED, RowOutcomes(0, 0, 0), f"its row was rejected: {message}", ()
    raise ValueError(f"a batch that {life.phase} has no outcome")


def seen_complete(rows: int, complete: Complete) -> SeenComplete:
    """The fact that a status of a batch of so many rows tells."""
    outcomes = count_rows(rows, complete)
    return SeenComplete(outcomes.failed, outcomes.unconfirmed, complete.failed_ids)
