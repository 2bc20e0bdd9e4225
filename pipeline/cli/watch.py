"""Shows a load while it runs: bars on a terminal, a line in the log now and then otherwise."""

from collections.abc import Callable, Coroutine
from typing import Any

from pipeline.core.duration import roughly
from pipeline.core.plural import counted
from pipeline.core.survey.timing import seconds_left
from pipeline.edges.log import log_progress
from pipeline.edges.store.notices import PAUSED
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.window_limits import in_words
from pipeline.jobs.delivery.send_limits import hold_ups
from pipeline.jobs.job import Job
from pipeline.jobs.survey.planning import pace_of


def what_it_waits_for(job: Job, calls: CallQueue) -> str:
    """The thing that a load waits for or does, in words; empty if there is nothing to say."""
    held = calls.windows.held
    if held is not None and held.limits.is_paused:
        return in_words(held)
    if job.state.is_paused:
        return PAUSED
    held_up = hold_ups(calls, job.clock)
    if held_up.words and not held_up.is_slowed_only:
        return "; ".join(held_up.words)
    return "; ".join(told for told in (_what_goes_on(job), *held_up.words) if told)


def _what_goes_on(job: Job) -> str:
    """The thing that a load does where nothing holds it up, in words; empty if there is nothing to say."""
    progress = job.progress
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
        def told() -> str:
            return "; ".join(filter(None, (how_long(job, calls), what_it_waits_for(job, calls))))

        await bars.show(job.record.export.name, job.progress, told, job.clock.sleep)

    return draw


def how_long(job: Job, calls: CallQueue) -> str:
    """The time that has passed since a load began, and about the time that is left, as far as it can be told."""
    now = job.clock.monotonic()
    minutes, seconds = divmod(int(now - job.progress.began_at), 60)
    passed = f"{minutes:,}:{seconds:02} passed"
    left_s = seconds_left(job.progress, now, pace_of(job.settings))
    if left_s is None:
        return passed
    # Until then, nothing goes on.
    held_s = max(0.0, calls.resumes_at - now) if calls.resumes_at is not None else 0.0
    return f"{passed}, about {roughly(left_s + held_s)} left"
