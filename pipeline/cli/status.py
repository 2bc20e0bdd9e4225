"""What goes on in a state directory, in words: read from the ledger, beside the process that writes it."""

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.markup import escape

from pipeline.cli.ask import tenants_about
from pipeline.cli.drop_status import drop_lines, drop_status
from pipeline.core.batches.lifecycle import Life, Phase, SplitUp, settlement
from pipeline.core.batches.progress import Progress
from pipeline.core.duration import roughly
from pipeline.core.target.status_memory import STATUSES_KEPT, Learned
from pipeline.edges.lock import held_since, holder
from pipeline.edges.store.ledger import Ledger, read_ledger
from pipeline.edges.store.notice import read_pause
from pipeline.edges.store.records import BatchRecord, JobRecord
from pipeline.edges.store.state import inherited, life_of
from pipeline.edges.target.time_windows import in_words
from pipeline.edges.target.time_windows import told as told_of_window
from pipeline.jobs.claims import in_order
from pipeline.jobs.job import unknown_job
from pipeline.jobs.open_state import without_route
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import DEFAULT_ROUTE, Configuration
from pipeline.settings.time_windows import schedule_of

#: `status` without a job tells of so many, the latest.
_SHOWN_JOBS = 10


def job_status(
    ledger: Ledger, record: JobRecord, settings: Settings, now: datetime, at_it_since: datetime | None
) -> dict[str, Any]:
    """How a job stands: rows by class, batches by phase, and what it waits for until when.

    `at_it_since` is when a process began it or went on with it, None where none is at it.
    """
    lives = _lives(ledger, ledger.batches(job=record))
    progress = Progress(checkpoint=record.checkpoint)
    for batch, life in lives:
        progress.sealed[batch.batch.batch_id] = batch.batch
        if life.phase is Phase.SETTLED and not life.is_dropped:
            progress.settled[batch.batch.batch_id] = settlement(batch.batch, life, now=0.0, hold_s=0.0)
    if record.report is not None:
        # The ledger knows of rows up to the last seal, the report of all that were read.
        rows, held = asdict(record.report.rows), 0
    else:
        rows, held = asdict(progress.rows()), len(ledger.held_rows(record))
        # Which rows end unsent is known when the job has ended.
        del rows["unsent"]
    phases = Counter(_phase(life) for _, life in lives)
    return {
        "job": record.job_id,
        "state": record.state or "unfinished",
        "error": record.report.error if record.report else None,
        "export": str(record.export),
        "started_at": record.started_at,
        "read_to_line": None if record.checkpoint.has_ended else record.checkpoint.position.line,
        "rows": rows | {"held": held},
        "batches": dict(phases),
        "is_abandoned": record.is_abandoned,
        "waits_for": [] if record.state else _Waiting(ledger, record, lives, settings, now, at_it_since).reasons(held),
        "retry_of": record.retry_of,
        "route": record.route,
    }


def _phase(life: Life) -> str:
    return "split" if isinstance(life.last, SplitUp) else life.phase.value.removeprefix("is ")


def _lives(ledger: Ledger, records: list[BatchRecord]) -> list[tuple[BatchRecord, Life]]:
    return [(record, life_of(record, inherited(ledger, record.batch))) for record in records]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What an unfinished job waits for. What ends after so long counts anew from when a process goes on with it."""

    ledger: Ledger
    record: JobRecord
    lives: list[tuple[BatchRecord, Life]]
    settings: Settings
    now: datetime
    at_it_since: datetime | None

    def reasons(self, held: int) -> list[str]:
        """Each thing that the job waits for, in words."""
        unsent = [life for _, life in self.lives if life.phase in (Phase.READY, Phase.POSTING, Phase.REFUSED)]
        if self.record.is_abandoned:
            # What Target may have is sent again, to learn what became of it; nothing else is, and no row waits for it.
            unsent = [life for life in unsent if life.may_be_applied]
            held = 0
        told = self._following()
        if unsent:
            told.append(f"{_batches(len(unsent))} to be sent")
        if held:
            told.append(f"ids in earlier batches, for which {held:,} rows are held")
            told += self._holding()
        return told

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
        """When it ends what began then; with `is_unpaused` the time in which a window pauses does not count."""
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
    """The minute in which a time has passed for certain: times of jobs are whole seconds."""
    return _clock(at + timedelta(seconds=60))


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def statuses(configuration: Configuration, job_id: str | None, now: datetime) -> dict[str, Any]:
    """How all tenants stand; of one tenant, or one job, as `status` tells it. Blocks."""
    told = []
    for tenant in tenants_about(configuration, job_id):
        ledger = read_ledger(tenant.directory / "ledger.db")
        one = status(ledger, job_id, tenant.settings, now, holder(tenant.directory))
        if configuration.has_routes and job_id is None:
            one["drop"] = None
            one["routes"] = [{"route": name, "drop": drop_status(of, now)} for name, of in tenant.routes.items()]
        told.append(one)
    left = [
        {"client_code": owner.client_code, "state_directory": str(directory), "unfinished": owner.unfinished}
        for directory, owner in without_route(configuration).items()
    ]
    whole = told[0] if len(told) == 1 else {"client_codes": told}
    return {**whole, "without_route": left} if left and job_id is None else whole


def status(
    ledger: Ledger | None, job_id: str | None, settings: Settings, now: datetime, held_by: str | None
) -> dict[str, Any]:
    """How the state directory stands: who holds it, whether sending is paused, and its jobs, the latest last."""
    every = records = [] if ledger is None else ledger.jobs()
    since = held_since(settings.state.directory) if held_by else None
    if job_id is not None:
        records = [record for record in records if record.job_id == job_id]
        if not records:
            raise unknown_job(job_id)
    latest = records[-_SHOWN_JOBS:]
    pause = read_pause(settings.state.directory) if held_by else None
    jobs = [record for record in records if record in latest or record.state is None]
    return {
        "client_code": settings.target.client_code,
        "state_directory": str(settings.state.directory),
        "held_by": held_by,
        "is_paused": ledger is not None and ledger.is_paused,
        "status_window": _status_window(ledger, settings),
        "window": _window(settings, now),
        "paused_by_itself": asdict(pause) if pause else None,
        "drop": None if job_id else drop_status(settings, now),
        "jobs": []
        if ledger is None
        else [job_status(ledger, record, settings, now, _at_it_since(record, every, since)) for record in jobs],
    }


def _at_it_since(record: JobRecord, records: list[JobRecord], since: datetime | None) -> datetime | None:
    """When the process that holds the directory since then began a job or went on with it.

    None where there is no such process, or the job waits for an earlier one to be read.
    """
    order = in_order([other for other in records if other.state is None])
    if since is None or record not in order:
        return None
    before = order[: order.index(record)]
    if not all(other.checkpoint.has_ended for other in before):
        return None
    ended = [datetime.fromisoformat(other.report.finished_at) for other in records if other.report]
    return max([since, datetime.fromisoformat(record.started_at), *ended])


def _status_window(ledger: Ledger | None, settings: Settings) -> dict[str, Any]:
    """How many batches may be under way, whether that was learned, and when more did not hold."""
    fixed = settings.settle.status_window
    if fixed != "auto":
        return {"size": fixed, "is_learned": False, "more_failed_at": None}
    learned = Learned() if ledger is None else ledger.learned_statuses()
    return {
        "size": learned.size,
        "is_learned": learned.size > STATUSES_KEPT,
        "more_failed_at": learned.failed_at.isoformat() if learned.failed_at else None,
    }


def _window(settings: Settings, now: datetime) -> dict[str, Any] | None:
    """What the time windows allow now, and from `until` on; None where there are none."""
    if not settings.windows:
        return None
    schedule = schedule_of(settings.windows)
    held = schedule.at(now)
    later = held.until and schedule.at(held.until)
    return {
        **told_of_window(held),
        "in_words": in_words(held),
        "then": in_words(later) if later else None,
    }


def print_statuses(told: dict[str, Any], console: Console) -> None:
    """The same for people."""
    for number, one in enumerate(told.get("client_codes", [told])):
        if number:
            console.print()
        print_status(one, console)
    for left in told.get("without_route", []):
        console.print(
            f"\n[yellow]{left['unfinished']} unfinished jobs of client code {left['client_code']}[/], which has no "
            f"route any more, in {escape(left['state_directory'])}: give it a route again until they have ended.",
            soft_wrap=True,
            highlight=False,
        )


def print_status(told: dict[str, Any], console: Console) -> None:
    """The same for people."""
    lines = [f"[bold]{told['client_code']}[/], {told['state_directory']}"]
    if told["held_by"]:
        lines.append(f"Process {told['held_by']} is at work.")
    if told["is_paused"]:
        lines.append("[yellow]Sending is paused[/]: `profile-pipeline resume` goes on.")
    if told["window"]:
        now, then = told["window"]["in_words"], told["window"]["then"]
        color = "yellow" if told["window"]["pause"] else "cyan"
        lines.append(f"[{color}]Time windows[/]: {now}{f'; then {then}' if then else ''}.")
    if told["paused_by_itself"]:
        paused = told["paused_by_itself"]
        lines.append(f"[yellow]Waiting since {paused['since']}[/]: {escape(str(paused['why']))}")
    if told["drop"]:
        lines += [escape(line) for line in drop_lines(told["drop"])]
    for route in told.get("routes", []):
        lines.append(
            f"Route {route['route']}: {escape(route['drop']['directory'] if route['drop'] else 'no drop directory')}"
        )
        lines += [f"  {escape(line)}" for line in drop_lines(route["drop"])] if route["drop"] else []
    window = told["status_window"]
    if window["is_learned"]:
        lines.append(f"Target keeps at least {window['size']} statuses: so many batches may be under way.")
    if window["more_failed_at"]:
        failed_at = datetime.fromisoformat(window["more_failed_at"])
        lines.append(f"More than {window['size']} did not hold on {_clock(failed_at)}; they are tried a day later.")
    if not told["jobs"]:
        lines.append("No job yet.")
    for job in told["jobs"]:
        lines += _job_lines(job, is_running=bool(told["held_by"]))
    console.print("\n".join(lines), soft_wrap=True, highlight=False)


def _job_lines(job: dict[str, Any], *, is_running: bool) -> list[str]:
    color = {"done": "green", "unfinished": "cyan"}.get(job["state"], "yellow")
    rows = job["rows"]
    counts = ", ".join(f"{count:,} {name}" for name, count in rows.items() if count or name == "read")
    by = "" if job["route"] == DEFAULT_ROUTE else f"  route {job['route']}"
    lines = [f"\n[bold]{job['job']}[/]  [{color}]{job['state']}[/]{by}", f"  rows: {counts}"]
    if job["batches"]:
        lines.append("  batches: " + ", ".join(f"{count} {phase}" for phase, count in job["batches"].items()))
    if job["error"]:
        lines.append(f"  {escape(job['error'])}")
    if job["state"] == "unfinished":
        if job["read_to_line"] is not None:
            lines.append(f"  read up to line {job['read_to_line']:,} of {job['export']}")
        lines += [f"  waits for {reason}" for reason in job["waits_for"]]
        if job["is_abandoned"]:
            lines.append("  abandoned: what Target may have is followed to its end, the rest will not be sent")
        if not is_running:
            lines.append("  No process is at work: the next `load` or `serve` goes on with it.")
    return lines
