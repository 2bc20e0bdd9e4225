"""Reads an export and seals batches: the one task that places rows, so their order is nobody else's business.

Freed rows are placed before new ones. Whatever it waits for, it waits with a bounded amount of rows in memory.
"""

import heapq

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.to_thread import run_sync

from pipeline.core.chunker import Chunker
from pipeline.core.encoding import encode
from pipeline.core.errors import FatalError, InputError
from pipeline.core.mapping import ColumnPlan, Mapped
from pipeline.core.model import Batch, BatchState, Rows, Settled
from pipeline.core.tracker import Tracker
from pipeline.delivery import Courier
from pipeline.edges.exports import Export, open_export
from pipeline.job import Job
from pipeline.row_source import RowSource, open_rows

log = structlog.get_logger()


async def produce(
    job: Job,
    courier: Courier,
    sealed: MemoryObjectSendStream[Batch],
    settled: MemoryObjectReceiveStream[Settled],
) -> None:
    """Send every row of the export to `sealed`, in batches, as far as the courier takes them.

    An export that cannot be used ends it early: the error is in the job's progress, nothing more is sent, and what
    was sent is still followed to its end.
    """
    async with sealed:
        try:
            async with open_export(job.export) as export:
                job.progress.export_bytes = export.size_bytes
                source = await open_rows(export, job)
                await Producer(job, source.plan, courier, sealed, settled).run(export, source)
        except InputError as error:
            job.progress.error = error
            courier.stop_sending()


class Producer:
    """Places the rows of one job in batches."""

    def __init__(
        self,
        job: Job,
        plan: ColumnPlan,
        courier: Courier,
        sealed: MemoryObjectSendStream[Batch],
        settled: MemoryObjectReceiveStream[Settled],
    ) -> None:
        batch, tracker = job.settings.batch, job.settings.tracker
        self._job = job
        self._courier = courier
        self._sealed = sealed
        self._settled = settled
        self._to_release: list[tuple[float, int, Settled]] = []
        self._chunker = Chunker(plan.body_start, max_bytes=batch.max_bytes, max_rows=batch.max_rows)
        self._tracker = Tracker(
            max_held_rows=tracker.held_max_rows,
            max_held_bytes=tracker.held_max_bytes,
            max_row_bytes=batch.max_bytes - len(plan.body_start),
            salt=job.salt,
        )

    async def run(self, export: Export, source: RowSource) -> None:
        """Place all rows; ends when none is open or held any more. Raises `InputError` for too many rejects."""
        progress = self._job.progress
        while (mapped := await source.read()) is not None:
            progress.bytes_read, progress.sha256 = export.bytes_read, export.sha256
            await self._note(mapped)
            await self._release_what_is_due()
            await self._place(mapped.rows)
            while self._tracker.is_full:
                await self._seal_open_batch()
                await self._wait_for_release("held rows are at their cap, [tracker] held_max_rows or held_max_bytes")
            # Nothing above need have waited: let the uploaders have their turn.
            await anyio.lowlevel.checkpoint()
        self._judge_rejects(is_final=True)
        progress.reading_is_done = True
        await self._seal_open_batch()
        while self._tracker.held_rows:
            await self._wait_for_release("rows whose id is in an earlier batch wait for it")
            await self._seal_open_batch()

    async def _note(self, mapped: Mapped) -> None:
        """Count what was read, write down the rejects, and judge whether there are too many."""
        progress = self._job.progress
        progress.rows.read += mapped.read
        progress.rows.empty += mapped.empty
        progress.rows_to_place += len(mapped.rows)
        if mapped.rejects:
            progress.reject(mapped.rejects)
            await run_sync(self._job.folder.add_rejects, self._job.export.name, mapped.rejects)
            self._judge_rejects(is_final=False)

    def _judge_rejects(self, *, is_final: bool) -> None:
        progress, allowed = self._job.progress, self._job.settings.export.max_rejects
        if allowed.is_exceeded(progress.rows.rejected, progress.rows.read, final=is_final):
            first = "; ".join(f"line {reject.line}: {reject.reason}" for reject in progress.first_rejects)
            raise InputError(
                f"{progress.rows.rejected:,} of the {progress.rows.read:,} rows read are rejected, more than "
                f"[export] max_rejects = {allowed} allows. First: {first}. All are in {self._job.folder.rejects}."
            )

    async def _place(self, rows: Rows) -> None:
        """Put every one of these rows into the open batch, or hold it."""
        progress = self._job.progress
        first = 0
        while first < len(rows):
            is_in_flight = self._tracker.is_in_flight(rows.hashes[first:])
            taken = self._chunker.take(rows, first, is_in_flight)
            superseded = taken.superseded + self._tracker.hold(rows, taken.to_hold)
            progress.rows.superseded += superseded
            progress.rows_to_place -= superseded
            progress.held_rows = self._tracker.held_rows
            first = taken.stop
            if taken.is_full or first < len(rows):
                if not self._chunker.rows:
                    raise FatalError(
                        "a row does not fit in an empty batch: a bug in profile-pipeline, please report it."
                    )
                await self._seal_open_batch()

    async def _seal_open_batch(self) -> None:
        if not self._chunker.rows:
            return
        progress = self._job.progress
        await self._courier.make_room()
        number = len(progress.sealed) + 1
        content = self._chunker.seal()
        batch = await run_sync(self._job.spool.write, number, content)
        self._tracker.seal(number, content.hashes)
        progress.sealed[number] = batch
        progress.rows_to_place -= batch.rows
        log.info("batch_sealed", batch=number, rows=batch.rows, bytes=batch.size_bytes)
        await self._sealed.send(batch)

    async def _release_what_is_due(self) -> None:
        """Release the batches that have been settled for long enough, without waiting for any."""
        while self._settled.statistics().current_buffer_used:
            self._note_settled(self._settled.receive_nowait())
        while self._to_release and self._to_release[0][0] <= self._job.clock.monotonic():
            await self._release(heapq.heappop(self._to_release)[2])

    async def _wait_for_release(self, why: str) -> None:
        """Wait until at least one batch is released, or one more is settled."""
        if not self._tracker.batches_in_flight:
            raise FatalError("rows are held and no batch is in flight: a bug in profile-pipeline, please report it.")
        self._job.progress.waiting = why
        wait_s = self._to_release[0][0] - self._job.clock.monotonic() if self._to_release else float("inf")
        with anyio.move_on_after(max(0.0, wait_s)):
            self._note_settled(await self._settled.receive())
        await self._release_what_is_due()
        self._job.progress.waiting = None

    def _note_settled(self, settled: Settled) -> None:
        heapq.heappush(self._to_release, (settled.release_at, settled.batch.number, settled))

    async def _release(self, settled: Settled) -> None:
        """Free the ids of a batch, and place the rows that were held for it."""
        number = settled.batch.number
        waiting = self._tracker.waiting_for(number)
        if waiting and settled.may_be_applied:
            failed = {encode(failed_id.encode()) for failed_id in settled.failed_ids}
            self._tracker.carry(await run_sync(self._job.spool.find_rows, number, waiting - failed))
        freed = self._tracker.release(number)
        if settled.state is BatchState.COMPLETE:
            await run_sync(self._job.spool.remove, number)
        await self._place(freed)
