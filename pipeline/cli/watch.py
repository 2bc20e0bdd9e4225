"""Shows loads while they run: a display on a terminal, else a line in the log now and then."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from pipeline.core.batches.lifecycle import Phase
from pipeline.core.display.marks import marks_of
from pipeline.core.display.moment import Moment, Rate
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

if TYPE_CHECKING:
    from pipeline.edges.views.live import LoadScreen

#: Seconds for which the time left is counted down before it is estimated anew, which takes a few milliseconds. Ours.
_ESTIMATE_EVERY_S = 2.0


class LoadWatch:
    """The `watch` that `load_exports` runs beside each load, and the place for what is written meanwhile."""

    def __init__(self, *, on_terminal: bool) -> None:
        self._on_terminal = on_terminal
        self._screen: LoadScreen | None = None

    async def __call__(self, job: Job, calls: CallQueue) -> None:
        """Show a load until cancelled."""
        if not self._on_terminal:
            await log_progress(job.progress, lambda: what_it_waits_for(job, calls), job.clock.sleep)
            return
        if self._screen is None:
            # Imported late: other loads need not wait for the libraries that draw.
            from pipeline.edges.terminal import console
            from pipeline.edges.views.live import LoadScreen

            self._screen = LoadScreen(console(stderr=True), job.clock.monotonic, job.clock.sleep)
        await self._screen.show(_Watched(job, calls).moment)

    def aside(self) -> AbstractContextManager[None]:
        """The context in which something else is written to the terminal, such as a report."""
        return nullcontext() if self._screen is None else self._screen.aside()


def watcher(*, on_terminal: bool) -> LoadWatch:
    """The watch of a command. `on_terminal`: a person at a terminal is to see how far its loads are."""
    return LoadWatch(on_terminal=on_terminal)


class _Watched:
    """A load that is watched; it remembers what only shows over time: a rate, and an estimate of the time left."""

    def __init__(self, job: Job, calls: CallQueue) -> None:
        self._job = job
        self._calls = calls
        self._read, self._settled = Rate(), Rate()
        self._estimated_at = float("-inf")
        self._ends_at: float | None = None

    def moment(self) -> Moment:
        """The load as it is now."""
        job, progress, now = self._job, self._job.progress, self._job.clock.monotonic()
        rows, is_read = progress.rows(), progress.reading_is_done
        # Both are asked, so that the second knows how it was before the export was read.
        rates = self._read.at(now, rows.read), self._settled.at(now, rows.confirmed + rows.failed + rows.unconfirmed)
        return Moment(
            name=job.record.export.name,
            bytes_read=progress.bytes_read,
            export_bytes=progress.export_bytes,
            is_read=is_read,
            rows=rows,
            held_rows=progress.held_rows,
            rows_per_s=rates[is_read],
            passed_s=now - progress.began_at,
            left_s=self._left_s(now),
            marks=tuple(marks_of(progress.book, now)),
            does=_does(job, now),
            waits=waits_of(job, self._calls),
        )

    def _left_s(self, now: float) -> float | None:
        """About the seconds until the load is done; None if it cannot be told."""
        if now - self._estimated_at >= _ESTIMATE_EVERY_S:
            left_s = seconds_left(self._job.progress, now, pace_of(self._job.settings))
            resumes_at = self._calls.resumes_at
            # Until then, nothing goes on.
            held_s = max(0.0, resumes_at - now) if resumes_at is not None else 0.0
            self._ends_at = None if left_s is None else now + left_s + held_s
            self._estimated_at = now
        return None if self._ends_at is None else max(0.0, self._ends_at - now)


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


def waits_of(job: Job, calls: CallQueue) -> tuple[str, ...]:
    """The things that all loads of a client code wait for now, in words, with the time until each is over."""
    told = []
    held = calls.windows.held
    if held is not None and held.limits.is_paused:
        left_s = (held.until - job.clock.utc_now()).total_seconds() if held.until else None
        told.append(in_words(held) + (f": in {clock_time(left_s)}" if left_s is not None else ""))
    if job.state.is_paused:
        told.append(PAUSED)
    now = job.clock.monotonic()
    if (since := calls.silence.since(now)) is not None:
        told.append(f"Target gives no usable answer for {clock_time(now - since)}, the last was: {calls.silence.last}")
    resumes_at = calls.resumes_at
    if resumes_at is not None and resumes_at - now >= 1.0:
        why = "Target said that there were too many calls" if calls.is_refused else _limit(calls)
        told.append(f"{why}: next call in {clock_time(resumes_at - now)}")
    elif calls.is_shared:
        told.append(_limit(calls))
    return tuple(told)


def _limit(calls: CallQueue) -> str:
    """The limit of calls that is kept, in words."""
    shared = ", as somebody else uses the budget of the account too" if calls.is_shared else ""
    return f"Target's limit of {counted(calls.calls_per_minute, 'call')} a minute{shared}"


def clock_time(seconds: float) -> str:
    """A time to count down: `12 s`, `4:09 min`, or in words where it is long."""
    whole = int(max(0.0, seconds) + 0.999)
    if whole >= 7_200:
        return roughly(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60}:{whole % 60:02} min"


def _does(job: Job, now: float) -> str:
    """The thing that a load does, or waits for by itself; with the time until the first of its held rows are free."""
    if job.ending.is_due:
        left = job.progress.posts_under_way
        return f"stopping: {counted(left, 'POST')} may end" if left else "stopping"
    progress, phases = job.progress, job.progress.book.phases()
    told = ["reading"] if not progress.reading_is_done and not progress.waiting else []
    if progress.waiting:
        free = [each.release_at for each in progress.book.settled if each.release_at > now]
        first = f", the first in {clock_time(min(free) - now)} at the latest" if free else ""
        told.append(f"{progress.waiting}{first}")
    if phases[Phase.POSTING]:
        told.append("sending")
    if following := phases[Phase.FOLLOWING]:
        told.append(f"Target is applying {counted(following, 'batch', 'batches')}")
    elif unsent := phases[Phase.READY] + phases[Phase.REFUSED]:
        told.append(f"{counted(unsent, 'batch waits', 'batches wait')} to be sent")
    return ", ".join(told)


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
