"""The table of all metrics: `METRICS` of each client code, `OF_PROCESS` of the process; `docs/metrics.md` has the same.

A label is a client code, a route, or a word of a closed list: never an id, a value, or the name of a file or of a job.
Where the words are known, each has a sample from the beginning, so that nobody takes its first one for no rise.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, time

from pipeline import __version__
from pipeline.core.batches.progress import TARGET_REFUSED
from pipeline.core.display.counts import OVER, READ_BACK, ROW_CLASSES
from pipeline.core.model import BatchState, Reason
from pipeline.core.target.outcome_names import POST_OUTCOMES, STATUS_OUTCOMES
from pipeline.service.figures import OPEN_PHASES, PAUSE_REASONS, LiveFigures
from pipeline.service.web.measured import (
    Histogram,
    Measured,
    MeasuredProcess,
    Metric,
    Sample,
    by_name,
    by_route,
    by_route_and,
    only,
)

#: The states in which a run leaves a job that is not over.
_NOT_OVER = ("unfinished", "quarantined")
_REASONS = (*Reason, TARGET_REFUSED)


def _live(value: Callable[[LiveFigures], float]) -> Callable[[Measured], Iterable[Sample]]:
    return lambda of: only(None if of.live is None else value(of.live))


def _jobs(of: Measured) -> Iterator[Sample]:
    if of.live is None or of.on_disk.unfinished is None:
        return
    stopped = list(of.counts.unfinished.values())
    # Both were looked at one after the other.
    waiting = max(0, of.on_disk.unfinished - of.live.jobs_running - len(stopped))
    known = {"running": of.live.jobs_running, "waiting": waiting, **dict.fromkeys(_NOT_OVER, 0)}
    yield from by_name((), known | {state: stopped.count(state) for state in stopped})


def _last_done(of: Measured) -> Iterator[Sample]:
    for route, at in of.counts.done_at.items():
        # None is known, or the ledger has it in another form.
        with suppress(ValueError):
            yield (route,), datetime.fromisoformat(at).timestamp()


def _token(of: Measured) -> Iterable[Sample]:
    return only(None if of.token_expires is None else datetime.combine(of.token_expires, time(), UTC).timestamp())


METRICS: tuple[Metric[Measured] | Histogram, ...] = (
    Metric(
        "served",
        "gauge",
        "1 if the client code is served, 0 while an error keeps it from being so",
        (),
        lambda of: only(float(of.live is not None)),
    ),
    Metric(
        "runs_total",
        "counter",
        "Runs of jobs that have ended, by the state of the report",
        ("route", "state"),
        lambda of: by_route_and((*OVER, *_NOT_OVER), of.counts.runs, of),
    ),
    Metric(
        "jobs",
        "gauge",
        "Jobs that are not over: running, waiting for their turn, or left by their latest run so",
        ("state",),
        _jobs,
    ),
    Metric(
        "last_done_timestamp_seconds",
        "gauge",
        "Time at which the last export of the route was done",
        ("route",),
        _last_done,
    ),
    Metric("rows_read_total", "counter", "Rows that were read", ("route",), lambda of: by_route(of.counts.read, of)),
    Metric(
        "rows_total",
        "counter",
        "Rows by what became of them",
        ("route", "class"),
        lambda of: by_route_and(ROW_CLASSES, of.counts.rows, of),
    ),
    Metric(
        "rejects_total",
        "counter",
        "Rejected rows by reason",
        ("route", "reason"),
        lambda of: by_route_and(_REASONS, of.counts.rejects, of),
    ),
    Metric(
        "held_rows",
        "gauge",
        "Rows that wait in memory for an earlier batch with their id",
        (),
        _live(lambda live: live.held_rows),
    ),
    Metric(
        "batches",
        "gauge",
        "Batches of running jobs that are not settled, by phase",
        ("phase",),
        lambda of: by_name(OPEN_PHASES, of.live.batches) if of.live else (),
    ),
    Metric(
        "batches_settled_total",
        "counter",
        "Batches whose outcome is final",
        ("outcome",),
        lambda of: by_name(BatchState, of.counts.settled),
    ),
    Metric(
        "oldest_unsettled_seconds",
        "gauge",
        "Age of the oldest batch that Target accepted and has not applied",
        (),
        _live(lambda live: live.oldest_unsettled_s),
    ),
    Metric(
        "posts_total",
        "counter",
        "POSTs of batches by Target's answer",
        ("outcome",),
        lambda of: by_name(POST_OUTCOMES.values(), of.counts.posts),
    ),
    Metric(
        "posted_bytes_total",
        "counter",
        "Bytes of the batches that Target accepted",
        (),
        lambda of: only(of.counts.posted_bytes),
    ),
    Histogram("upload_seconds", "Time from the beginning of a POST to its acceptance", lambda of: of.counts.upload_s),
    Histogram(
        "completion_seconds",
        "Time from the acceptance of a batch until it was seen to be complete",
        lambda of: of.counts.completion_s,
    ),
    Metric(
        "status_calls_total",
        "counter",
        "Questions for the status of a batch by Target's answer",
        ("outcome",),
        lambda of: by_name(STATUS_OUTCOMES.values(), of.counts.statuses),
    ),
    Metric(
        "ids_read_back_total",
        "counter",
        "Ids of ended jobs that [verify] read back from Target, by what was found",
        ("found",),
        lambda of: by_name(READ_BACK, of.counts.read_back),
    ),
    Metric(
        "calls_used",
        "gauge",
        "Calls to Target that count against the budget of a minute now",
        (),
        _live(lambda live: live.calls_used),
    ),
    Metric(
        "calls_limit",
        "gauge",
        "Calls to Target that may be made in a minute now",
        (),
        _live(lambda live: live.calls_limit),
    ),
    Metric(
        "statuses_awaited",
        "gauge",
        "Batches whose status Target has to keep",
        (),
        _live(lambda live: live.statuses_awaited),
    ),
    Metric(
        "status_window",
        "gauge",
        "Statuses that Target keeps, as far as is known",
        (),
        _live(lambda live: live.status_window),
    ),
    Metric(
        "target_silent_seconds",
        "gauge",
        "Time for which Target has given no usable answer; 0 if it has",
        (),
        _live(lambda live: live.target_silent_s),
    ),
    Metric(
        "paused",
        "gauge",
        "1 while nothing is sent for this reason",
        ("reason",),
        lambda of: by_name(PAUSE_REASONS, dict.fromkeys(of.paused, 1.0)),
    ),
    Metric(
        "drops_waiting",
        "gauge",
        "Signalled drops that are not whole, and hold up those behind them",
        (),
        _live(lambda live: live.drops_waiting),
    ),
    Metric(
        "drops_not_taken",
        "gauge",
        "Drops and files in the drop directory that cannot be taken",
        ("route",),
        lambda of: by_route(of.live.drops_not_taken, of) if of.live else (),
    ),
    Metric(
        "overdue",
        "gauge",
        "1 if an export that is expected is overdue, else 0",
        ("route",),
        lambda of: by_name((), of.overdue),
    ),
    Metric("token_expires_timestamp_seconds", "gauge", "Beginning of the day on which the token expires", (), _token),
    Metric(
        "memory_ids", "gauge", "Ids of which is remembered what was sent", (), lambda of: only(of.on_disk.memory_ids)
    ),
    Metric(
        "memory_bytes",
        "gauge",
        "Bytes on the disk of what is remembered",
        (),
        lambda of: only(of.on_disk.memory_bytes),
    ),
    Metric(
        "disk_free_bytes",
        "gauge",
        "Bytes that may still be written to the disk of the state directory",
        (),
        lambda of: only(of.on_disk.free_bytes),
    ),
    Metric(
        "disk_free_least_bytes",
        "gauge",
        "Bytes below which nothing more is written, [state] min_free_bytes",
        (),
        lambda of: only(of.least_free_bytes),
    ),
)

OF_PROCESS: tuple[Metric[MeasuredProcess], ...] = (
    Metric("build_info", "gauge", "1, with the version", ("version",), lambda _: [((__version__,), 1.0)]),
    Metric(
        "heartbeat_age_seconds",
        "gauge",
        "Age of the last sign of life of the event loop",
        (),
        lambda of: only(of.heartbeat_age_s),
    ),
    Metric(
        "log_lines_dropped_total",
        "counter",
        "Lines of the log that stderr did not take",
        (),
        lambda of: only(of.log_lines_dropped),
    ),
)
