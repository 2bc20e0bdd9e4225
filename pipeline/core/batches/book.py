"""The book of a job: where each of its batches stands. A fact counts only here.

Delivery, recovery and `status` all ask the book; nobody else keeps a list of batches that are posted, followed or
settled. A fact is entered when it is durable in the ledger, never before. Counts and lists are derived from the facts
on request, and not stored.
"""

from collections import Counter
from collections.abc import Collection, Iterator

from pipeline.core.batches.lifecycle import (
    Ages,
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
from pipeline.core.plural import counted
from pipeline.core.rows.encoding import encode
from pipeline.core.target.replies import Complete, NamedRows, RowOutcomes, count_rows


class Book:
    """The batches of one job by `batch_id`, each with its life. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._batches: dict[int, Batch] = {}
        self._lives: dict[int, Life] = {}
        # The outcome of a settled batch never changes.
        self._settled: dict[int, Settled] = {}

    # Changes.

    def seal(self, batch: Batch) -> None:
        """Enter a new batch, which waits to be sent."""
        self._put(batch, Life())

    def adopt(self, batch: Batch, life: Life, *, now: float, hold_s: float, ages: Ages | None = None) -> Fact | None:
        """Enter a batch of an earlier process, or with `ages` of an earlier run in this one.

        A returned fact must be in the ledger before the batch goes on.
        """
        life, fact = after_restart(life, now, ages)
        self._put(batch, life)
        self._settle(batch.batch_id, now, hold_s)
        return fact

    def split(self, batch_id: int, children: tuple[Batch, Batch], *, now: float) -> None:
        """Replace a refused batch by two children, which have its rows and its open attempts."""
        whole = self._lives[batch_id]
        split = fold(whole, SplitUp((children[0].batch_id, children[1].batch_id)), now)
        for child in children:
            self._put(child, born_of(whole))
        self._lives[batch_id] = split
        self._settle(batch_id, now, hold_s=0.0)

    def check(self, batch_id: int, fact: Fact) -> None:
        """Raise `IllegalFactError` unless this fact may happen to the batch now; asked before the ledger is written."""
        check_legal(self._lives[batch_id], fact)

    def record(self, batch_id: int, fact: Fact, *, now: float, hold_s: float) -> Life:
        """Enter a durable fact, and return the life after it. An `IllegalFactError` changes nothing."""
        life = self._lives[batch_id] = fold(self._lives[batch_id], fact, now)
        self._settle(batch_id, now, hold_s)
        return life

    def try_again(self, batch_id: int) -> None:
        """Let a refused batch be sent once more."""
        self._lives[batch_id] = try_again(self._lives[batch_id])

    # Questions.

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over all batches, split ones too, in the order in which they were entered."""
        return iter(self._batches.values())

    def __len__(self) -> int:
        return len(self._batches)

    def ages(self) -> dict[int, Ages]:
        """The ages of batches with open or followed attempts, for a later run of the job in this process."""
        lives = self._lives.items()
        counting = [(key, life) for key, life in lives if life.open_since or life.phase is Phase.FOLLOWING]
        return {batch_id: Ages(life.open_since, life.posted_at) for batch_id, life in counting}

    def life(self, batch_id: int) -> Life:
        """The life of a batch, as its facts have it."""
        return self._lives[batch_id]

    @property
    def settled(self) -> list[Settled]:
        """The outcomes of the settled batches, in the order of their numbers."""
        return sorted(self._settled.values(), key=lambda settled: settled.batch.number)

    def outcome(self, batch_id: int) -> Settled | None:
        """The outcome of a batch; None if it is not settled, or its job ended before it was sent (`NeverSent`)."""
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
        """True if every batch is settled."""
        return not self.unsettled_count

    @property
    def oldest_posted_at(self) -> float | None:
        """The time of the POST of the batch whose status is awaited for longest; None if none is."""
        return min((life.posted_at for life in self._lives.values() if life.phase is Phase.FOLLOWING), default=None)

    def phases(self) -> Counter[Phase]:
        """The number of batches in each phase."""
        return Counter(life.phase for life in self._lives.values())

    @property
    def last_number(self) -> int:
        """The highest number of a batch; 0 if there is none."""
        return max((batch.number for batch in self._batches.values()), default=0)

    @property
    def rows(self) -> int:
        """Rows in sealed batches; those of a split batch count once."""
        return sum(batch.rows for batch in self._batches.values() if batch.parent is None)

    @property
    def refused_rows(self) -> int:
        """Rows that Target rejected."""
        return sum(settled.rejected for settled in self._settled.values())

    @property
    def misread(self) -> int:
        """The number of batches of which Target read other rows than were sent."""
        return sum(
            isinstance(life.last, SeenComplete) and life.last.batch_size is not None for life in self._lives.values()
        )

    @property
    def refused_as_empty(self) -> int:
        """The number of batches in which Target found no row; their children do not count again."""
        lives, batches = self._lives, self._batches.values()
        return sum(lives[each.batch_id].is_refused_as_empty and not self._is_of_empty(each) for each in batches)

    def _is_of_empty(self, batch: Batch) -> bool:
        return batch.parent is not None and self._lives[batch.parent].is_refused_as_empty

    def count(self, rows: RowCounts) -> None:
        """Add the rows of settled batches to their classes."""
        for settled in self._settled.values():
            rows.rejected += settled.rejected
            rows.confirmed += settled.confirmed
            rows.failed += settled.failed
            rows.unconfirmed += settled.unconfirmed

    def close(self, rows: RowCounts, *, goes_on: bool) -> None:
        """Add the rows of unsettled batches: pending if the job goes on with the next run.

        If it has ended, they are unconfirmed where Target may have them, else unsent.
        """
        for batch in self.unsettled:
            if goes_on:
                rows.pending += batch.rows
            elif self._lives[batch.batch_id].may_be_applied:
                rows.unconfirmed += batch.rows
            else:
                rows.unsent += batch.rows

    def whole_of(self, batch: Batch) -> int:
        """The `batch_id` of the batch that was split, once or more, into this one; its own if it is no part."""
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
        case SeenComplete(failed, unconfirmed, failed_ids) as seen:
            outcomes = RowOutcomes(rows - failed - unconfirmed, failed, unconfirmed)
            return BatchState.COMPLETE, outcomes, _why_not_all(rows, seen), failed_ids
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


def _why_not_all(rows: int, seen: SeenComplete) -> str | None:
    """The reason why not all rows of a completed batch are confirmed, or can be right; None if there is none."""
    whys = []
    if seen.batch_size is not None:
        whys.append(f"Target read {counted(seen.batch_size, 'row')}, and {rows:,} were sent")
    told = [f"failed {counted(seen.failed, 'row')}"] if seen.failed else []
    told += [f"did not count {counted(seen.unconfirmed, 'row')} as applied"] if seen.unconfirmed else []
    whys += [f"Target {' and '.join(told)}"] if told else []
    return "; ".join(whys) or None


def named_rows(complete: Complete, in_batch: Collection[bytes]) -> NamedRows:
    """The rows that the ids of an answer name. A row that is named both as failed and otherwise is a failed one."""
    failed, failed_strays = _rows_named(complete.failed_ids, in_batch)
    unknown, unknown_strays = _rows_named(complete.unknown_ids, in_batch)
    return NamedRows(len(failed), len(unknown - failed), failed_strays, unknown_strays)


def _rows_named(ids: tuple[str, ...], in_batch: Collection[bytes]) -> tuple[set[bytes], int]:
    """The encoded ids of the rows that these ids name, and how many of them name none."""
    rows, strays = set(), 0
    for each in ids:
        forms = (encode(each.encode()), each.encode())
        row = next((form for form in forms if form in in_batch), None)
        if row is None:
            strays += 1
        else:
            rows.add(row)
    return rows, strays


def seen_complete(rows: int, complete: Complete, in_batch: Collection[bytes]) -> SeenComplete:
    """The fact that follows from the `complete` status of a batch with this number of rows.

    `in_batch`: those of the ids named, encoded in either way that Target may name them, that the batch holds.
    """
    outcomes = count_rows(rows, complete, named_rows(complete, in_batch))
    differs = complete.batch_size is not None and complete.batch_size != rows
    return SeenComplete(
        outcomes.failed,
        outcomes.unconfirmed,
        complete.failed_ids,
        complete.unknown_ids,
        complete.batch_size if differs else None,
    )
