"""Loads one export into Target: READ FIRST. The only file that starts the tasks of the pipeline.

    produce ----sealed batches----> deliver (one task a batch) --> settled
       ^                                                             |
       +----------------- ids that are free again <------------------+

One task reads, maps and places rows (`producer`); each sealed batch gets a task that uploads it and follows it to its
final outcome (`delivery`). Both are bounded: at most `[upload] concurrency` batches upload, as many more wait
sealed, and the status window limits how many are unsettled. Whatever ends a load, every row read is in exactly one
class when it has ended, and the report says so.
"""

import math
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import structlog
from anyio.to_thread import run_sync

from pipeline.core.errors import EXIT_PRECEDENCE, ExitCode, FatalError, PipelineError
from pipeline.core.model import Batch, BatchState, Settled
from pipeline.core.pacing import CallBudget
from pipeline.delivery import Courier
from pipeline.edges.calls import CallQueue
from pipeline.edges.clock import Clock
from pipeline.edges.target import Endpoint, Target, connect
from pipeline.job import Job, open_job
from pipeline.producer import produce
from pipeline.report import build_report
from pipeline.settings import Settings

log = structlog.get_logger()

Watch = Callable[[Job, CallQueue], Coroutine[Any, Any, None]]


async def load_export(path: Path, settings: Settings, *, clock: Clock, watch: Watch | None = None) -> dict[str, Any]:
    """Bring every row of an export into Target; the report of the job, as written to its folder.

    `watch` is run beside the load to show its progress, and cancelled at its end. Whatever goes wrong with the
    export, with Target or with the disk is in the report, `exit_code` with it; raises `FatalError` (74) only where
    the state directory cannot be written at all.
    """
    started_at = clock.utc_now()
    started = clock.monotonic()
    job = await run_sync(open_job, path, settings, clock)
    calls = CallQueue(CallBudget(settings.target.calls_per_minute), clock)
    log.info("load_started", job=job.job_id, export=path.name)
    try:
        async with (
            _watched(job, calls, watch),
            _stopped_by_signals(),
            connect(_endpoint(settings), calls, clock) as target,
        ):
            await _run(job, target)
    except* PipelineError as errors:
        job.progress.error = _first(errors)
    job.progress.calls = calls.made
    job.progress.close()
    report = build_report(job, started_at, clock.utc_now(), clock.monotonic() - started)
    await run_sync(_put_away, job, report)
    log.info("load_finished", job=job.job_id, state=report["state"], seconds=report["seconds"])
    return report


async def _run(job: Job, target: Target) -> None:
    """Read, send and settle; ends when every batch is settled or an error has ended the job."""
    sealed_in, sealed_out = anyio.create_memory_object_stream[Batch](0)
    # Never more in it than there are batches in the status window; unbounded so that a delivery never waits here.
    settled_in, settled_out = anyio.create_memory_object_stream[Settled](math.inf)
    with settled_in, settled_out, sealed_out:
        courier = Courier(job, target, settled_in)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(produce, job, courier, sealed_in, settled_out)
            async for batch in sealed_out:
                tasks.start_soon(courier.deliver, batch)


@asynccontextmanager
async def _watched(job: Job, calls: CallQueue, watch: Watch | None) -> AsyncIterator[None]:
    """Show the progress while the body runs."""
    async with anyio.create_task_group() as tasks:
        if watch:
            tasks.start_soon(watch, job, calls)
        yield
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _stopped_by_signals() -> AsyncIterator[None]:
    """Let SIGTERM and SIGINT end the body tidily, with `FatalError` (75)."""

    async def stop() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                raise FatalError(f"stopped by {signal.Signals(number).name}.", exit_code=ExitCode.UNFINISHED)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop)
        yield
        tasks.cancel_scope.cancel()


def _endpoint(settings: Settings) -> Endpoint:
    target = settings.target
    return Endpoint(
        url=target.url,
        client_code=target.client_code,
        api_version=target.api_version,
        status_hosts=target.status_hosts,
        token_file=target.token_file,
        min_rate_bytes_s=settings.upload.min_rate_bytes_s,
    )


def _first(errors: BaseExceptionGroup[PipelineError]) -> PipelineError:
    """The error to tell of, when several tasks failed at once: the one that says most about what to do."""
    found: list[PipelineError] = []
    rest: list[BaseException] = [errors]
    while rest:
        error = rest.pop()
        if isinstance(error, BaseExceptionGroup):
            rest += error.exceptions
        elif isinstance(error, PipelineError):
            found.append(error)
    return min(found, key=lambda error: EXIT_PRECEDENCE.index(error.exit_code))


def _put_away(job: Job, report: dict[str, Any]) -> None:
    """Write the report, and remove from the spool what nobody will ask for again."""
    for number, settled in job.progress.settled.items():
        if settled.state is BatchState.COMPLETE:
            job.spool.remove(number)
    job.spool.remove_if_empty()
    job.folder.write_report(report)
