"""Erases ids from the ledger, the spool and the memory: from what no job needs any more.

Rows of an unfinished job, or in a batch whose ids are in flight, stay: they are about to be sent, or Target may still
be applying them, and later rows of their ids wait for that. They are told, and erased when it is asked for again.
"""

from functools import partial

from pipeline.core.erasure import Wanted, erased_from
from pipeline.core.errors import FatalError
from pipeline.edges.store.memory.memory import Memory
from pipeline.edges.store.records import BatchRecord
from pipeline.edges.store.state import State
from pipeline.jobs.forgetting.receipt import Receipt


async def erase_from_store(state: State, wanted: Wanted, receipt: Receipt) -> None:
    """Erase ids from ledger, spool and memory. Raises `FatalError` (74) if the disk refuses, or they are damaged."""
    await state.in_turn(_erase_from_batches, state, wanted, receipt)
    async with state.turn_to_merge, state.turn_to_remember:
        await state.in_turn(_erase_from_memory, state, wanted, receipt)
    await state.in_turn(_compact, state, receipt)


def _erase_from_batches(state: State, wanted: Wanted, receipt: Receipt) -> None:
    salt, profile_ids = state.ledger.salt, set(wanted.encoded)
    hashes, left = wanted.hashes(salt), partial(erased_from, wanted=wanted)
    in_flight: set[bytes] = set()
    for batch_id in sorted(state.spool.batch_ids()):
        record = state.ledger.batch(batch_id)
        rows = {} if record is None else state.spool.find_rows(batch_id, profile_ids, salt)
        if record is None or not rows:
            continue
        if _is_needed(state, record):
            in_flight |= rows.keys()
            continue
        batch = state.spool.begin_erasure(record.batch, rows.keys(), salt)
        state.ledger.erase(batch_id, hashes, left, batch)
        if batch is not None:
            state.spool.end_erasure(batch)
        _note_lost_anew(state, batch_id, has_rows=batch is not None)
        receipt.erased["spool"] += len(rows)
    state.ledger.erase_filled_in(hashes)
    for batch_id in state.ledger.batches_with_ids():
        record = state.ledger.batch(batch_id)
        if record is not None and any(left(fact) != fact for fact in record.facts) and not _is_needed(state, record):
            state.ledger.erase(batch_id, hashes, left, None)
            receipt.erased["ledger"] += 1
    if in_flight:
        has = "ids are" if len(in_flight) > 1 else "id is"
        why = "that Target may still be applying, or that no job has released: ask again when another job has ended"
        receipt.leave("spool", f"{len(in_flight):,} {has} in batches {why}")
    for job in state.ledger.jobs(unfinished_only=True):
        why = "it has not ended: its export and rows of it that wait were not looked into; ask again when it has"
        receipt.leave(f"job {job.job_id}", why)


def _is_needed(state: State, record: BatchRecord) -> bool:
    """True if the ids of a batch may be in flight, or its job has not ended."""
    job = state.ledger.job_at(record.job)
    return record.is_open or job is None or job.state is None


def _note_lost_anew(state: State, batch_id: int, *, has_rows: bool) -> None:
    """Note what an erased batch has lost now; if there is nothing to send again, its body goes."""
    state.lost.pop(batch_id, None)
    if has_rows and (record := state.ledger.batch(batch_id)) is not None:
        state.note_lost(record)
    if batch_id not in state.lost:
        state.spool.remove(batch_id)


def _erase_from_memory(state: State, wanted: Wanted, receipt: Receipt) -> None:
    remembers = state.ledger.remembers
    if not remembers:
        return
    # It may be switched off, and lie there all the same.
    directory = state.directory / "memory"
    memory = state.memory or Memory(directory, state.spool, state.ledger, with_values=remembers == "values")
    try:
        receipt.erased["memory"] += memory.forget(wanted.encoded)
    except ValueError:
        receipt.leave("memory", "rows that were just sent are about to be remembered: ask again")


def _compact(state: State, receipt: Receipt) -> None:
    """Leave no deleted row in the ledger's file: rows that waited once too."""
    try:
        is_done = state.ledger.compact()
    except FatalError as error:
        receipt.leave("ledger", f"what was deleted in it may still lie in its file: {error}")
        return
    if not is_done:
        why = "what was deleted in it may still lie in its log, ledger.db-wal, as others read it now: ask again"
        receipt.leave("ledger", why)
