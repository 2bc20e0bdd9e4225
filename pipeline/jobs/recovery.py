"""What a process takes up: the batches of a job that begins or goes on, and what is in flight from earlier ones."""

from dataclasses import dataclass

from pipeline.core.batches.in_flight import Due, InFlight
from pipeline.core.batches.lifecycle import Fact, Life, Phase, Released, SplitUp, after_restart, release_at, settlement
from pipeline.core.errors import FatalError
from pipeline.core.model import Batch
from pipeline.edges.clock import Clock
from pipeline.edges.store.records import BatchRecord
from pipeline.edges.store.state import State, inherited, life_of
from pipeline.jobs.claims import in_order
from pipeline.jobs.job import Job


@dataclass(frozen=True, slots=True)
class Recovered:
    """What of a job has to go on: its unsettled batches.

    `proven` are the refused batches of which a part was accepted; `has_accepted`: any batch was.
    """

    to_deliver: tuple[tuple[Batch, Life], ...]
    proven: frozenset[int]
    has_accepted: bool


@dataclass(frozen=True, slots=True)
class Posts:
    """The number of the next POST, and those of which the status is waited for, whichever job they are of."""

    next_number: int
    open_numbers: tuple[int, ...]


async def recover_in_flight(in_flight: InFlight, state: State, clock: Clock, hold_s: float) -> Posts:
    """Take up what is in flight from jobs that have ended; unfinished ones take up their own as they go on."""
    unfinished = {job.seq for job in await state.in_turn(state.ledger.jobs, unfinished_only=True)}
    open_numbers: list[int] = []
    for record in await state.in_turn(state.ledger.batches):
        life = await _life(state, record)
        if record.job in unfinished:
            if life.phase is Phase.FOLLOWING and life.post_number is not None:
                open_numbers.append(life.post_number)
        elif life.phase is not Phase.SETTLED:
            raise FatalError(f"batch {record.batch.batch_id} of an ended job is unsettled: a bug, please report it.")
        else:
            await _take_up(in_flight, state, record, _due(record, life, clock.monotonic(), hold_s))
    return Posts(await state.in_turn(state.ledger.next_post_number), tuple(open_numbers))


async def begun_jobs(state: State) -> list[int]:
    """The unfinished jobs that have begun, in their order."""
    records = await state.in_turn(state.ledger.jobs, unfinished_only=True)
    return [record.seq for record in in_order(records) if record.has_begun]


@dataclass(frozen=True, slots=True)
class Standing:
    """A batch of a job as a new process finds it; `fact` is to be written down before it goes on."""

    record: BatchRecord
    life: Life
    fact: Fact | None


async def take_stock(job: Job) -> list[Standing]:
    """Count the job's batches where the ledger says they stand: whatever goes wrong from here on, its report is right.

    Attempts that a crash cut off are ambiguous from now on; holds begin anew.
    """
    state, progress, now = job.state, job.progress, job.clock.monotonic()
    stock: list[Standing] = []
    for record in await state.in_turn(state.ledger.batches, job=job.record):
        life, fact = after_restart(await _life(state, record), now)
        stock.append(Standing(record, life, fact))
        batch = record.batch
        progress.sealed[batch.batch_id] = batch
        progress.last_number = max(progress.last_number, batch.number)
        if life.phase is not Phase.SETTLED:
            _note_under_way(job, batch, life)
        elif not life.is_never_sent:
            hold_s = job.settings.settle.ambiguous_hold_s
            progress.settled[batch.batch_id] = settlement(batch, life, now=now, hold_s=hold_s)
    # Until the producer has taken them up, and if it never does.
    progress.unplaced_rows = progress.held_rows = len(await state.in_turn(state.ledger.held_rows, job.record))
    return stock


async def recover(job: Job, stock: list[Standing]) -> Recovered:
    """Take up the job's batches where they stand. What a crash cut off is written down, once."""
    state, hold_s = job.state, job.settings.settle.ambiguous_hold_s
    for each in stock:
        record, life = each.record, each.life
        if each.fact:
            await state.in_turn(state.ledger.add_fact, record.batch.batch_id, each.fact)
        if record.is_open and not isinstance(life.last, SplitUp):
            is_due = life.phase is Phase.SETTLED and not life.is_never_sent
            due = _due(record, life, job.clock.monotonic(), hold_s) if is_due else None
            await _take_up(job.in_flight, state, record, due)
    return Recovered(
        to_deliver=tuple((each.record.batch, each.life) for each in stock if each.life.phase is not Phase.SETTLED),
        proven=frozenset(
            job.progress.whole_of(each.record.batch)
            for each in stock
            if each.life.status_url and each.record.batch.parent is not None
        ),
        has_accepted=any(each.life.status_url for each in stock),
    )


async def _take_up(in_flight: InFlight, state: State, record: BatchRecord, due: Due | None) -> None:
    batch_id = record.batch.batch_id
    parameters = await state.in_turn(state.spool.parameters, batch_id)
    in_flight.add(record.job, batch_id, await state.in_turn(state.spool.hashes, batch_id), parameters, due)


async def _life(state: State, record: BatchRecord) -> Life:
    """The life of a batch as the ledger has it."""
    is_part = record.batch.parent is not None
    return life_of(record, await state.in_turn(inherited, state.ledger, record.batch) if is_part else ())


def _note_under_way(job: Job, batch: Batch, life: Life) -> None:
    if life.may_be_applied:
        job.progress.possibly_taken.add(batch.batch_id)
    if life.phase is Phase.FOLLOWING:
        job.progress.accepted.add(batch.batch_id)


def _due(record: BatchRecord, life: Life, now: float, hold_s: float) -> Due:
    """When a settled batch is free. One that was released already is only waited for by rows that carry from it."""
    at = release_at(after_restart(life, now)[0], settled_at=now, hold_s=hold_s)
    is_released = Released() in record.facts
    failed_ids = getattr(life.last, "failed_ids", ())
    return Due(float("-inf") if is_released else at, record.batch.batch_id, life.may_be_applied, failed_ids)
