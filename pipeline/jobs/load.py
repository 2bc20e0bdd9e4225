"""Loads one export into Target: READ FIRST.

    produce ----sealed batches----> deliver (one task a batch) --> settled
       ^                                                             |
       +----------------- ids that are free again <------------------+

One task reads, maps and places rows (`producer`); each sealed batch gets a task that uploads it and follows it to its
final outcome (`delivery`). Both are bounded: at most `[upload] concurrency` batches upload, as many more wait
sealed, and the status window limits how many are unsettled. Every fact is in the ledger before it has consequences, so
a crash is only an untidy way to stop: the next run finishes the job first. Whatever ends a load, every row read is in
exactly one class then, and the report says so.

Jobs overlap: `runner` decides which of them run, and when. `one_shot` uses it for the exports of one command, `service`
for drops.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import structlog

from pipeline.core.batches.progress import TARGET_REFUSED
from pipeline.core.batches.refusals import Refusals, SeenAccepting
from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.drop.signals import shown
from pipeline.core.errors import InputError, PipelineError, SetAsideError
from pipeline.core.model import Batch
from pipeline.edges.drop.last_look import AsRead, change_of_parts, change_since, has_writer
from pipeline.edges.store.records import SetAside
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint, Target
from pipeline.jobs.claims import changed_at_the_end, check_claim, drop_of, is_empty
from pipeline.jobs.delivery.courier import Courier
from pipeline.jobs.delivery.send_limits import SendLimits
from pipeline.jobs.ending import abandoned, tell_unexpected
from pipeline.jobs.gathering import merge_memory
from pipeline.jobs.job import Job, check_rejects, too_many_rejects
from pipeline.jobs.producer import produce
from pipeline.jobs.recovery import Recovered, Standing, recover
from pipeline.jobs.row_source import keep_rejects, no_rows, open_source

log = structlog.get_logger()

#: Runs beside a job, to show its progress or to end it by raising an error.
Watch = Callable[[Job, CallQueue], Coroutine[Any, Any, None]]


async def load_job(
    job: Job, stock: list[Standing], limits: SendLimits, seen: SeenAccepting, watch: Watch
) -> PipelineError | None:
    """Run a job from where its `stock` stands to its end, and return the error with which it ended, if any.

    `seen` tells if this or an earlier job saw Target accept a batch. `watch` runs beside the job until then.
    """
    record, state, ending = job.record, job.state, job.ending
    recovered: Recovered | None = None
    if job.aside is not None:
        return await _end_set_aside(job, job.aside, stock, limits, seen, watch)
    with ending.by_errors():
        await state.in_turn(job.folder.make)
        is_abandoned = ending.own_stage >= EndStage.NO_ATTEMPTS
        await state.in_turn(job.folder.cut_rejects, record.checkpoint.rejects_bytes, may_be_shorter=is_abandoned)
        await state.in_turn(job.folder.index.cut_index, record.checkpoint.index_bytes if record.has_begun else 0)
        recovered = await recover(job, stock)
    if recovered is None:
        return ending.error
    is_complete = False
    async with _until_its_end(job, limits.calls, watch):
        with ending.by_errors():
            await check_claim(record, state)
            if await is_empty(record, state):
                log.info("export_is_empty", export=shown(record.export.name), parts=len(record.parts))
            elif record.claim is not None and record.claim.manifest.dry_run:
                await _dry_run(job)
            else:
                await _send(job, limits, seen, recovered)
            is_complete = True
    if not is_complete:
        return ending.error
    error = ending.own_error or _error_of_complete(job)
    if error is None:
        with ending.by_errors():
            error = await job.host.run_blocking(_error_of_source, job)
    return error or ending.own_error


async def _end_set_aside(
    job: Job, aside: SetAside, stock: list[Standing], limits: SendLimits, seen: SeenAccepting, watch: Watch
) -> PipelineError | None:
    """Bring a job that was set aside to its end: nothing more is read or sent, what was sent is followed if it can be.

    It keeps no job behind it from its beginning. What meets a bug in here too is not followed by the next run.
    """
    is_complete = False
    async with _until_its_end(job, limits.calls, watch):
        with job.ending.by_errors():
            if aside.is_followed:
                recovered = await recover(job, stock)
                job.in_flight.pass_over(job.record.seq)
                job.ending.changed.tell()
                if recovered.to_deliver:
                    await _send(job, limits, seen, recovered)
            else:
                job.in_flight.pass_over(job.record.seq)
            is_complete = True
    return set_aside_error(aside) if is_complete else job.ending.error


def set_aside_error(aside: SetAside) -> SetAsideError:
    """The error with which a job ends that was set aside."""
    sent = "was followed to its end" if aside.is_followed else "could not be followed, and is unconfirmed"
    return SetAsideError(
        f"set aside, so that other jobs go on: {aside.why} The log has where it came up (unexpected_error). What the "
        f"job had sent {sent}; the rest is unsent. Load its export again when the program is mended."
    )


async def _send(job: Job, limits: SendLimits, seen: SeenAccepting, recovered: Recovered) -> None:
    """Read, send and settle until every batch is settled, or left unsettled because the job ends."""
    sealed_in, sealed_out = anyio.create_memory_object_stream[Batch](0)
    refusals = Refusals(seen)
    refusals.prove(*recovered.proven)
    seen.has_accepted |= recovered.has_accepted

    async def produce_all() -> None:
        # The stream ends behind an error: nobody takes what was cut short for the end of the file.
        async with sealed_in:
            with job.ending.by_errors():
                if job.aside is None:
                    await produce(job, limits.unsent, sealed_in)

    async with sealed_out, AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        tasks.start_soon(produce_all)
        target = await stack.enter_async_context(_connected(job, limits.calls))
        courier = Courier(job, limits, refusals, target, tasks)
        for batch in recovered.to_deliver:
            tasks.start_soon(courier.deliver, batch)
        async for batch in sealed_out:
            tasks.start_soon(courier.deliver_new, batch)
        job.progress.is_all_sealed = True
        job.ending.changed.tell()


async def _dry_run(job: Job) -> None:
    """Read the export as a load does, but send nothing, as its manifest asks. Rows that a load would send are unsent.

    Raises `InputError` for an export that a load would give up, for example with too many rejects.
    """
    progress = job.progress
    progress.is_dry_run = True
    async with open_source(job) as (export, source):
        while (block := await source.read()) is not None:
            progress.bytes_read, progress.sha256 = export.bytes_read, export.sha256
            progress.checkpoint.begin(block.begins)
            progress.checkpoint.note(block.mapped)
            progress.checkpoint.note_repeated(block.mapped.rows)
            progress.unplaced_rows += len(block.mapped.rows)
            await keep_rejects(job, source, block.mapped.rejects)
        if not progress.checkpoint.read and source.has_content:
            raise no_rows(job.record.export)
    check_rejects(job, is_final=True)


def _error_of_complete(job: Job) -> InputError | None:
    """The error of a job that came to its end: it was abandoned, or Target refused too many of its rows."""
    rows = job.progress.close()
    if job.ending.own_stage >= EndStage.NO_ATTEMPTS and rows.unsent:
        return abandoned()
    refused = job.progress.rejects_by_reason[TARGET_REFUSED]
    faulty = job.progress.checkpoint.faulty + refused
    if refused and job.export.max_rejects.is_exceeded(faulty, rows.read, final=True):
        return too_many_rejects(job, faulty, rows.read, by_target=refused)
    return None


def _error_of_source(job: Job) -> InputError | None:
    """The error of a job whose export changed after it was read, or may still change. Blocks."""
    record, progress = job.record, job.progress
    if record.retry_of is not None:
        # Nobody else writes it.
        return None
    size_bytes, sha256 = progress.bytes_read, progress.sha256
    if not size_bytes:
        size_bytes, sha256 = progress.checkpoint.digest_bytes, progress.checkpoint.digest
    files = [record.export.parent / part.name for part in record.parts] or [record.export]
    openers = {file.name: partial(job.host.drops.open, file) for file in files}
    if record.parts:
        change = change_of_parts(record.parts, sha256, lambda name: openers[name]())
    else:
        change = change_since(AsRead(record.identity, size_bytes, sha256), openers[record.export.name])
    if change is None and record.claim is not None:
        for name, opener in openers.items():
            if has_writer(drop_of(record), opener):
                part = f"{shown(name)}: " if record.parts else ""
                change = f"{part}another process still has it open for writing"
    return None if change is None else changed_at_the_end(record, change)


@asynccontextmanager
async def _until_its_end(job: Job, calls: CallQueue, watch: Watch) -> AsyncIterator[None]:
    """Run the body until it is done or the job ends, then cancel what still runs."""
    async with anyio.create_task_group() as tasks:

        async def end_when_due() -> None:
            await let_posts_end(job)
            tasks.cancel_scope.cancel()

        async def watch_it() -> None:
            with job.ending.by_errors():
                try:
                    await watch(job, calls)
                except PipelineError:
                    raise
                except Exception as error:  # noqa: BLE001 - a job goes on that nobody can watch
                    tell_unexpected(error)

        async def merge_it() -> None:
            with job.ending.by_errors():
                await merge_memory(job.state)

        tasks.start_soon(end_when_due)
        tasks.start_soon(watch_it)
        tasks.start_soon(merge_it)
        yield
        tasks.cancel_scope.cancel()


async def let_posts_end(job: Job) -> None:
    """Wait until the job is to end, and then until no POST is under way, `grace_s` has passed, or its stage is NOW."""
    ending = job.ending
    await ending.until(EndStage.LET_POSTS_END)
    # A POST that is cut off is in doubt: its ids are held for `ambiguous_hold_s`.
    await ending.changed.until(
        lambda: not job.progress.posts_under_way or ending.stage is EndStage.NOW,
        within_s=ending.grace_s,
    )


@asynccontextmanager
async def _connected(job: Job, calls: CallQueue) -> AsyncIterator[Target]:
    """A client for the job's endpoint. At the end it leaves its number of calls in the job's progress."""
    to = job.settings.target
    endpoint = Endpoint(
        url=to.url,
        client_code=to.client_code,
        api_version=to.api_version,
        status_hosts=to.status_hosts,
        token_file=to.token_file,
        min_rate_bytes_s=job.settings.upload.min_rate_bytes_s,
        ca_file=to.ca_file,
        is_named=bool(to.base_url),
    )
    refused_before = calls.refused_below_share
    async with job.host.connect(endpoint, calls, job.clock) as target:
        try:
            yield target
        finally:
            job.progress.calls_of_run = target.calls_made
            if target.is_sandbox is not None:
                job.progress.is_in_sandbox = target.is_sandbox
            job.progress.calls_refused_below_share += calls.refused_below_share - refused_before
