"""The figures of a client code at a moment, for whoever measures the service: as the process has them, and as they lie
on its disk.

Nothing is asked of Target, and nothing that a job uses is held meanwhile.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.batches.lifecycle import Phase
from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.durable import free_bytes
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.edges.store.memory.memory import Memory
from pipeline.jobs.job import Job
from pipeline.jobs.runner import Runner
from pipeline.service.intake import Intake

#: By the exit code of what a service waits for, the reason of its pause; a code that is not here is "other".
PAUSES = {
    ExitCode.REFUSED_BY_TARGET: "refused_by_target",
    ExitCode.TARGET_UNAVAILABLE: "target_away",
    ExitCode.DISK_OR_LEDGER: "disk_or_ledger",
    ExitCode.CONFIGURATION: "configuration",
    ExitCode.ALREADY_RUNNING: "in_use",
    ExitCode.OUR_BUG: "bug",
}
#: Somebody asked to send nothing; a time window says so; and the reasons above.
PAUSE_REASONS = ("requested", "time_window", *PAUSES.values(), "other")
#: The phases of batches that are not settled.
OPEN_PHASES = tuple(phase.name.lower() for phase in Phase if phase is not Phase.SETTLED)


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """The figures that the process has of a client code that it serves.

    `jobs_running`: jobs that run.
    `batches`: those of these jobs by phase, settled ones left out.
    `held_rows`: rows that wait in memory because an earlier batch has their id.
    `oldest_unsettled_s`: the age of the oldest batch that Target accepted and that is not settled; 0 if there is none.
    `calls_used`, `calls_limit`: of the budget of a minute. `statuses_awaited`, `status_window`: of those Target keeps.
    `drops_waiting`: signalled drops that are not whole, for which those behind them wait. `drops_not_taken`: by route,
    drops and files that are left alone.
    `paused`: the reasons for which nothing is sent. `target_silent_s`: since when Target has not answered; 0 if it has.
    """

    jobs_running: int = 0
    batches: Mapping[str, int] = field(default_factory=dict)
    held_rows: int = 0
    oldest_unsettled_s: float = 0.0
    calls_used: int = 0
    calls_limit: int = 0
    statuses_awaited: int = 0
    status_window: int = 0
    drops_waiting: int = 0
    drops_not_taken: Mapping[str, int] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()
    target_silent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class FiguresOnDisk:
    """The figures that lie on the disk of a client code; None where it does not say.

    `unfinished`: jobs that have not ended. `free_bytes`: of the disk of the state directory. `done_at`: see `Counts`.
    `memory_ids`, `memory_bytes`: of what is remembered as sent; None too where nothing is remembered.
    """

    unfinished: int | None = None
    free_bytes: int | None = None
    memory_ids: int | None = None
    memory_bytes: int | None = None
    done_at: Mapping[str, str] = field(default_factory=dict)


def live_figures(runner: Runner, intake: Intake, paused_with: ExitCode | None) -> LiveFigures:
    """The figures of a client code; rows of its running jobs are counted up to now.

    `paused_with`: the exit code of the job that cannot be finished, while its service waits for that.
    """
    now, jobs, calls = runner.state.host.clock.monotonic(), runner.running, runner.calls
    for job in jobs:
        _count_rows(job)
    books = [job.progress.book for job in jobs]
    phases = sum((book.phases() for book in books), Counter[Phase]())
    posted_at = [at for book in books if (at := book.oldest_posted_at) is not None]
    silent_since = calls.silence.since(now)
    used, limit = calls.used
    awaited, window = runner.window
    return LiveFigures(
        jobs_running=len(jobs),
        batches={phase.name.lower(): phases[phase] for phase in Phase if phase is not Phase.SETTLED},
        held_rows=sum(job.progress.held_rows for job in jobs),
        oldest_unsettled_s=now - min(posted_at, default=now),
        calls_used=used,
        calls_limit=limit,
        statuses_awaited=awaited,
        status_window=window,
        drops_waiting=len(intake.waiting),
        drops_not_taken=Counter(route for route, _ in intake.refused),
        paused=frozenset(_paused(runner, paused_with)),
        target_silent_s=0.0 if silent_since is None else now - silent_since,
    )


def _count_rows(job: Job) -> None:
    progress, record = job.progress, job.record
    job.counts.note_rows(record.job_id, record.route, progress.rows(), progress.rejects_by_reason)


def _paused(runner: Runner, paused_with: ExitCode | None) -> Iterable[str]:
    if runner.state.is_paused:
        yield "requested"
    if runner.calls.windows.pause_s:
        yield "time_window"
    if paused_with is not None:
        yield reason_of(paused_with)


def reason_of(exit_code: ExitCode) -> str:
    """The reason of a pause, by the exit code of what a service waits for."""
    return PAUSES.get(exit_code, "other")


def figures_on_disk(directory: Path, memory: Memory | None, unknown: Collection[str]) -> FiguresOnDisk:
    """The figures in a state directory, read beside the process that writes them. Blocks.

    `unknown`: the routes of which the latest end is asked for.
    """
    unfinished = free = ids = size = None
    done_at: dict[str, str] = {}
    # Whoever needs what cannot be read says so; here it is only not told.
    with suppress(FatalError):
        free = free_bytes(directory)
    with suppress(FatalError):
        ledger = read_ledger(directory / "ledger.db")
        if ledger is not None:
            with closing(ledger):
                unfinished = ledger.count_jobs()[1]
                latest = {route: ledger.latest_done(route, 1) for route in unknown}
                done_at = {route: reports[0].finished_at if reports else "" for route, reports in latest.items()}
    with suppress(FatalError):
        if memory is not None:
            facts = memory.facts()
            ids, size = facts.ids, facts.size_bytes
    return FiguresOnDisk(unfinished, free, ids, size, done_at)
