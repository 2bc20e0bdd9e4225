"""The status of a job, and what it waits for until when: read from the ledger, beside the process that writes it."""

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.core.batches.lifecycle import Life, Phase, SplitUp, after_restart
from pipeline.core.batches.progress import Progress
from pipeline.core.batches.retry_policy import Attempt, EndStage, next_step
from pipeline.core.duration import roughly, time_in_words
from pipeline.core.errors import ExitCode
from pipeline.core.model import RowCounts
from pipeline.core.plain import plain
from pipeline.core.plural import counted
from pipeline.edges.store.job_folder import JobFolder
from pipeline.edges.store.ledger_reader import LedgerReader
from pipeline.edges.store.notices import Pause
from pipeline.edges.store.records import BatchRecord, JobRecord
from pipeline.edges.store.state import life_of
from pipeline.jobs.job import retry_policy_of
from pipeline.settings.sections.windows import schedule_of
from pipeline.settings.settings import Settings

#: Jobs that are looked at before one; more than run at once.
MOST_BEFORE = 20


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The end of a run that left its job unfinished: when (UTC in ISO 8601), its exit code, the reason in words."""

    finished_at: str
    exit_code: ExitCode
    why: str | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The facts on which the status of a job hangs besides the job.

    `at_it_since`: the time since which a process is at the job; None if none is.
    `before`: the `seq` of the unfinished jobs that come before it, at most `MOST_BEFORE`.
    `pause`: the reason why the service waits, if it does.
    """

    now: datetime
    settings: Settings
    at_it_since: datetime | None = None
    before: tuple[int, ...] = ()
    pause: Pause | None = None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The status of a job; its fields, in this order, are the keys of `status --json`.

    `rows` counts by class, `batches` by phase. `read_to_line` is None once the export is read to its end. Times are
    UTC in ISO 8601; `finished_at` is None while the job is unfinished. `seconds`: the duration of its runs so far, as
    far as it is durable. `last_run`: the end of its latest run, if that left it unfinished. `set_aside`: the bug for
    which an unfinished job only comes to its end. `quarantine`: what a guard found, for which an unfinished job waits
    until it is approved. `came_back`: by job that loaded rejected rows of this one, mended,
    the number of those that it took. `verified`: when a sample was read back from Target, and the ids of it by what was
    found; None if there is none. `oldest_accepted`: when Target accepted the oldest batch that it has not applied yet.
    """

    job: str
    state: str
    error: str | None
    export: str
    started_at: str
    finished_at: str | None
    seconds: float
    last_run: RunStatus | None
    read_to_line: int | None
    rows: dict[str, int]
    batches: dict[str, int]
    is_abandoned: bool
    set_aside: str | None
    quarantine: str | None
    waits_for: list[str]
    retry_of: str | None
    came_back: dict[str, int]
    route: str
    client_code: str = ""
    verified: dict[str, Any] | None = None
    oldest_accepted: str | None = None


def job_status(ledger: LedgerReader, record: JobRecord, around: Surroundings) -> JobStatus:
    """The status of a job: rows by class, batches by phase, and what it waits for until when."""
    lives = _lives(ledger, ledger.batches(job=record))
    if record.report is not None:
        # The ledger counts rows up to the last seal, the report all that were read.
        rows, held = plain(record.report.rows), 0
    else:
        progress = Progress(checkpoint=record.checkpoint)
        for batch, life in lives:
            progress.book.adopt(batch.batch, life, now=0.0, hold_s=0.0)
        held = len(ledger.held_rows(record))
        rows = _rows_so_far(record, progress.rows())
    aside = None if record.state else ledger.set_aside().get(record.job_id)
    quarantine = record.checkpoint.quarantine if ledger.is_quarantined(record) else None
    phases = Counter(_phase(life) for _, life in lives)
    return JobStatus(
        job=record.job_id,
        state=record.state or ("unfinished" if quarantine is None else "quarantined"),
        error=record.report.error if record.report else None,
        export=str(record.export),
        started_at=record.started_at,
        finished_at=record.report.finished_at if record.report else None,
        seconds=round(record.report.seconds if record.report else record.seconds, 3),
        last_run=_last_run(record),
        read_to_line=None if record.checkpoint.has_ended else record.checkpoint.position.line,
        rows=rows | {"held": held},
        batches=dict(phases),
        is_abandoned=record.is_abandoned,
        set_aside=None if aside is None else aside.why,
        quarantine=quarantine,
        waits_for=[] if record.state else _Waiting(ledger, record, lives, around, aside is not None).reasons(held),
        retry_of=record.retry_of,
        came_back=_came_back(ledger, record),
        route=record.route,
        client_code=around.settings.target.client_code,
        verified=JobFolder(around.settings.outcome_directory / record.job_id).read_verified(),
        oldest_accepted=_oldest_accepted(lives),
    )


def _came_back(ledger: LedgerReader, record: JobRecord) -> dict[str, int]:
    """By job that has loaded rejected rows of this one, mended: the rows that were not rejected again."""
    reports = {job.job_id: job.report for job in ledger.retries_of(record.job_id) if job.is_of_mended}
    return {job_id: report.rows.read - report.rows.rejected for job_id, report in reports.items() if report}


def _last_run(record: JobRecord) -> RunStatus | None:
    last = record.last_run
    return None if last is None else RunStatus(last.finished_at, last.exit_code, last.why)


def _rows_so_far(record: JobRecord, rows: RowCounts) -> dict[str, int]:
    """The rows of an unfinished job by class, as its report had them when its latest run ended, if that was since.

    The ledger counts rows up to the last seal, the report all that were read.
    """
    # Batches are read after their job: one may have been sealed or settled since.
    rows.pending = max(0, rows.read - rows.accounted)
    told = record.last_run.rows if record.last_run else None
    is_as_told = told is not None and rows.read <= told.read and _settled(rows) == _settled(told)
    latest = told if told is not None and is_as_told else rows
    counts = asdict(latest)
    # Unsent rows are known when the job has ended.
    del counts["unsent"]
    return counts


def _settled(rows: RowCounts) -> tuple[int, int, int]:
    return rows.confirmed, rows.failed, rows.unconfirmed


#: The phase of batches whose statuses are awaited, as `JobStatus.batches` names it.
FOLLOWED = Phase.FOLLOWING.value.removeprefix("is ")


def _phase(life: Life) -> str:
    return "split" if isinstance(life.last, SplitUp) else life.phase.value.removeprefix("is ")


def _lives(ledger: LedgerReader, records: list[BatchRecord]) -> list[tuple[BatchRecord, Life]]:
    return [(record, life_of(ledger, record)) for record in records]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """The things an unfinished job waits for. Time limits count anew from when a process goes on with the job."""

    ledger: LedgerReader
    record: JobRecord
    lives: list[tuple[BatchRecord, Life]]
    around: Surroundings
    is_set_aside: bool

    @property
    def _is_given_up(self) -> bool:
        """True if nothing more of the job is sent."""
        return self.record.is_abandoned or self.is_set_aside

    def reasons(self, held: int) -> list[str]:
        """Each thing that the job waits for, in words."""
        told = self._following()
        if self.ledger.is_quarantined(self.record):
            told.append(f"`approve {self.record.job_id}`, which sends it, or `abandon`, which drops it")
        if unsent := sum(self._is_to_be_sent(life) for _, life in self.lives):
            told.append(f"{_batches(unsent)} to be sent")
        # The rows that a job holds which is given up are not sent.
        if held and not self._is_given_up:
            told.append(f"ids in earlier batches, for which {counted(held, 'row')} {'is' if held == 1 else 'are'} held")
            told += self._holding()
        if not self.record.has_begun and self.around.before and self.around.at_it_since is None:
            count = len(self.around.before)
            told.append(f"its turn, behind {counted(count, 'job')}{' or more' if count >= MOST_BEFORE else ''}")
        if self.record.is_abandoned and self.around.pause:
            told.append(f"the service, which itself waits since {time_in_words(self.around.pause.since)}: it ends then")
        return told

    def _is_to_be_sent(self, life: Life) -> bool:
        """True if the process that goes on with the job sends the batch, which it may be doing now."""
        ending = EndStage.NO_ATTEMPTS if self._is_given_up else EndStage.NONE
        next_life, _ = after_restart(life, 0.0)
        policy = retry_policy_of(self.around.settings.upload)
        return isinstance(next_step(next_life, policy, ending), Attempt)

    def _following(self) -> list[str]:
        times = [_latest(record) for record, life in self.lives if life.phase is Phase.FOLLOWING]
        if not times:
            return []
        oldest = min(times)
        age_s = (self.around.now - oldest).total_seconds()
        given_up = self._end(oldest, self.around.settings.settle.deadline_s, is_unpaused=True)
        return [
            f"Target to apply {_batches(len(times))}, the oldest accepted {roughly(age_s)} ago (given up {given_up})"
        ]

    def _holding(self) -> list[str]:
        unfinished = self.ledger.unfinished_with_open_batches() - {*self.around.before}
        others = [record for record in self.ledger.batches() if record.job not in {*unfinished, self.record.seq}]
        times = [
            _latest(record)
            for record, life in [*self.lives, *_lives(self.ledger, others)]
            if life.open_since
            and not life.is_released
            and life.phase is Phase.SETTLED
            and not isinstance(life.last, SplitUp)
        ]
        if not times:
            return []
        until = self._end(max(times), self.around.settings.settle.ambiguous_hold_s)
        return [f"{_batches(len(times))} that Target may have twice, or may apply yet, at the latest {until}"]

    def _end(self, begun: datetime, after_s: float, *, is_unpaused: bool = False) -> str:
        """The time `after_s` after `begun`, in words; with `is_unpaused`, pauses of time windows do not count."""
        if self.around.at_it_since is None:
            return f"{roughly(after_s)} after a process goes on with the job"
        begun = max(begun, self.around.at_it_since)
        schedule = schedule_of(self.around.settings.windows if is_unpaused else ())
        return f"at {_passed_by(schedule.after(begun, after_s))}"


def _oldest_accepted(lives: list[tuple[BatchRecord, Life]]) -> str | None:
    times = [_latest(record) for record, life in lives if life.phase is Phase.FOLLOWING]
    return min(times).isoformat(timespec="seconds") if times else None


def _latest(record: BatchRecord) -> datetime:
    return datetime.fromisoformat(record.times[-1])


def _batches(count: int) -> str:
    return counted(count, "batch", "batches")


def _passed_by(at: datetime) -> str:
    """The first minute at which a time has certainly passed: times of jobs are whole seconds."""
    return utc_minute(at + timedelta(seconds=60))


def utc_minute(at: datetime) -> str:
    """A time to the minute, for people."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
