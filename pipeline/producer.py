"""Reads an export and seals batches: the one task that places rows, so their order is nobody else's business.

Freed rows are placed before new ones. Whatever it waits for, it waits with a bounded amount of rows in memory. Each
seal makes durable, in one step, the batch and everything that a new process needs to go on behind it. While it is
written down, the first rows of the next batch are placed: its ids are in flight from the moment it is closed, and one
seal is durable before the next begins.
"""

import asyncio
import heapq
from copy import deepcopy
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.to_thread import run_sync

from pipeline.core.checkpoint import Checkpoint
from pipeline.core.chunker import Chunker
from pipeline.core.encoding import encode, rearrange
from pipeline.core.errors import ExitCode, FatalError, InputError
from pipeline.core.mapping import pack_rows
from pipeline.core.model import Batch, BatchState, Rows, Settled
from pipeline.core.placer import Placer, Seal
from pipeline.core.tracker import Tracker
from pipeline.delivery import Courier
from pipeline.edges.exports import Export, Identity, changed, open_export
from pipeline.edges.memory import give_back
from pipeline.job import Job
from pipeline.row_source import Block, RowSource, open_rows
from pipeline.settings_sections import ExportSettings

log = structlog.get_logger()

#: How often a producer that waits looks whether its job was abandoned (seconds).
_LOOK_AROUND_S = 1.0
#: So much of the next batch is placed while a seal is written down: the memory of both is not needed at once.
_AHEAD = 0.1


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """A settled batch and when its ids are free, in seconds of the monotonic clock."""

    release_at: float
    batch_id: int
    may_be_applied: bool
    failed_ids: tuple[str, ...]


async def produce(
    job: Job,
    courier: Courier,
    in_flight: "InFlight",
    sealed: MemoryObjectSendStream[Batch],
    settled: MemoryObjectReceiveStream[Settled],
) -> None:
    """Send every row of the export to `sealed`, in batches, from where the job stands.

    An export that cannot be used ends it early: the error is in the job's progress, nothing more is sent, and what
    was sent is still followed to its end.
    """
    async with sealed:
        try:
            if job.record.checkpoint.has_ended:
                producer = _make_producer(job, job.record.checkpoint.parameters, courier, sealed, settled)
                await producer.run(in_flight, None)
            else:
                await _read_and_place(job, courier, in_flight, sealed, settled)
        except InputError as error:
            job.progress.error = error
            courier.stop_sending()
        finally:
            in_flight.is_tracked.set()


def abandoned() -> InputError:
    """The error that ends an abandoned job."""
    return InputError("abandoned by request: what was sent was followed to its end, the rest is unsent.")


async def _read_and_place(
    job: Job,
    courier: Courier,
    in_flight: "InFlight",
    sealed: MemoryObjectSendStream[Batch],
    settled: MemoryObjectReceiveStream[Settled],
) -> None:
    settings = ExportSettings.model_validate(job.record.settings)
    checkpoint = job.progress.checkpoint
    async with open_export(job.export) as export:
        if export.identity != Identity(job.record.size_bytes, job.record.mtime_ns):
            raise changed(job.export)
        job.progress.export_bytes = export.identity.size_bytes
        source = await open_rows(
            export,
            settings,
            checkpoint,
            carried=in_flight.parameters,
            max_batch_bytes=job.settings.batch.max_bytes,
            salt=job.state.ledger.salt,
        )
        checkpoint.columns_sent = source.plan.parameters
        checkpoint.parameters = (*source.plan.parameters, *source.plan.carried)
        producer = _make_producer(job, checkpoint.parameters, courier, sealed, settled)
        await producer.run(in_flight, (export, source))


@dataclass(frozen=True, slots=True)
class InFlight:
    """The batches that are not released when a job begins: of which all are held back, and when which are free.

    `unsettled` are this job's own, which are delivered again; `due` those that are settled. `parameters` are those
    of earlier jobs' ones. `is_tracked` is set when the producer knows of all of them, or will never need to.
    """

    unsettled: tuple[int, ...] = ()
    due: tuple[Due, ...] = ()
    parameters: tuple[str, ...] = ()
    is_tracked: anyio.Event = field(default_factory=anyio.Event)


def _make_producer(
    job: Job,
    parameters: tuple[str, ...],
    courier: Courier,
    sealed: MemoryObjectSendStream[Batch],
    settled: MemoryObjectReceiveStream[Settled],
) -> "Producer":
    batch, tracker = job.settings.batch, job.settings.tracker
    id_kind = job.record.settings["id_kind"]
    body_start = f"batch={','.join((id_kind, *parameters))}\n".encode()
    placer = Placer(
        Chunker(body_start, max_bytes=batch.max_bytes, max_rows=batch.max_rows),
        Tracker(
            max_held_rows=tracker.held_max_rows,
            max_held_bytes=tracker.held_max_bytes,
            max_row_bytes=batch.max_bytes - len(body_start),
            salt=job.state.ledger.salt,
        ),
    )
    courier.on_split = placer.tracker.split
    return Producer(job, placer, courier, sealed, settled)


class Producer:
    """Places the rows of one job in batches."""

    def __init__(
        self,
        job: Job,
        placer: Placer,
        courier: Courier,
        sealed: MemoryObjectSendStream[Batch],
        settled: MemoryObjectReceiveStream[Settled],
    ) -> None:
        self._job = job
        self._placer = placer
        self._courier = courier
        self._sealed = sealed
        self._settled = settled
        self._due: list[Due] = []
        # The seal that is being written down, and the rows of its batch.
        self._sealing: asyncio.Future[Batch | None] | None = None
        self._sealing_rows = 0
        self._max_rejects = ExportSettings.model_validate(job.record.settings).max_rejects

    @property
    def _checkpoint(self) -> Checkpoint:
        return self._job.progress.checkpoint

    async def run(self, in_flight: InFlight, rest: tuple[Export, RowSource] | None) -> None:
        """Place what was held when an earlier process ended, then the rest of the export, then what is held still."""
        try:
            await self._begin(in_flight)
            if rest is not None:
                await self._read(*rest)
            await self._end()
        except InputError:
            await self._finish_sealing()
            raise
        finally:
            # What is written down is written down to its end; whatever went wrong, the first error is told.
            if self._sealing is not None:
                with anyio.CancelScope(shield=True):
                    await asyncio.wait([self._sealing])
                self._sealing.exception()

    async def _begin(self, in_flight: InFlight) -> None:
        """Hold back what is in flight, and place rows that were held when an earlier process ended and are free now."""
        job, tracker = self._job, self._placer.tracker
        for batch_id in in_flight.unsettled:
            tracker.seal(batch_id, await job.state.call(job.spool.hashes, batch_id))
        for due in in_flight.due:
            tracker.seal(due.batch_id, await job.state.call(job.spool.hashes, due.batch_id))
            heapq.heappush(self._due, due)
        in_flight.is_tracked.set()
        held = await job.state.call(job.state.ledger.held_rows, job.record)
        texts, lines = [text for _, text, _ in held], [line for _, _, line in held]
        lengths = [len(profile_id) for profile_id, _, _ in held]
        tracker.restore(pack_rows(texts, lengths, lines, job.state.ledger.salt))
        await self._place_freed(tracker.free())

    async def _read(self, export: Export, source: RowSource) -> None:
        """Place all rows that are not placed yet. Raises `InputError` for too many rejects."""
        progress = self._job.progress
        while (block := await source.read()) is not None:
            progress.bytes_read, progress.sha256 = export.bytes_read, export.sha256
            self._check_abandoned()
            await self._release_what_is_due()
            if self._sealing is not None and (self._sealing.done() or self._placer.chunker.filled > _AHEAD):
                await self._finish_sealing()
            await self._place_block(source, block)
            while self._placer.tracker.is_full:
                await self._seal()
                await self._wait_for_release("held rows are at their cap, [tracker] held_max_rows or held_max_bytes")
            # Nothing above need have waited: let the uploaders have their turn.
            await anyio.lowlevel.checkpoint()
        self._judge_rejects(is_final=True)
        self._checkpoint.has_ended = True

    async def _end(self) -> None:
        """Seal what is open, and go on until no row is held any more."""
        self._job.progress.reading_is_done = True
        await self._seal(even_if_empty=True)
        while self._placer.tracker.held_rows:
            await self._wait_for_release("rows whose id is in an earlier batch wait for it")
            await self._seal()
        await self._finish_sealing()

    async def _place_block(self, source: RowSource, block: Block) -> None:
        """Place the rows of a block, and count its records as far as their rows are placed."""
        await self._judge_rejects_of(block)
        rest: Block | None = block
        while rest is not None:
            block, rest = rest, None
            placed = self._placer.place(block.mapped.rows)
            if placed.stop < len(block.mapped.rows):
                if not placed.stop and not self._placer.open_rows:
                    raise FatalError("a row fits in no batch: a bug in profile-pipeline, please report it.")
                block, rest = source.split(block, placed.stop)
            # Counted in one go: whatever cancels this task finds every row in one place.
            self._note(block)
            self._checkpoint.superseded += placed.superseded
            self._count_unplaced()
            await self._write_rejects(block)
            if placed.must_seal:
                await self._seal()

    async def _place_freed(self, rows: Rows) -> None:
        """Place rows that were held until now, and are counted already."""
        while len(rows):
            placed = self._placer.place_freed(rows)
            self._checkpoint.superseded += placed.superseded
            self._count_unplaced()
            if not placed.must_seal:
                return
            if not placed.stop and not self._placer.open_rows:
                raise FatalError(
                    f"[batch] max_bytes = {self._job.settings.batch.max_bytes:,} was lowered below a row that waits "
                    "to be sent since an earlier run: set it back, and run again.",
                    exit_code=ExitCode.CONFIGURATION,
                )
            await self._seal()
            rows = self._placer.tracker.free()

    def _note(self, block: Block) -> None:
        """Count the records of a block."""
        self._checkpoint.note(block.mapped)
        self._checkpoint.position = block.end

    async def _write_rejects(self, block: Block) -> None:
        if block.mapped.rejects:
            await run_sync(self._job.folder.add_rejects, self._job.export.name, block.mapped.rejects)

    async def _judge_rejects_of(self, block: Block) -> None:
        """Stop before a block with which there are too many rejects: its rows are read, and unsent."""
        checkpoint, mapped = self._checkpoint, block.mapped
        rejected, read = checkpoint.rejected + len(mapped.rejects), checkpoint.read + mapped.read
        if self._max_rejects.is_exceeded(rejected, read, final=False):
            self._note(block)
            self._job.progress.unplaced_rows += len(mapped.rows)
            await self._write_rejects(block)
            self._judge_rejects(is_final=False)

    def _judge_rejects(self, *, is_final: bool) -> None:
        checkpoint = self._checkpoint
        if self._max_rejects.is_exceeded(checkpoint.rejected, checkpoint.read, final=is_final):
            first = "; ".join(f"line {line}: {reason}" for line, reason in checkpoint.first_rejects)
            raise InputError(
                f"{checkpoint.rejected:,} of the {checkpoint.read:,} rows read are rejected, more than "
                f"[export] max_rejects = {self._max_rejects} allows. First: {first}. All are in "
                f"{self._job.folder.rejects}."
            )

    async def _seal(self, *, even_if_empty: bool = False) -> None:
        """Close the open batch, and begin to make it durable; with `even_if_empty` also where no row is open."""
        if not self._placer.open_rows and not even_if_empty:
            return
        await self._finish_sealing()
        job, progress, checkpoint = self._job, self._job.progress, self._checkpoint
        if self._placer.open_rows:
            await self._courier.make_room()
        seal, numbers = self._placer.seal(), (0, 0)
        if seal.content:
            numbers = job.state.ledger.allot_batch_id(), progress.allot_number()
            self._sealing_rows = seal.content.rows
            self._placer.tracker.seal(numbers[0], seal.content.hashes)
        checkpoint.rejects_bytes = await run_sync(job.folder.sync_rejects)
        if progress.bytes_read:
            checkpoint.digest_bytes, checkpoint.digest = progress.bytes_read, progress.sha256
        # The counts go on meanwhile.
        self._sealing = asyncio.ensure_future(self._write_down(seal, numbers, deepcopy(checkpoint)))

    async def _write_down(self, seal: Seal, numbers: tuple[int, int], checkpoint: Checkpoint) -> Batch | None:
        """Make durable, in one step, what a seal closed: the batch, by its `batch_id` and number, and all beside it."""
        job = self._job
        batch, overtaken = None, {}
        if seal.content:
            # A full batch is the most that is in memory: what is free besides is not needed for it.
            await run_sync(give_back)
            batch = await job.state.call(job.spool.write, *numbers, seal.content)
            overtaken = await job.state.call(job.state.overtaken_by, seal.content.hashes)
        held, released = seal.held, seal.released
        # The body is in the spool, and needs no memory any more.
        del seal
        await job.state.call(
            job.state.ledger.seal,
            job.record,
            checkpoint,
            batch,
            held=held,
            released=released,
            overtaken=overtaken,
        )
        for batch_id in released:
            if batch_id not in job.state.lost:
                await job.state.call(job.spool.remove, batch_id)
        await run_sync(give_back)
        return batch

    async def _finish_sealing(self) -> None:
        """Wait until the latest seal is durable, and let its batch be delivered."""
        if self._sealing is None:
            return
        # Cancelled or not, it goes on: `run` waits for it.
        batch = await asyncio.shield(self._sealing)
        self._sealing, self._sealing_rows = None, 0
        if batch:
            self._job.progress.sealed[batch.batch_id] = batch
            self._count_unplaced()
            log.info("batch_sealed", batch=batch.number, rows=batch.rows, bytes=batch.size_bytes)
            await self._sealed.send(batch)

    async def _release_what_is_due(self) -> None:
        """Release the batches that have been settled for long enough, without waiting for any."""
        while self._settled.statistics().current_buffer_used:
            self._note_settled(self._settled.receive_nowait())
        while self._due and self._due[0].release_at <= self._job.clock.monotonic():
            await self._release(heapq.heappop(self._due))

    async def _wait_for_release(self, why: str) -> None:
        """Wait until at least one batch is released, or one more is settled."""
        await self._finish_sealing()
        if not self._placer.tracker.batches_in_flight:
            raise FatalError("rows are held and no batch is in flight: a bug in profile-pipeline, please report it.")
        self._job.progress.waiting = why
        wait_s = self._due[0].release_at - self._job.clock.monotonic() if self._due else float("inf")
        settled: Settled | None = None
        with anyio.move_on_after(min(max(0.0, wait_s), _LOOK_AROUND_S)):
            settled = await self._settled.receive()
        # Not above: what was received must not be lost to the time running out.
        if settled is not None:
            self._note_settled(settled)
        self._job.progress.waiting = None
        self._check_abandoned()
        await self._release_what_is_due()

    def _check_abandoned(self) -> None:
        if self._job.progress.is_abandoned:
            raise abandoned()

    def _note_settled(self, settled: Settled) -> None:
        if settled.state is BatchState.SPLIT:
            return
        due = Due(settled.release_at, settled.batch.batch_id, settled.may_be_applied, settled.failed_ids)
        heapq.heappush(self._due, due)

    async def _release(self, due: Due) -> None:
        """Free the ids of a batch, and place the rows that were held for it."""
        waiting = self._placer.tracker.waiting_for(due.batch_id)
        earlier: dict[bytes, bytes] = {}
        if waiting and due.may_be_applied:
            # Target may name an id in the encoded form in which it got it.
            failed = {form for name in due.failed_ids for form in (encode(name.encode()), name.encode())}
            earlier = await self._job.state.call(self._carried, due.batch_id, waiting - failed)
        await self._place_freed(self._placer.release(due.batch_id, earlier))
        await run_sync(give_back)

    def _carried(self, batch_id: int, profile_ids: set[bytes]) -> dict[bytes, bytes]:
        """The rows of a batch, by encoded id, under the header of this job's batches."""
        spool = self._job.spool
        rows = spool.find_rows(batch_id, profile_ids, self._job.state.ledger.salt)
        theirs, ours = spool.parameters(batch_id), self._checkpoint.parameters
        if theirs == ours:
            return rows
        places = [theirs.index(name) if name in theirs else None for name in ours]
        return {profile_id: rearrange(row, places) for profile_id, row in rows.items()}

    def _count_unplaced(self) -> None:
        tracker = self._placer.tracker
        self._job.progress.held_rows = tracker.held_rows
        self._job.progress.unplaced_rows = tracker.held_rows + self._placer.open_rows + self._sealing_rows
