"""What a job stands at when a process begins it or goes on with it: its batches, and all that is in flight."""

from dataclasses import dataclass

from pipeline.core.errors import FatalError
from pipeline.core.lifecycle import Life, Phase, Released, SplitUp, after_restart, release_at, settlement
from pipeline.core.model import Batch
from pipeline.edges.ledger import BatchRecord
from pipeline.edges.state import inherited, life_of
from pipeline.job import Job
from pipeline.producer import Due, InFlight


@dataclass(frozen=True, slots=True)
class Recovered:
    """What has to go on: this job's unsettled batches, and the numbers of the POSTs whose statuses are waited for.

    `proven` are the refused batches of which a part was accepted; `has_accepted`: any batch was.
    """

    to_deliver: tuple[tuple[Batch, Life], ...]
    in_flight: InFlight
    next_post_number: int
    open_posts: tuple[int, ...]
    proven: frozenset[int]
    has_accepted: bool


async def recover(job: Job) -> Recovered:
    """Take up the job's batches where the ledger says they stand, and all that is in flight from earlier jobs.

    Attempts that a crash cut off become ambiguous here, once; holds begin anew.
    """
    state, ledger = job.state, job.state.ledger
    own = await _lives(job, await state.call(ledger.batches, job=job.record))
    others = await _lives(job, [record for record in await state.call(ledger.batches) if record.job != job.record.seq])
    to_deliver: list[tuple[Batch, Life]] = []
    due: list[Due] = []
    for record, life in own:
        job.progress.sealed[record.batch.batch_id] = record.batch
        job.progress.last_number = max(job.progress.last_number, record.batch.number)
        if life.phase is not Phase.SETTLED:
            to_deliver.append((record.batch, life))
            _note_under_way(job, record.batch, life)
            continue
        if not life.is_dropped:
            due += _settle(job, record, life)
    for record, life in others:
        if life.phase is not Phase.SETTLED:
            raise FatalError(f"batch {record.batch.batch_id} of an earlier job is unsettled: a bug, please report it.")
        due.append(_due(job, record, life))
    # Until the producer has taken them up, and if it never does.
    job.progress.unplaced_rows = job.progress.held_rows = len(await state.call(ledger.held_rows, job.record))
    parameters = [
        name for record, _ in others for name in await state.call(job.spool.parameters, record.batch.batch_id)
    ]
    return Recovered(
        to_deliver=tuple(to_deliver),
        in_flight=InFlight(
            unsettled=tuple(batch.batch_id for batch, _ in to_deliver),
            due=tuple(due),
            parameters=tuple(dict.fromkeys(parameters)),
        ),
        next_post_number=await state.call(ledger.next_post_number),
        open_posts=tuple(
            life.post_number for _, life in to_deliver if life.phase is Phase.FOLLOWING and life.post_number is not None
        ),
        proven=frozenset(
            job.progress.whole_of(record.batch)
            for record, life in own
            if life.status_url and record.batch.parent is not None
        ),
        has_accepted=any(life.status_url for _, life in own),
    )


async def _lives(job: Job, records: list[BatchRecord]) -> list[tuple[BatchRecord, Life]]:
    """The lives of batches as this process finds them."""
    lives = []
    now = job.clock.monotonic()
    for record in records:
        batch = record.batch
        open_since = () if batch.parent is None else await job.state.call(inherited, job.state.ledger, batch)
        life, fact = after_restart(life_of(record, open_since), now)
        if fact:
            await job.state.call(job.state.ledger.add_fact, batch.batch_id, fact)
        lives.append((record, life))
    return lives


def _note_under_way(job: Job, batch: Batch, life: Life) -> None:
    if life.may_be_applied:
        job.progress.possibly_taken.add(batch.batch_id)
    if life.phase is Phase.FOLLOWING:
        job.progress.accepted.add(batch.batch_id)


def _settle(job: Job, record: BatchRecord, life: Life) -> list[Due]:
    """Count a batch that is settled already; when it is due, unless it is released or was split."""
    now = job.clock.monotonic()
    hold_s = job.settings.settle.ambiguous_hold_s
    job.progress.settled[record.batch.batch_id] = settlement(record.batch, life, now=now, hold_s=hold_s)
    is_gone = isinstance(life.last, SplitUp) or Released() in record.facts
    return [] if is_gone else [_due(job, record, life)]


def _due(job: Job, record: BatchRecord, life: Life) -> Due:
    now = job.clock.monotonic()
    at = release_at(life, settled_at=now, hold_s=job.settings.settle.ambiguous_hold_s)
    failed_ids = getattr(life.last, "failed_ids", ())
    return Due(at, record.batch.batch_id, life.may_be_applied, failed_ids)
