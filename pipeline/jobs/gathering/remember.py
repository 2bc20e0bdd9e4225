"""Remembers a batch, when it is released and before its ids are free.

Later rows of its ids wait until then (I1, I3), so nobody reads the memory before the batch is in it. And batches of an
id are released in the order of its versions (I2), so the newest one is remembered last. The transaction that makes the
release durable enters the file in the ledger: after a crash before it the batch is released anew, and remembered anew;
behind it, a batch that is released once more, because another job waited for it too, is remembered already.
"""

from functools import partial

from pipeline.core.batches.lifecycle import Phase, Released
from pipeline.core.memory.row_fates import row_fates
from pipeline.core.memory.times import minutes_of
from pipeline.edges.process.heap import give_back
from pipeline.edges.store.records import BatchRecord
from pipeline.edges.store.state import State, life_of
from pipeline.jobs.job import export_settings, source_name


async def remember(state: State, batch_id: int) -> None:
    """Write down what is remembered of a batch that is to be released; once, however many jobs release it.

    A batch that was never sent is not remembered, unless it is of one that was split and may have arrived as a whole;
    and what a job held is none.
    """
    if state.memory is None or batch_id < 0:
        return
    async with state.turn_to_remember:
        if batch_id in state.memory.pending:
            return
        record = await state.in_turn(state.ledger.batch, batch_id)
        if record is None or Released() in record.facts:
            return
        life = await state.in_turn(life_of, state.ledger, record)
        if not life.open_since and (life.is_never_sent or life.phase is not Phase.SETTLED):
            return
        sent_at = minutes_of(record.accepted_at or state.host.clock.utc_now())
        source = await state.in_turn(_source_of, state, record)
        write = partial(state.memory.remember, batch_id, row_fates(life), at_minutes=sent_at, source=source)
        # What placing rows has freed must not stand beside what this takes, nor the other way round.
        async with state.turn_to_write_memory:
            await state.host.run_blocking(give_back)
            await state.host.run_blocking(write)
            await state.host.run_blocking(give_back)


def _source_of(state: State, record: BatchRecord) -> int:
    """The number of the source of a batch's ids: 0 if it is not of a snapshot."""
    job = state.ledger.job_at(record.job)
    if job is None or job.retry_of is not None:
        return 0
    export = export_settings(job)
    return state.ledger.number_of_source(source_name(job, export)) if export.kind == "snapshot" else 0
