"""Shows a load while it runs: bars on a terminal, a line in the log now and then otherwise."""

from collections.abc import Callable, Coroutine
from typing import Any

from pipeline.edges.log import log_progress
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.time_windows import in_words
from pipeline.jobs.job import Job


def what_it_waits_for(job: Job, calls: CallQueue) -> str:
    """The thing that a load waits for or does, in words; empty if there is nothing to say."""
    progress = job.progress
    held = calls.windows.held
    if held is not None and held.limits.is_paused:
        return in_words(held)
    if calls.resumes_at is not None:
        wait_s = max(0.0, calls.resumes_at - job.clock.monotonic())
        others = " (somebody else uses the budget of the account too)" if calls.is_shared else ""
        return f"the calls of this minute are used up{others}, next in {wait_s:.0f} s"
    if job.state.is_paused:
        return "sending is paused: `profile-pipeline resume` goes on"
    under_way = progress.batches_under_way
    if progress.waiting:
        return f"waiting: {progress.waiting}"
    if under_way:
        return f"Target is applying {under_way} batch{'es' if under_way > 1 else ''}"
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
