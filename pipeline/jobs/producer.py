"""Reads an export and seals batches. One task places all rows of a job, so it alone decides their order.

Freed rows are placed before new ones. However long it waits, the rows in memory are bounded. Each seal makes durable,
in one transaction, the batch and everything that a new process needs to go on behind it. While a seal is written down,
the first rows of the next batch are placed: the ids of a batch are in flight from the moment it is closed. One seal is
durable before the next begins.
"""

import asyncio
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import anyio
import anyio.lowlevel
import numpy as np
import structlog
from anyio.streams.memory import MemoryObjectSendStream

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.chunker import Chunker
from pipeline.core.batches.in_flight import Due
from pipeline.core.batches.placer import Placer, Seal
from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.batches.tracker import Tracker
from pipeline.core.errors import ConfigurationError, FatalError, InputError
from pipeline.core.memory.keyed_rows import KeyedRows
from pipeline.core.model import Batch, Flags, Hashes, Offsets, Rows
from pipeline.core.rows.encoding import encoded_forms, rearrange
from pipeline.core.rows.frequency import MANY_OF_ALL
from pipeline.core.rows.mapping import pack_rows
from pipeline.edges.exports import Export
from pipeline.edges.process.heap import give_back
from pipeline.edges.store.job_rows.row_index import UNCHANGED
from pipeline.edges.store.job_rows.sent_ids import note_sent
from pipeline.edges.store.ledger import Overtaken
from pipeline.jobs.delivery.sampling import drawn_of, note_drawn
from pipeline.jobs.ending import abandoned, is_abandoned
from pipeline.jobs.gathering import (
    GatheredRows,
    Piece,
    Sifted,
    check_quarantine,
    gather,
    is_to_be_judged,
    max_row_bytes,
    remember,
    sieve_of,
)
from pipeline.jobs.job import Job, check_rejects, source_name
from pipeline.jobs.row_source import Block, RowSource, keep_rejects, no_rows, note_block, open_source

log = structlog.get_logger()

#: The share of the next batch that is placed while the body of the one before is written, so that memory holds little
#: more than one batch.
_AHEAD = 0.1


@dataclass(slots=True)
class _Sealing:
    """A seal that is being written down: the batch it closed, if any, and that batch's rows and sorted id hashes.

    `held`: hashes of the ids still held; None until the export is read to its end. `is_written` is set when the body
    is in the spool and needs no memory any more, `done` when all is durable.
    """

    batch_id: int | None
    rows: int
    hashes: Hashes
    held: Hashes | None
    is_written: asyncio.Event
    done: asyncio.Future[Batch | None]


async def produce(job: Job, room: anyio.Semaphore, sealed: MemoryObjectSendStream[Batch]) -> None:
    """Send every row of the export to `sealed`, in batches, from where the job stands; each takes a permit of `room`.

    An unusable export ends it early: no batch is sent for the first time then, and those sent are still followed.
    """
    try:
        if job.record.checkpoint.has_ended:
            producer = _make_producer(job, job.record.checkpoint.parameters, room, sealed)
            await producer.run(None)
        else:
            await _read_and_place(job, room, sealed)
    except InputError as error:
        job.ending.raise_to(EndStage.NO_FIRST_ATTEMPTS, error)
    job.in_flight.leave(job.record.seq)
    job.ending.changed.tell()


async def _read_and_place(job: Job, room: anyio.Semaphore, sealed: MemoryObjectSendStream[Batch]) -> None:
    checkpoint = job.progress.checkpoint
    if not checkpoint.gathered.is_whole:
        is_judged = is_to_be_judged(job)
        async with open_source(job) as (export, source):
            checkpoint.parameters = (*source.plan.parameters, *source.plan.carried)
            if job.state.memory is None and not is_judged:
                producer = _make_producer(job, checkpoint.parameters, room, sealed)
                await producer.run((export, source))
                return
            await gather(job, export, source, is_judged=is_judged)
    await check_quarantine(job)
    producer = _make_producer(job, checkpoint.parameters, room, sealed)
    directory, longest = job.state.gathered(job.record.job_id), max_row_bytes(job, checkpoint.parameters)
    gathered = GatheredRows(directory, checkpoint.gathered, longest, job.digested)
    await producer.run(gathered)


def _make_producer(
    job: Job, parameters: tuple[str, ...], room: anyio.Semaphore, sealed: MemoryObjectSendStream[Batch]
) -> "Producer":
    batch, tracker = job.settings.batch, job.settings.tracker
    body_start = f"batch={','.join((job.export.id_kind, *parameters))}\n".encode()
    placer = Placer(
        Chunker(body_start, max_bytes=batch.max_bytes, max_rows=batch.max_rows),
        Tracker(
            max_held_rows=tracker.held_max_rows,
            max_held_bytes=tracker.held_max_bytes,
            max_row_bytes=batch.max_bytes - len(body_start),
            salt=job.state.ledger.salt,
        ),
    )
    return Producer(job, placer, room, sealed)


class Producer:
    """Places the rows of one job in batches."""

    def __init__(
        self,
        job: Job,
        placer: Placer,
        room: anyio.Semaphore,
        sealed: MemoryObjectSendStream[Batch],
    ) -> None:
        self._job = job
        self._placer = placer
        self._room = room
        self._sealed = sealed
        self._changed = job.ending.changed
        self._sealing: _Sealing | None = None
        self._sieve = sieve_of(job, job.progress.checkpoint.parameters)
        # By the hash of its id, what a row of the open batch says itself that was filled in: see `Sifted`.
        self._own: dict[int, frozenset[str]] = {}
        # From here on the tracker is told of everything that is in flight for this job.
        self._view = job.in_flight.join(job.record.seq, placer.tracker)

    @property
    def _checkpoint(self) -> Checkpoint:
        return self._job.progress.checkpoint

    async def run(self, rest: tuple[Export, RowSource] | GatheredRows | None) -> None:
        """Place the rows that an earlier process held, then the rest of the export, then the rows held still."""
        try:
            self._note_reading(goes_on=True)
            await self._begin()
            if isinstance(rest, GatheredRows):
                await self._place_gathered(rest)
            elif rest is not None:
                await self._read(*rest)
            await self._end()
        except InputError:
            await self._finish_sealing()
            raise
        finally:
            # A seal that has begun is written to its end. Its own error is dropped: the first one is raised.
            if self._sealing is not None:
                with anyio.CancelScope(shield=True):
                    await asyncio.wait([self._sealing.done])
                self._sealing.done.exception()

    async def _begin(self) -> None:
        """Take up the rows that an earlier process held, and place those that are free now."""
        job, tracker = self._job, self._placer.tracker
        if self._sieve is not None and job.export.gone and job.record.retry_of is None:
            name = source_name(job.record, job.export)
            source = await job.state.in_turn(job.state.ledger.number_of_source, name)
            self._sieve = replace(self._sieve, source=source)
        held = await job.state.in_turn(job.state.ledger.held_rows, job.record)
        texts, lines = [text for _, text, _ in held], [line for _, _, line in held]
        lengths = [len(profile_id) for profile_id, _, _ in held]
        tracker.restore(pack_rows(texts, lengths, lines, job.state.ledger.salt))
        if self._checkpoint.has_ended:
            job.in_flight.hold(job.record.seq, tracker.held_ids(), self._checkpoint.parameters)
        await self._place_freed(tracker.free())

    async def _read(self, export: Export, source: RowSource) -> None:
        """Place all rows that are still to be read. Raises `InputError` for too many rejects."""
        progress = self._job.progress
        while (block := await source.read()) is not None:
            progress.bytes_read, progress.sha256 = export.bytes_read, export.sha256
            await self._make_ready()
            await self._place_block(source, block)
            await self._keep_under_cap()
        if not self._checkpoint.read and source.has_content:
            raise no_rows(self._job.record.export)
        check_rejects(self._job, is_final=True)
        self._checkpoint.has_ended = True

    async def _place_gathered(self, gathered: GatheredRows) -> None:
        """Place all gathered rows that are still to be placed."""
        self._count_unplaced()
        # First, because rows that cannot be read may be why it was given up.
        self._check_abandoned()
        while (piece := await self._job.host.run_blocking(gathered.read)) is not None:
            await self._make_ready()
            await self._place_piece(piece)
            # Its texts must not stand beside those that are read next.
            del piece
            await self._keep_under_cap()
        self._checkpoint.has_ended = True

    async def _make_ready(self) -> None:
        """Do what is due before the next rows are placed: releases, and the end of a seal."""
        self._check_abandoned()
        await self._release_what_is_due()
        if self._sealing is not None and self._placer.chunker.filled > _AHEAD:
            await self._sealing.is_written.wait()
        if self._sealing is not None and self._sealing.done.done():
            await self._finish_sealing()

    async def _keep_under_cap(self) -> None:
        """Wait while as many rows are held as may be."""
        while self._view.is_full:
            await self._seal()
            await self._wait_for_release(
                "held rows are at their cap, [tracker] held_max_rows or held_max_bytes",
                unless=lambda: not self._view.is_full,
            )
        # Let other tasks run: nothing above need have waited.
        await anyio.lowlevel.checkpoint()

    async def _end(self) -> None:
        """Seal the open batch, then the batches of freed rows, until no row is held."""
        self._job.progress.reading_is_done = True
        self._note_reading(goes_on=False)
        await self._seal(even_if_empty=True)
        while self._placer.tracker.held_rows:
            await self._wait_for_release("rows whose id is in an earlier batch wait for it")
            # Rows that say nothing new are not held any more, and in no batch.
            await self._seal(even_if_empty=self._sieve is not None)
        await self._finish_sealing()

    async def _place_block(self, source: RowSource, block: Block) -> None:
        """Place the rows of a block; each record is counted when its row is placed."""
        await self._judge_rejects_of(source, block)
        rest: Block | None = block
        while rest is not None:
            block, rest = rest, None
            placed = self._placer.place(block.mapped.rows)
            if placed.stop < len(block.mapped.rows):
                if not placed.stop and not self._placer.open_rows:
                    raise FatalError("a row fits in no batch: a bug in profile-pipeline, please report it.")
                block, rest = source.split(block, placed.stop)
            # No `await` between these counts: if this task is cancelled, each row is counted once.
            note_block(self._job, source, block)
            self._checkpoint.superseded += placed.superseded
            if placed.superseded >= MANY_OF_ALL * len(block.mapped.rows) > 0:
                # Rows of one id merge, so without this many merges no id is on so many of these rows.
                self._checkpoint.note_repeated(block.mapped.rows)
            self._count_unplaced()
            await keep_rejects(self._job, source, block.mapped.rejects)
            if placed.must_seal:
                await self._seal()

    async def _place_piece(self, piece: Piece) -> None:
        """Place gathered rows but those that say nothing new; each is counted when it is placed or left out."""
        first = 0
        while first < len(piece.rows):
            rest = piece.rows.between(slice(first, None))
            sifted = await self._sift_new(rest)
            # No `await` from here on until all is counted.
            placed = self._placer.place(sifted.rows)
            if not placed.stop and len(sifted.rows) and not self._placer.open_rows:
                raise FatalError("a row fits in no batch: a bug in profile-pipeline, please report it.")
            count = len(rest) if placed.stop == len(sifted.rows) else int(sifted.at[placed.stop])
            self._note_piece(piece, sifted.is_unchanged[:count], first)
            self._note_filled_in(sifted, placed.stop)
            self._checkpoint.superseded += placed.superseded
            self._count_unplaced()
            first += count
            if self._job.folder.index.is_large:
                # Where nothing is new, nothing is sealed for long.
                await self._job.host.run_blocking(self._job.folder.index.write_index)
            if placed.must_seal:
                await self._seal()

    async def _sift_new(self, rows: KeyedRows) -> Sifted:
        """Compare rows with the memory but those that must wait; they are placed at once, as they are then.

        No id comes in flight meanwhile. But an earlier job may let go of one: its row says nothing new either.

        Nor is a row compared of whose id the open batch has one, which was held for a job that began without a memory:
        it is newer than that one, and than all that is remembered.
        """
        tracker = self._placer.tracker
        while True:
            waits = tracker.must_wait(rows.hashes)
            sifted = await self._sift(rows, waits | self._placer.chunker.has(rows.hashes))
            if not (waits & ~tracker.must_wait(rows.hashes)).any():
                return sifted

    def _note_piece(self, piece: Piece, is_unchanged: Flags, first: int) -> None:
        """Count rows of a piece from `first` on, which are placed or left out."""
        checkpoint, stop = self._checkpoint, first + len(is_unchanged)
        records = piece.records_of(first, stop)
        checkpoint.superseded += records - (stop - first)
        self._note_unchanged(piece.rows.hashes[first:stop], piece.rows.lines[first:stop], is_unchanged)
        checkpoint.gathered = checkpoint.gathered.behind(records)

    def _note_unchanged(self, hashes: Hashes, lines: Offsets, is_unchanged: Flags) -> None:
        """Count the rows, of these, that say nothing new. All arrays have shape (n,)."""
        self._checkpoint.unchanged += int(np.count_nonzero(is_unchanged))
        self._job.folder.index.add(UNCHANGED, hashes[is_unchanged], lines[is_unchanged])

    async def _sift(self, rows: KeyedRows, waits: Flags) -> Sifted:
        if self._sieve is None:
            # Only a guard had them gathered, or somebody switched the memory off meanwhile.
            return await self._job.host.run_blocking(Sifted.all_of, rows)
        return await self._job.host.run_blocking(self._sieve.sift, rows, waits)

    def _note_filled_in(self, sifted: Sifted, stop: int) -> None:
        """Note what was filled in, and what was not, of the rows that are placed: those before `stop`."""
        self._own |= sifted.own
        if sifted.too_long and (lines := {*sifted.too_long} & {*sifted.rows.lines[:stop].tolist()}):
            self._checkpoint.warnings.note("row_not_filled_in", min(lines), len(lines))

    async def _place_freed(self, rows: Rows) -> None:
        """Place rows that were held until now; they were counted when they were read."""
        while len(rows):
            sifted: Sifted | None = None
            if self._sieve is not None:
                keyed = KeyedRows.of_rows(rows, self._job.digested)
                sifted = await self._sift(keyed, self._placer.tracker.is_in_flight(keyed.hashes))
                self._note_unchanged(keyed.hashes, keyed.lines, sifted.is_unchanged)
                rows = sifted.rows
            placed = self._placer.place_freed(rows, sifted.unfilled if sifted else None)
            if sifted is not None:
                self._note_filled_in(sifted, placed.stop)
            self._checkpoint.superseded += placed.superseded
            self._count_unplaced()
            if not placed.must_seal:
                return
            if not placed.stop and not self._placer.open_rows:
                raise ConfigurationError(
                    f"[batch] max_bytes = {self._job.settings.batch.max_bytes:,} was lowered below a row that waits "
                    "to be sent since an earlier run: set it back, and run again."
                )
            await self._seal()
            rows = self._placer.tracker.free()

    async def _judge_rejects_of(self, source: RowSource, block: Block) -> None:
        """Raise `InputError` if this block makes the rejects too many; its rows count as read, and are unsent."""
        checkpoint, mapped = self._checkpoint, block.mapped
        faulty, read = checkpoint.faulty + mapped.faulty, checkpoint.read + mapped.read
        if self._job.export.max_rejects.is_exceeded(faulty, read, final=False):
            # First, because it counts the unplaced rows anew.
            await self._finish_sealing()
            note_block(self._job, source, block)
            self._job.progress.unplaced_rows += len(mapped.rows)
            await keep_rejects(self._job, source, block.mapped.rejects)
            check_rejects(self._job, is_final=False)

    async def _seal(self, *, even_if_empty: bool = False) -> None:
        """Close the open batch and begin to make it durable; with `even_if_empty` also if it has no row."""
        if not self._placer.open_rows and not even_if_empty:
            return
        await self._finish_sealing()
        job, progress, checkpoint = self._job, self._job.progress, self._checkpoint
        if self._placer.open_rows:
            await self._make_room()
        seal, is_written = self._placer.seal(), asyncio.Event()
        own, self._own = self._own, {}
        batch_id = number = None
        if seal.content:
            batch_id, number = job.state.ledger.allot_batch_id(), progress.allot_number()
            self._placer.tracker.seal(batch_id, seal.content.hashes)
        # Taken now: rows freed from here on are in the next batch, and other jobs see them as held until it is sealed.
        held = self._placer.tracker.held_ids() if checkpoint.has_ended else None
        checkpoint.rejects_bytes = await job.host.run_blocking(job.folder.sync_rejects)
        lines = seal.content.lines if seal.content else None
        checkpoint.index_bytes = await job.host.run_blocking(job.folder.index.write_index, lines)
        checkpoint.seconds, checkpoint.calls = progress.seconds(job.clock.monotonic()), progress.calls
        self._sealing = _Sealing(
            batch_id,
            seal.content.rows if seal.content else 0,
            seal.content.hashes if seal.content else np.empty(0, dtype=np.uint64),
            held,
            is_written,
            # A copy of the checkpoint, since the counts go on meanwhile.
            asyncio.ensure_future(self._write_down(seal, batch_id, number, deepcopy(checkpoint), own, is_written)),
        )

    async def _write_down(
        self,
        seal: Seal,
        batch_id: int | None,
        number: int | None,
        checkpoint: Checkpoint,
        own: Mapping[int, frozenset[str]],
        is_written: asyncio.Event,
    ) -> Batch | None:
        """Write the body of the sealed batch, then the whole seal in one transaction; None if it has no rows."""
        job = self._job
        batch: Batch | None = None
        overtaken: dict[int, Overtaken] = {}
        filled_in: Mapping[int, frozenset[str]] = {}
        try:
            if seal.content and batch_id and number:
                await job.host.run_blocking(note_sent, job.folder.sent / str(batch_id), seal.content)
                # Memory is at its peak with a full batch: give free memory back to the system first.
                await job.host.run_blocking(give_back)
                drawn = drawn_of(job, seal.content.hashes)
                batch = await job.state.write(batch_id, number, seal.content, when_written=is_written.set)
                if len(drawn):
                    await job.host.run_blocking(note_drawn, job, batch_id, drawn)
                overtaken = await job.state.in_turn(job.state.overtaken_by, job.record, batch, own)
                if own:
                    filled_in = await job.state.in_turn(job.state.filled_in, batch, own)
        finally:
            is_written.set()
        held, released = seal.held, [batch_id for batch_id in seal.released if batch_id > 0]
        # The body is in the spool: free its memory.
        del seal
        over = job.in_flight.closing(job.record.seq, released)
        await job.state.in_turn(
            job.state.ledger.seal,
            job.record,
            checkpoint,
            batch,
            held=held,
            released=released,
            overtaken=overtaken,
            filled_in=filled_in,
            awaited=[batch_id for batch_id in released if batch_id not in over],
            remembered=job.state.pending,
        )
        job.state.note_remembered(released)
        job.in_flight.closed(job.record.seq, released)
        for batch_id in over:
            if batch_id not in job.state.lost:
                await job.state.in_turn(job.spool.remove, batch_id)
        return batch

    async def _finish_sealing(self) -> None:
        """Wait until the latest seal is durable, and let its batch be delivered."""
        if self._sealing is None:
            return
        # The seal goes on even if this task is cancelled: `run` waits for it.
        batch = await asyncio.shield(self._sealing.done)
        sealing, self._sealing = self._sealing, None
        in_flight, seq, parameters = self._job.in_flight, self._job.record.seq, self._checkpoint.parameters
        if batch:
            in_flight.add(seq, batch.batch_id, sealing.hashes, parameters)
        if sealing.held is not None:
            # Only now: what is held no more is in that batch.
            in_flight.hold(seq, sealing.held, parameters)
        self._changed.tell()
        if batch:
            self._job.progress.book.seal(batch)
            self._count_unplaced()
            log.info("batch_sealed", batch=batch.number, rows=batch.rows, bytes=batch.size_bytes)
            await self._sealed.send(batch)

    async def _release_what_is_due(self) -> None:
        """Release the batches that are due, without waiting for any."""
        while due := self._view.take_due(self._job.clock.monotonic()):
            await self._release(due)
        if self._is_any_let_go:
            await self._place_freed(self._placer.tracker.free())

    @property
    def _is_any_let_go(self) -> bool:
        """True if held rows may be free, since a job before let go of their ids: its rows said nothing new."""
        return self._sieve is not None and self._placer.tracker.has_loose

    async def _wait_for_release(self, why: str, *, unless: Callable[[], bool] = lambda: False) -> None:
        """Wait until a batch is due and release it, or until `unless()` holds. `why` is shown to people meanwhile.

        Rows that a job before let go of are freed too.
        """
        await self._finish_sealing()
        if not self._placer.tracker.batches_in_flight and not self._is_any_let_go:
            raise FatalError("rows are held and no batch is in flight: a bug in profile-pipeline, please report it.")
        clock = self._job.clock
        self._job.progress.waiting = why
        self._note_reading(goes_on=False)
        # `Probing` looks at `waiting`.
        self._changed.tell()
        while not (
            self._view.next_release_at <= clock.monotonic() or self._is_any_let_go or self._is_abandoned or unless()
        ):
            await self._changed.next(within_s=self._view.next_release_at - clock.monotonic())
        self._job.progress.waiting = None
        self._note_reading(goes_on=True)
        self._check_abandoned()
        await self._release_what_is_due()

    async def _make_room(self) -> None:
        """Wait until one more batch may be sealed; its delivery gives the permit back."""
        self._note_reading(goes_on=False)
        with self._changed.unless(lambda: self._is_abandoned):
            await self._room.acquire()
            self._note_reading(goes_on=True)
            return
        raise abandoned()

    def _note_reading(self, *, goes_on: bool) -> None:
        progress = self._job.progress
        progress.time_spent.note_reading(self._job.clock.monotonic(), goes_on=goes_on and not progress.reading_is_done)

    @property
    def _is_abandoned(self) -> bool:
        return is_abandoned(self._job.ending)

    def _check_abandoned(self) -> None:
        if self._is_abandoned:
            raise abandoned()

    async def _release(self, due: Due) -> None:
        """Free the ids of a batch, when it is remembered, and place the rows that were held for it."""
        await remember(self._job.state, due.batch_id)
        earlier: dict[bytes, bytes] = {}
        if (
            not self._is_filling_in
            and due.may_be_applied
            and (waiting := self._placer.tracker.waiting_for(due.batch_id, self._hashes_of))
        ):
            # Bodies do not change, so this may run while a seal is written.
            earlier = await self._job.host.run_blocking(
                self._carried, due.batch_id, waiting - encoded_forms(due.failed_ids)
            )
        await self._place_freed(self._placer.release(due.batch_id, earlier))
        await self._job.host.run_blocking(give_back)

    @property
    def _is_filling_in(self) -> bool:
        """True if rows get from the memory what they lack, so that they need not carry it."""
        return self._sieve is not None and self._sieve.is_filling_in

    def _hashes_of(self, number: int) -> Hashes:
        """The sorted hashes of the ids in flight under this number; a batch being sealed is not in the spool yet."""
        sealing = self._sealing
        return sealing.hashes if sealing and number == sealing.batch_id else self._view.in_flight.hashes(number)

    def _carried(self, batch_id: int, profile_ids: set[bytes]) -> dict[bytes, bytes]:
        """The rows of these encoded ids in a batch, by id, with their cells in the order of this job's header."""
        spool = self._job.spool
        rows = spool.find_rows(batch_id, profile_ids, self._job.state.ledger.salt)
        theirs, ours = spool.parameters(batch_id), self._checkpoint.parameters
        if theirs == ours:
            return rows
        places = [theirs.index(name) if name in theirs else None for name in ours]
        return {profile_id: rearrange(row, places) for profile_id, row in rows.items()}

    def _count_unplaced(self) -> None:
        tracker = self._placer.tracker
        sealed = self._sealing.rows if self._sealing else 0
        gathered = self._checkpoint.gathered
        self._job.progress.held_rows = tracker.held_rows
        self._job.progress.unplaced_rows = tracker.held_rows + self._placer.open_rows + sealed + gathered.left
