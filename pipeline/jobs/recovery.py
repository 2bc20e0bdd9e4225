"""Recovery: a new process takes up the batches of a job, and the batches in flight of jobs that have ended.

A job that was set aside is brought to its end from here as well: what is durable of it decides, as after a crash.
"""

from dataclasses import dataclass

from pipeline.core.batches.in_flight import Due, InFlight
from pipeline.core.batches.lifecycle import (
    Fact,
    GivenUp,
    Life,
    Phase,
    Released,
    SplitUp,
    after_restart,
    fold,
    release_at,
)
from pipeline.core.model import Batch
from pipeline.edges.store.records import BatchRecord
from pipeline.edges.store.state import State, life_of
from pipeline.jobs.job import Job


@dataclass(frozen=True, slots=True)
class Recovered:
    """The unsettled batches of a job, to be delivered.

    `proven`: refused batches of which a child was accepted. `has_accepted`: True if any batch of the job was.
    """

    to_deliver: tuple[Batch, ...]
    proven: frozenset[int]
    has_accepted: bool


@dataclass(frozen=True, slots=True)
class Posts:
    """The number of the next POST, and the numbers of those whose status is waited for, in all unfinished jobs."""

    next_number: int
    open_numbers: tuple[int, ...]


async def recover_in_flight(in_flight: InFlight, state: State, hold_s: float) -> Posts:
    """Take up the batches in flight of jobs that have ended; unfinished jobs take up their own as they go on."""
    clock = state.host.clock
    unfinished = await state.in_turn(state.ledger.unfinished_with_open_batches)
    open_numbers: list[int] = []
    records = await state.in_turn(state.ledger.batches)
    open_ids = {record.batch.batch_id for record in records}
    state.ages = {batch_id: ages for batch_id, ages in state.ages.items() if batch_id in open_ids}
    for record in records:
        life = await state.in_turn(life_of, state.ledger, record)
        if record.job in unfinished:
            if life.phase is Phase.FOLLOWING and life.post_number is not None:
                open_numbers.append(life.post_number)
        elif life.phase is not Phase.SETTLED:
            raise state.ledger.damaged(f"batch {record.batch.batch_id} of an ended job is unsettled")
        else:
            ages = state.ages.get(record.batch.batch_id)
            life, _ = after_restart(life, clock.monotonic(), ages)
            await _take_up(in_flight, state, record, _due(record, life, clock.monotonic(), hold_s))
    return Posts(await state.in_turn(state.ledger.next_post_number), tuple(open_numbers))


async def begun_jobs(state: State) -> list[int]:
    """The `seq` of each unfinished job that has begun, in their order."""
    return [record.seq for record in await state.in_turn(state.ledger.begun_jobs)]


@dataclass(frozen=True, slots=True)
class Standing:
    """A batch of a job as a new process finds it; `fact`, if any, must be in the ledger before the batch goes on."""

    record: BatchRecord
    fact: Fact | None


async def take_stock(job: Job) -> list[Standing]:
    """Enter the job's batches in its book as the ledger has them: whatever fails from here on, the report is right.

    Attempts that a crash cut off are ambiguous from now on; holds begin anew, unless this process knows their ages.
    """
    state, progress, now = job.state, job.progress, job.clock.monotonic()
    hold_s = job.settings.settle.ambiguous_hold_s
    stock: list[Standing] = []
    for record in await state.in_turn(state.ledger.batches, job=job.record):
        life = await state.in_turn(life_of, state.ledger, record)
        ages = state.ages.get(record.batch.batch_id)
        fact = progress.book.adopt(record.batch, life, now=now, hold_s=hold_s, ages=ages)
        # An earlier run in this process may have written down that rows are lost, and have come no further.
        state.note_lost(record)
        stock.append(Standing(record, fact))
    progress.last_number = progress.book.last_number
    # The report needs these counts even if the producer never runs; it overwrites them when it does.
    progress.held_rows = len(await state.in_turn(state.ledger.held_rows, job.record))
    progress.unplaced_rows = progress.held_rows + progress.checkpoint.gathered.left
    return stock


async def recover(job: Job, stock: list[Standing]) -> Recovered:
    """Take up the job's batches where they stand. A cut-off attempt is recorded as ambiguous, once."""
    state, book, hold_s = job.state, job.progress.book, job.settings.settle.ambiguous_hold_s
    for each in stock:
        record, life = each.record, book.life(each.record.batch.batch_id)
        if each.fact:
            await state.in_turn(state.ledger.add_fact, record.batch.batch_id, each.fact)
        if record.is_open and not isinstance(life.last, SplitUp):
            is_due = life.phase is Phase.SETTLED and not life.is_never_sent
            due = _due(record, life, job.clock.monotonic(), hold_s) if is_due else None
            await _take_up(job.in_flight, state, record, due)
    were_accepted = [batch for batch in book if book.life(batch.batch_id).status_url]
    return Recovered(
        to_deliver=tuple(batch for batch in book if book.life(batch.batch_id).phase is not Phase.SETTLED),
        proven=frozenset(book.whole_of(batch) for batch in were_accepted if batch.parent is not None),
        has_accepted=bool(were_accepted),
    )


async def settle_unfollowed(job: Job, why: str) -> None:
    """Settle the batches of a job that is not followed any more, as the ledger has them, and take them up.

    What Target may have is unconfirmed, for the reason `why`, and held as any such batch. The others were never sent:
    the end of the job notes that. It may be done again after a crash in the middle.
    """
    state, now, hold_s = job.state, job.clock.monotonic(), job.settings.settle.ambiguous_hold_s
    for record in await state.in_turn(state.ledger.batches, job=job.record):
        batch_id = record.batch.batch_id
        ages = state.ages.get(batch_id)
        life, cut_off = after_restart(await state.in_turn(life_of, state.ledger, record), now, ages)
        facts = [cut_off] if cut_off else []
        if life.phase is not Phase.SETTLED and life.may_be_applied:
            facts.append(GivenUp(why))
            life = fold(life, facts[-1], now)
        for fact in facts:
            await state.in_turn(state.ledger.add_fact, batch_id, fact)
        if facts:
            state.note_lost(BatchRecord(record.batch, record.job, tuple(facts)))
        if record.is_open and not isinstance(life.last, SplitUp):
            is_due = life.phase is Phase.SETTLED and not life.is_never_sent
            await _take_up(job.in_flight, state, record, _due(record, life, now, hold_s) if is_due else None)


async def never_sent_of(job: Job) -> list[int]:
    """The ids of the batches of a job that ends now that were never sent, as the ledger has them."""
    state = job.state
    records = await state.in_turn(state.ledger.batches, job=job.record)
    lives = [(record.batch.batch_id, await state.in_turn(life_of, state.ledger, record)) for record in records]
    return [batch_id for batch_id, life in lives if life.phase is not Phase.SETTLED]


async def _take_up(in_flight: InFlight, state: State, record: BatchRecord, due: Due | None) -> None:
    batch_id = record.batch.batch_id
    parameters = await state.in_turn(state.spool.parameters, batch_id)
    in_flight.add(record.job, batch_id, await state.in_turn(state.spool.hashes, batch_id), parameters, due)


def _due(record: BatchRecord, life: Life, now: float, hold_s: float) -> Due:
    """The time of release of a settled batch. One already released is due at once: only carrying rows await it."""
    at = release_at(life, settled_at=now, hold_s=hold_s)
    is_released = Released() in record.facts
    failed_ids = getattr(life.last, "failed_ids", ())
    return Due(float("-inf") if is_released else at, record.batch.batch_id, life.may_be_applied, failed_ids)
