"""The status of a job, and what it waits for until when: read from the ledger, beside the process that writes it."""

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from pipeline.core.batches.lifecycle import Life, Phase, SplitUp, after_restart
from pipeline.core.batches.progress import Progress
from pipeline.core.batches.retry_policy import Attempt, EndStage, next_step
from pipeline.core.duration import roughly
from pipeline.core.model import RowCounts
from pipeline.core.plain import plain
from pipeline.edges.store.ledger import Ledger
from pipeline.edges.store.records import BatchRecord, JobRecord
from pipeline.edges.store.state import life_of
from pipeline.jobs.claims import in_order
from pipeline.jobs.job import retry_policy_of
from pipeline.settings.settings import Settings
from pipeline.settings.time_windows import schedule_of


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The status of a job; its fields, in this order, are the keys of `status --json`.

    `rows` counts by class, `batches` by phase. `read_to_line` is None once the export is read to its end.
    """

    job: str
    state: str
    error: str | None
    export: str
    started_at: str
    read_to_line: int | None
    rows: dict[str, int]
    batches: dict[str, int]
    is_abandoned: bool
    waits_for: list[str]
    retry_of: str | None
    route: str


def job_status(
    ledger: Ledger, record: JobRecord, settings: Settings, now: datetime, at_it_since: datetime | None
) -> JobStatus:
    """The status of a job: rows by class, batches by phase, and what it waits for until when.

    `at_it_since` is the time at which a process began it or went on with it; None if no process is at it.
    """
    lives = _lives(ledger, ledger.batches(job=record))
    progress = Progress(checkpoint=record.checkpoint)
    for batch, life in lives:
        progress.book.adopt(batch.batch, life, now=0.0, hold_s=0.0)
    if record.report is not None:
        # The ledger counts rows up to the last seal, the report all that were read.
        rows, held = plain(record.report.rows), 0
    else:
        held = len(ledger.held_rows(record))
        rows = _rows_so_far(record, progress.rows())
    phases = Counter(_phase(life) for _, life in lives)
    return JobStatus(
        job=record.job_id,
        state=record.state or "unfinished",
        error=record.report.error if record.report else None,
        export=str(record.export),
        started_at=record.started_at,
        read_to_line=None if record.checkpoint.has_ended else record.checkpoint.position.line,
        rows=rows | {"held": held},
        batches=dict(phases),
        is_abandoned=record.is_abandoned,
        waits_for=[] if record.state else _Waiting(ledger, record, lives, settings, now, at_it_since).reasons(held),
        retry_of=record.retry_of,
        route=record.route,
    )


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


def _phase(life: Life) -> str:
    return "split" if isinstance(life.last, SplitUp) else life.phase.value.removeprefix("is ")


def _lives(ledger: Ledger, records: list[BatchRecord]) -> list[tuple[BatchRecord, Life]]:
    return [(record, life_of(ledger, record)) for record in records]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """The things an unfinished job waits for. Time limits count anew from when a process goes on with the job."""

    ledger: Ledger
    record: JobRecord
    lives: list[tuple[BatchRecord, Life]]
    settings: Settings
    now: datetime
    at_it_since: datetime | None

    def reasons(self, held: int) -> list[str]:
        """Each thing that the job waits for, in words."""
        told = self._following()
        if unsent := sum(self._is_to_be_sent(life) for _, life in self.lives):
            told.append(f"{_batches(unsent)} to be sent")
        # The rows that an abandoned job holds are not sent.
        if held and not self.record.is_abandoned:
            told.append(f"ids in earlier batches, for which {held:,} rows are held")
            told += self._holding()
        return told

    def _is_to_be_sent(self, life: Life) -> bool:
        """True if the process that goes on with the job sends the batch, which it may be doing now."""
        ending = EndStage.NO_ATTEMPTS if self.record.is_abandoned else EndStage.NONE
        next_life, _ = after_restart(life, 0.0)
        return isinstance(next_step(next_life, retry_policy_of(self.settings.upload), ending), Attempt)

    def _following(self) -> list[str]:
        times = [_latest(record) for record, life in self.lives if life.phase is Phase.FOLLOWING]
        if not times:
            return []
        oldest = min(times)
        age_s = (self.now - oldest).total_seconds()
        given_up = self._end(oldest, self.settings.settle.deadline_s, is_unpaused=True)
        return [
            f"Target to apply {_batches(len(times))}, the oldest accepted {roughly(age_s)} ago (given up {given_up})"
        ]

    def _holding(self) -> list[str]:
        order = [job.seq for job in in_order(self.ledger.jobs(unfinished_only=True))]
        behind = order[order.index(self.record.seq) :]
        others = [record for record in self.ledger.batches() if record.job not in behind]
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
        until = self._end(max(times), self.settings.settle.ambiguous_hold_s)
        return [f"{_batches(len(times))} that Target may have twice, or may apply yet, at the latest {until}"]

    def _end(self, begun: datetime, after_s: float, *, is_unpaused: bool = False) -> str:
        """The time `after_s` after `begun`, in words; with `is_unpaused`, pauses of time windows do not count."""
        if self.at_it_since is None:
            return f"{roughly(after_s)} after a process goes on with the job"
        begun = max(begun, self.at_it_since)
        schedule = schedule_of(self.settings.windows if is_unpaused else ())
        return f"at {_passed_by(schedule.after(begun, after_s))}"


def _latest(record: BatchRecord) -> datetime:
    return datetime.fromisoformat(record.times[-1])


def _batches(count: int) -> str:
    return f"{count} batch{'es' if count != 1 else ''}"


def _passed_by(at: datetime) -> str:
    """The first minute at which a time has certainly passed: times of jobs are whole seconds."""
    return utc_minute(at + timedelta(seconds=60))


def utc_minute(at: datetime) -> str:
    """A time to the minute, for people."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
