"""Prints the status of tenants for people."""

from datetime import date, datetime, timedelta

from rich.console import Console
from rich.markup import escape

from pipeline.core.duration import roughly, time_in_words
from pipeline.core.plural import counted
from pipeline.core.target.token_life import WARNED_DAYS, in_words
from pipeline.edges.store.notices import PAUSED
from pipeline.edges.views.wording import AWAY_TO_DO, GOES_ON, GOES_ON_BY_ITSELF, TRIES_AGAIN
from pipeline.jobs.status.drop import drop_lines
from pipeline.jobs.status.expected import NONE_HAS_COME, OverdueExport, to_do_about
from pipeline.jobs.status.job import JobStatus, utc_minute
from pipeline.jobs.status.not_sent import NotificationStatus
from pipeline.jobs.status.tenant import MemoryStatus, Status
from pipeline.jobs.status.tenants import Statuses
from pipeline.settings.tenants import DEFAULT_ROUTE


def print_statuses(told: Statuses, console: Console) -> None:
    """Print the status of all tenants."""
    for number, one in enumerate(told.tenants):
        if number:
            console.print()
        print_status(one, console)
    for left in told.without_route:
        jobs = counted(left.unfinished, "unfinished job")
        console.print(
            f"\n[yellow]{jobs} of client code {left.client_code}[/], which has no "
            f"route any more, in {escape(left.state_directory)}: give it a route again until they have ended.",
            soft_wrap=True,
            highlight=False,
        )


def print_status(told: Status, console: Console) -> None:
    """Print the status of one tenant."""
    lines = [f"[bold]{told.client_code}[/], {escape(told.state_directory)}"]
    if told.held_by:
        lines.append(f"Process {told.held_by} is at work.")
    lines += _hold_ups(told)
    if told.drop:
        lines += [escape(line) for line in drop_lines(told.drop)]
    for route in told.routes or ():
        lines.append(f"Route {route.route}: {escape(route.drop.directory if route.drop else 'no drop directory')}")
        lines += [f"  {escape(line)}" for line in drop_lines(route.drop)] if route.drop else []
    lines += [line for late in told.overdue for line in _overdue_lines(late, told.directory_of(late.route))]
    lines += _notification_lines(told.notifications) if told.notifications else []
    lines += _about_statuses(told)
    lines += _memory_lines(told.memory) if told.memory else []
    lines += _jobs(told)
    console.print("\n".join(lines), soft_wrap=True, highlight=False)


def _hold_ups(told: Status) -> list[str]:
    """The things that sending waits for, one a line."""
    lines = []
    if told.is_paused:
        paused, _, goes_on = PAUSED.partition(":")
        lines.append(f"[yellow]{paused.capitalize()}[/]:{goes_on}.")
    if told.window:
        now, then = told.window.in_words, told.window.then
        color = "yellow" if told.window.pause else "cyan"
        by_itself = f" {GOES_ON_BY_ITSELF}" if told.window.pause else ""
        lines.append(f"[{color}]Time windows[/]: {escape(now)}{f'; then {escape(then)}' if then else ''}.{by_itself}")
    if pause := told.paused_by_itself:
        lines.append(f"[yellow]Waiting since {time_in_words(pause.since)}[/]: {escape(str(pause.why))} {TRIES_AGAIN}")
    lines += [f"[yellow]{escape(words[0].upper() + words[1:])}.[/]" for words in told.held_up.words]
    lines += [f"  {AWAY_TO_DO}"] if told.held_up.away_since else []
    if told.log_lines_dropped:
        lines.append(f"[yellow]Its log lacks {counted(told.log_lines_dropped, 'line')}[/]: stderr did not take them.")
    if told.token_expires and told.token_days_left is not None:
        color = "yellow" if told.token_days_left <= WARNED_DAYS else "dim"
        ends = date.fromisoformat(told.token_expires)
        lines.append(f"[{color}]The token {in_words(ends, ends - timedelta(days=told.token_days_left))}.[/]")
    return lines


def _overdue_lines(late: OverdueExport, directory: str) -> list[str]:
    of = "" if late.route == DEFAULT_ROUTE else f" of route {late.route}"
    line = f"[yellow]Overdue[/]: an export{of} had to be done by {escape(late.by)}: {escape(late.why)}."
    # The job, if there is one, stands below with its reason.
    return [line, f"  {escape(to_do_about(late, directory))}"] if late.why == NONE_HAS_COME else [line]


def _notification_lines(told: NotificationStatus) -> list[str]:
    lines = [
        f"[yellow]Notifications are not taken[/] by {escape(name)} since {time_in_words(each.since)}: "
        f"{escape(each.why)}; {told.waiting:,} wait."
        for name, each in told.failing.items()
    ]
    if told.given_up:
        last = told.given_up[-1]
        count = counted(len(told.given_up), "notification was given up", "notifications were given up")
        lines.append(
            f"[yellow]{count}[/] in the last week, the last at {time_in_words(last.at)}: {last.event} of route "
            f"{last.route}, {escape(last.why)}."
        )
    return lines


def _about_statuses(told: Status) -> list[str]:
    window, lines = told.status_window, []
    if told.statuses_under_way:
        lines.append(f"{counted(told.statuses_under_way, 'batch is', 'batches are')} being applied by Target.")
    if window.is_learned:
        lines.append(f"Target keeps at least {window.size} statuses: so many batches may be under way.")
    if window.more_failed_at:
        failed_at = datetime.fromisoformat(window.more_failed_at)
        lines.append(f"More than {window.size} did not hold on {utc_minute(failed_at)}; they are tried a day later.")
    return lines


def _memory_lines(memory: MemoryStatus) -> list[str]:
    if memory.why:
        return [f"[yellow]{escape(memory.why[0].upper() + memory.why[1:])}[/]"]
    if not memory.ids:
        return [f"Remembered ({memory.remember}): no id yet."]
    size = (memory.size_bytes or 0) / 1e6
    lines = [
        f"Remembered ({memory.remember}): {counted(memory.ids, 'id')}, {size:,.1f} MB, the oldest since "
        f"{_minute(memory.oldest or '')}."
    ]
    if memory.is_behind:
        lines.append(
            "[yellow]The memory is behind[/]: rows were sent that it does not know. `profile-pipeline memory rebuild` "
            "empties it."
        )
    return lines


def _jobs(told: Status) -> list[str]:
    lines = []
    if told.older_jobs:
        lines.append(f"\n{counted(told.older_jobs, 'older job')}: --all shows all, --since 3d those of three days.")
    elif not told.jobs:
        lines.append("No job yet.")
    for job in told.jobs:
        lines += ["", *_job_lines(job, is_sent_again=_is_sent_again(job, told))]
    if told.waiting_jobs:
        more = counted(told.waiting_jobs, "more job waits", "more jobs wait")
        lines.append(f"\n{more} behind these: --all shows all.")
    if not told.held_by and any(job.state in GOES_ON for job in told.jobs):
        lines.append("\nNo process is at work: the next `load` or `serve` goes on with what is unfinished.")
    return lines


def _is_sent_again(job: JobStatus, told: Status) -> bool:
    """True if a retry of the rows that a job lost is done."""
    return any(
        each.retry_of == job.job and each.state == "done" and each.job not in job.came_back for each in told.jobs
    )


def _job_lines(job: JobStatus, *, is_sent_again: bool) -> list[str]:
    color = {"done": "green", "unfinished": "cyan"}.get(job.state, "yellow")
    by = "" if job.route == DEFAULT_ROUTE else f"  route {job.route}"
    lines = [f"[bold]{job.job}[/]  [{color}]{job.state}[/]{by}", f"  {_times(job)}"]
    # There is nothing to be told of the rows of a job that has not begun.
    if job.rows["read"] or job.state not in GOES_ON:
        counts = ", ".join(f"{count:,} {name}" for name, count in job.rows.items() if count or name == "read")
        lines.append(f"  rows: {counts}")
    lines += [f"  {counted(rows, 'rejected row')} came back, mended, by job {by}" for by, rows in job.came_back.items()]
    if job.verified:
        told = ", ".join(f"{count:,} {name}" for name, count in job.verified.items() if count and name != "at")
        lines.append(f"  read back at {_minute(job.verified['at'])}: {told or 'nothing'}")
    if job.batches:
        lines.append("  batches: " + ", ".join(f"{count:,} {phase}" for phase, count in job.batches.items()))
    if job.error:
        lines.append(f"  [yellow]{escape(job.error)}[/]")
    if job.state == "failed" and not job.is_abandoned:
        lines.append("  to do: remove the cause, then load or drop the export anew")
    elif job.state == "incomplete" and not is_sent_again:
        lines.append(f"  to do: `profile-pipeline retry {job.job}` sends the failed and unconfirmed rows again")
    return lines + (_unfinished(job) if job.state in GOES_ON else [])


def _unfinished(job: JobStatus) -> list[str]:
    lines = []
    if job.read_to_line is not None and job.rows["read"]:
        lines.append(f"  read up to line {job.read_to_line:,} of {escape(job.export)}")
    lines += [f"  waits for {escape(reason)}" for reason in job.waits_for]
    if job.quarantine:
        lines.append(f"  [yellow]in quarantine, nothing of it was sent[/]: {escape(job.quarantine)}")
    elif last := job.last_run:
        why = escape(str(last.why))
        lines.append(
            f"  [yellow]its run ended unfinished at {_minute(last.finished_at)} ({last.exit_code:d})[/]: {why}"
        )
    if job.set_aside:
        lines.append(f"  [yellow]set aside[/], so only followed to its end: {escape(job.set_aside)}")
    if job.is_abandoned:
        lines.append("  abandoned: what Target may have is followed to its end, the rest will not be sent")
    return lines


def _times(job: JobStatus) -> str:
    """The times of a job, in words."""
    worked = f"worked on for {roughly(job.seconds)}" if job.seconds else "not worked on yet"
    if job.finished_at:
        return (
            f"entered {_minute(job.started_at)}, ended {_minute(job.finished_at)}, worked on for {roughly(job.seconds)}"
        )
    return f"entered {_minute(job.started_at)}, {worked}"


def _minute(text: str) -> str:
    """A time in ISO 8601 to the minute, for people; empty if it is not known, as in reports of long ago."""
    return utc_minute(datetime.fromisoformat(text)) if text else ""
