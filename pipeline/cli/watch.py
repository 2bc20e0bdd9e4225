"""Shows a load while it runs: bars on a terminal, a line in the log now and then otherwise."""

from collections.abc import Callable, Coroutine
from typing import Any

from pipeline.core.plural import counted
from pipeline.edges.log import log_progress
from pipeline.edges.store.notices import PAUSED
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.window_limits import in_words
from pipeline.jobs.job import Job
from pipeline.jobs.send_limits import hold_ups


def what_it_waits_for(job: Job, calls: CallQueue) -> str:
    """The thing that a load waits for or does, in words; empty if there is nothing to say."""
    progress = job.progress
    held = calls.windows.held
    if held is not None and held.limits.is_paused:
        return in_words(held)
    if job.state.is_paused:
        return PAUSED
    if words := hold_ups(calls, job.clock).words:
        return "; ".join(words)
    under_way = progress.batches_under_way
    if progress.waiting:
        return f"waiting: {progress.waiting}"
    if under_way:
        return f"Target is applying {counted(under_way, 'batch', 'batches')}"
    if not progress.book.is_all_settled:
        return "uploading"
    return "reading" if not progress.reading_is_done else ""


def watcher(*, on_terminal: bool) -> Callable[[Job, CallQueue], Coroutine[Any, Any, None]]:
    """The `watch` that `load_export` runs beside a load."""

    async def log(job: Job, calls: CallQueue) -> None:
        await log_progress(job.progress, lambda: what_it_waits_for(job, calls), job.clock.sleep)

    if not on_terminal:
        return log

    from pipeline.edges.views.screen import Bars

    bars = Bars()

    async def draw(job: Job, calls: CallQueue) -> None:
        await bars.show(job.record.export.name, job.progress, lambda: what_it_waits_for(job, calls), job.clock.sleep)

    return draw
