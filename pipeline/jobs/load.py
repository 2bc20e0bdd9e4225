"""Loads one export into Target: READ FIRST. The only file that starts the tasks of the pipeline.

    produce ----sealed batches----> deliver (one task a batch) --> settled
       ^                                                             |
       +----------------- ids that are free again <------------------+

One task reads, maps and places rows (`producer`); each sealed batch gets a task that uploads it and follows it to its
final outcome (`delivery`). Both are bounded: at most `[upload] concurrency` batches upload, as many more wait
sealed, and the status window limits how many are unsettled. All facts are in the ledger before they have consequences:
a job that was cut off is gone on with first, and a crash is only an untidy way to stop. Whatever ends a load, every
row read is in exactly one class when it has ended, and the report says so.

Jobs overlap: `runner` says which of them run, and when. `one_shot` runs it for the exports of one command, `service`
for what is dropped.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio

from pipeline.core.batches.lifecycle import Life
from pipeline.core.batches.progress import TARGET_REFUSED
from pipeline.core.batches.refusals import Refusals, SeenAccepting
from pipeline.core.errors import InputError
from pipeline.core.model import Batch
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint, Target
from pipeline.jobs.claims import check_claim
from pipeline.jobs.delivery import Courier
from pipeline.jobs.dry_run import dry_run
from pipeline.jobs.job import Job, too_many_rejects
from pipeline.jobs.producer import abandoned, produce
from pipeline.jobs.recovery import Recovered, Standing, recover
from pipeline.jobs.send_limits import SendLimits

#: What runs beside a job, to watch it or to end it by an error.
Watch = Callable[[Job, CallQueue], Coroutine[Any, Any, None]]


async def load_job(
    job: Job, stock: list[Standing], limits: SendLimits, run: SeenAccepting, calls: CallQueue, beside: Sequence[Watch]
) -> None:
    """Go on with a job from where its `stock` stands, up to its end; what is wrong with its export is in its progress.

    `run` is what this and earlier jobs have seen Target refuse. All of `beside` run meanwhile, and are cancelled at the
    end. Raises the errors with which a job cannot be finished.
    """
    record, state = job.record, job.state
    await state.in_turn(job.folder.make)
    await state.in_turn(job.folder.cut_rejects, record.checkpoint.rejects_bytes, may_be_shorter=record.is_abandoned)
    recovered = await recover(job, stock)
    async with _watched(job, calls, beside):
        await check_claim(record, state)
        if record.claim is not None and record.claim.manifest.dry_run:
            await dry_run(job)
        else:
            await _send(job, limits, run, calls, recovered)
    if job.progress.error is None:
        job.progress.error = _error_of_ended(job)


async def _send(job: Job, limits: SendLimits, run: SeenAccepting, calls: CallQueue, recovered: Recovered) -> None:
    """Read, send and settle; ends when every batch is settled or an error has ended the job."""
    sealed_in, sealed_out = anyio.create_memory_object_stream[Batch](0)
    refusals = Refusals(run)
    refusals.prove(*recovered.proven)
    run.has_accepted |= recovered.has_accepted
    courier = Courier(job, limits, refusals)
    async with sealed_out, AsyncExitStack() as stack, anyio.create_task_group() as tasks:

        def spawn(batch: Batch, life: Life) -> None:
            tasks.start_soon(courier.deliver, batch, life)

        async def produce_all() -> None:
            async with courier.ending_by_errors():
                await produce(job, courier, sealed_in)

        courier.spawn = spawn
        tasks.start_soon(produce_all)
        courier.target = await stack.enter_async_context(_connected(job, calls))
        for batch, life in recovered.to_deliver:
            spawn(batch, life)
        async for batch in sealed_out:
            tasks.start_soon(courier.deliver_new, batch)
        courier.no_more_batches()


@asynccontextmanager
async def _connected(job: Job, calls: CallQueue) -> AsyncIterator[Target]:
    """A client for where the job sends to. The number of its calls is in the job's progress at the end."""
    to = job.settings.target
    endpoint = Endpoint(
        url=to.url,
        client_code=to.client_code,
        api_version=to.api_version,
        status_hosts=to.status_hosts,
        token_file=to.token_file,
        min_rate_bytes_s=job.settings.upload.min_rate_bytes_s,
    )
    async with job.host.connect(endpoint, calls, job.clock) as target:
        try:
            yield target
        finally:
            job.progress.calls = target.calls_made


def _error_of_ended(job: Job) -> InputError | None:
    """What is wrong with a job that came to its end: abandoned meanwhile, or Target refused too many of its rows."""
    rows = job.progress.close()
    if job.progress.is_abandoned and rows.unsent:
        return abandoned()
    refused = job.progress.rejects_by_reason[TARGET_REFUSED]
    if refused and job.export.max_rejects.is_exceeded(rows.rejected, rows.read, final=True):
        return too_many_rejects(job, rows.rejected, rows.read, by_target=refused)
    return None


@asynccontextmanager
async def _watched(job: Job, calls: CallQueue, beside: Sequence[Watch]) -> AsyncIterator[None]:
    """Run all of these while the body runs."""
    async with anyio.create_task_group() as tasks:
        for watch in beside:
            tasks.start_soon(watch, job, calls)
        yield
        tasks.cancel_scope.cancel()
