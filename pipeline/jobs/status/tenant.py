"""The status of one tenant: its jobs, and what sending waits for, read from its ledger."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.errors import FatalError
from pipeline.core.memory.times import time_of
from pipeline.core.plain import plain, written
from pipeline.core.target.status_memory import STATUSES_KEPT, Learned
from pipeline.core.target.token_life import days_left
from pipeline.edges.store.ledger_reader import LedgerReader
from pipeline.edges.store.memory.look import facts_beside
from pipeline.edges.store.notices import HoldUps, Pause, read_hold_ups, read_pause
from pipeline.edges.store.records import JobRecord
from pipeline.edges.target.window_limits import in_words
from pipeline.edges.target.window_limits import told as told_of_window
from pipeline.jobs.job import unknown_job
from pipeline.jobs.status.drop import DropStatus, RouteStatus, drop_status
from pipeline.jobs.status.expected import MissingDay, OverdueExport
from pipeline.jobs.status.job import FOLLOWED, MOST_BEFORE, JobStatus
from pipeline.jobs.status.listing import job_statuses
from pipeline.jobs.status.not_sent import NotificationStatus
from pipeline.settings.sections.windows import schedule_of
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import DEFAULT_ROUTE

#: `status` without a job shows the jobs that ended last, this many, and the first unfinished ones.
_SHOWN_ENDED = 10
_SHOWN_UNFINISHED = MOST_BEFORE


@dataclass(frozen=True, slots=True)
class StatusWindowStatus:
    """The size of the status window, if it was learned, and when a larger one did not hold (UTC in ISO 8601)."""

    size: int
    is_learned: bool
    more_failed_at: str | None


@dataclass(frozen=True, slots=True)
class TimeWindowStatus:
    """The limits that the time windows set now, until when (in their time zone), and in words what comes `then`."""

    pause: bool
    calls_per_minute: int | None
    concurrency: int | None
    until: str | None
    time_zone: str | None
    in_words: str
    then: str | None


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """The memory of what was sent. `remember`: digests or values. `is_behind`: it has to be rebuilt before it is used.

    `ids`: entries; an id of which there is a newer one that is not merged yet counts twice. `oldest`: the time of the
    oldest, UTC in ISO 8601, to the minute. `why`: the reason why the rest is not known: it is damaged.
    """

    remember: str
    ids: int | None = None
    size_bytes: int | None = written("bytes", default=None)
    oldest: str | None = None
    is_behind: bool = False
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a tenant: the process that holds its state directory, what sending waits for, and its jobs.

    `held_by`: the id of that process, None without one.
    `statuses_under_way`: the number of batches that Target has accepted and is applying, in the jobs told of.
    `paused_by_itself`: the reason why the service waits.
    `held_up`: the things that hold up sending besides: Target is away, or the budget of calls is used up.
    `routes`: None if the configuration has no routes; `drop` is None if it has.
    `overdue`: the exports that had to be done by now. `missing`: the days of the last 30 on which none came that was
    expected. `notifications`: those that could not be sent, if there are any.
    `older_jobs`: the number of jobs that have ended and are not told of.
    `waiting_jobs`: the number of unfinished jobs that are not told of; they come behind those in `jobs`.
    `token_expires`, `token_days_left`: the end of the token, a date, and the days until then; None if it is not known.
    `log_lines_dropped`: the lines of its log that the service could not write.
    `memory`: None if there is none, and where one job is asked for.
    """

    client_code: str
    state_directory: str
    held_by: int | str | None
    is_paused: bool
    statuses_under_way: int
    status_window: StatusWindowStatus
    window: TimeWindowStatus | None
    paused_by_itself: Pause | None
    held_up: HoldUps
    drop: DropStatus | None
    jobs: tuple[JobStatus, ...]
    older_jobs: int
    waiting_jobs: int
    token_expires: str | None = None
    token_days_left: int | None = None
    log_lines_dropped: int = 0
    memory: MemoryStatus | None = None
    notifications: NotificationStatus | None = None
    routes: tuple[RouteStatus, ...] | None = written(default=None, if_default=False)
    overdue: tuple[OverdueExport, ...] = written(default=(), if_default=False)
    missing: tuple[MissingDay, ...] = written(default=(), if_default=False)

    def directory_of(self, route: str) -> str:
        """The drop directory of a route; empty if it has none."""
        drops = {one.route: one.drop for one in self.routes} if self.routes is not None else {DEFAULT_ROUTE: self.drop}
        drop = drops.get(route)
        return drop.directory if drop else ""

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `status --json` prints them: the fields in their order, without `routes` that are None."""
        values: dict[str, Any] = plain(self)
        return values


def status(
    ledger: LedgerReader | None,
    job_id: str | None,
    settings: Settings,
    now: datetime,
    held_by: str | None,
    *,
    since: datetime | None = None,
    is_all: bool = False,
) -> Status:
    """The status of a tenant, its latest job last; see `statuses`. Raises `PipelineError` (64) for an unknown job."""
    pause = read_pause(settings.state.directory) if held_by else None
    ended, unfinished, older, waiting = _found(ledger, job_id, since, is_all=is_all)
    jobs = [] if ledger is None else job_statuses(ledger, [*ended, *unfinished], settings, now, held_by)
    expires = settings.target.token_expires
    return Status(
        client_code=settings.target.client_code,
        state_directory=str(settings.state.directory),
        held_by=int(held_by) if held_by and held_by.isdecimal() else held_by,
        is_paused=ledger is not None and ledger.is_paused,
        statuses_under_way=sum(job.batches.get(FOLLOWED, 0) for job in jobs),
        status_window=_status_window(ledger, settings),
        window=_window(settings, now),
        token_expires=expires.isoformat() if expires else None,
        token_days_left=days_left(expires, now.date()) if expires else None,
        paused_by_itself=pause,
        held_up=read_hold_ups(settings.state.directory) if held_by else HoldUps(),
        drop=None if job_id else drop_status(settings, settings.state.directory if held_by else None, now),
        jobs=tuple(jobs),
        older_jobs=older,
        waiting_jobs=waiting,
        memory=None if job_id else _memory(ledger, settings.state.directory),
    )


def _found(
    ledger: LedgerReader | None, job_id: str | None, since: datetime | None, *, is_all: bool
) -> tuple[list[JobRecord], list[JobRecord], int, int]:
    """The ended and the unfinished jobs that are asked for, and how many there are besides of each."""
    if job_id is not None:
        record = ledger.job(job_id) if ledger else None
        if record is None:
            raise unknown_job(job_id)
        return ([record], [], 0, 0) if record.state else ([], [record], 0, 0)
    if ledger is None:
        return [], [], 0, 0
    all_ended, all_unfinished = ledger.count_jobs()
    shown = None if is_all or since else _SHOWN_ENDED
    begun = since.astimezone(UTC).isoformat(timespec="seconds") if since else ""
    ended = ledger.ended_jobs(since=begun, latest=shown)
    unfinished = ledger.jobs_in_order(all_unfinished if is_all else _SHOWN_UNFINISHED)
    # Both may have changed since they were counted.
    return ended, unfinished, max(0, all_ended - len(ended)), max(0, all_unfinished - len(unfinished))


def _memory(ledger: LedgerReader | None, state: Path) -> MemoryStatus | None:
    if ledger is None or not ledger.remembers:
        return None
    told = MemoryStatus(ledger.remembers, is_behind=ledger.is_memory_behind)
    try:
        facts = facts_beside(state / "memory", ledger.memory_catalog)
    except FatalError as error:
        return replace(told, why=str(error))
    oldest = None if facts.oldest_minutes is None else time_of(facts.oldest_minutes).isoformat(timespec="minutes")
    return replace(told, ids=facts.ids, size_bytes=facts.size_bytes, oldest=oldest)


def _status_window(ledger: LedgerReader | None, settings: Settings) -> StatusWindowStatus:
    """The status window that the settings fix, or that was learned."""
    fixed = settings.settle.status_window
    if fixed != "auto":
        return StatusWindowStatus(fixed, is_learned=False, more_failed_at=None)
    learned = Learned() if ledger is None else ledger.learned_statuses()
    return StatusWindowStatus(
        learned.size,
        is_learned=learned.size > STATUSES_KEPT,
        more_failed_at=learned.failed_at.isoformat() if learned.failed_at else None,
    )


def _window(settings: Settings, now: datetime) -> TimeWindowStatus | None:
    """The limits of the time windows now, and from `until` on; None without time windows."""
    if not settings.windows:
        return None
    schedule = schedule_of(settings.windows)
    held = schedule.at(now)
    later = held.until and schedule.at(held.until)
    then = in_words(later) if later else None
    return TimeWindowStatus(**told_of_window(held), in_words=in_words(held), then=then)
