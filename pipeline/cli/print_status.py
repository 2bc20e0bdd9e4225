"""Prints the status of tenants for people."""

from datetime import date, datetime, timedelta

from rich.console import Console
from rich.markup import escape

from pipeline.cli.drop_status import drop_lines
from pipeline.cli.job_status import JobStatus, utc_minute
from pipeline.cli.status import Status, Statuses
from pipeline.core.target.token_life import WARNED_DAYS, in_words
from pipeline.settings.tenants import DEFAULT_ROUTE


def print_statuses(told: Statuses, console: Console) -> None:
    """Print the status of all tenants."""
    for number, one in enumerate(told.tenants):
        if number:
            console.print()
        print_status(one, console)
    for left in told.without_route:
        console.print(
            f"\n[yellow]{left.unfinished} unfinished jobs of client code {left.client_code}[/], which has no "
            f"route any more, in {escape(left.state_directory)}: give it a route again until they have ended.",
            soft_wrap=True,
            highlight=False,
        )


def print_status(told: Status, console: Console) -> None:
    """Print the status of one tenant."""
    lines = [f"[bold]{told.client_code}[/], {told.state_directory}"]
    if told.held_by:
        lines.append(f"Process {told.held_by} is at work.")
    if told.is_paused:
        lines.append("[yellow]Sending is paused[/]: `profile-pipeline resume` goes on.")
    if told.window:
        now, then = told.window.in_words, told.window.then
        color = "yellow" if told.window.pause else "cyan"
        lines.append(f"[{color}]Time windows[/]: {now}{f'; then {then}' if then else ''}.")
    if pause := told.paused_by_itself:
        lines.append(f"[yellow]Waiting since {pause.since}[/]: {escape(str(pause.why))}")
    if told.drop:
        lines += [escape(line) for line in drop_lines(told.drop)]
    for route in told.routes or ():
        lines.append(f"Route {route.route}: {escape(route.drop.directory if route.drop else 'no drop directory')}")
        lines += [f"  {escape(line)}" for line in drop_lines(route.drop)] if route.drop else []
    if told.token_expires and told.token_days_left is not None:
        color = "yellow" if told.token_days_left <= WARNED_DAYS else "dim"
        ends = date.fromisoformat(told.token_expires)
        lines.append(f"[{color}]The token {in_words(ends, ends - timedelta(days=told.token_days_left))}.[/]")
    window = told.status_window
    if window.is_learned:
        lines.append(f"Target keeps at least {window.size} statuses: so many batches may be under way.")
    if window.more_failed_at:
        failed_at = datetime.fromisoformat(window.more_failed_at)
        lines.append(f"More than {window.size} did not hold on {utc_minute(failed_at)}; they are tried a day later.")
    if not told.jobs:
        lines.append("No job yet.")
    for job in told.jobs:
        lines += _job_lines(job, is_running=bool(told.held_by))
    console.print("\n".join(lines), soft_wrap=True, highlight=False)


def _job_lines(job: JobStatus, *, is_running: bool) -> list[str]:
    color = {"done": "green", "unfinished": "cyan"}.get(job.state, "yellow")
    rows = job.rows
    counts = ", ".join(f"{count:,} {name}" for name, count in rows.items() if count or name == "read")
    by = "" if job.route == DEFAULT_ROUTE else f"  route {job.route}"
    lines = [f"\n[bold]{job.job}[/]  [{color}]{job.state}[/]{by}", f"  rows: {counts}"]
    if job.batches:
        lines.append("  batches: " + ", ".join(f"{count} {phase}" for phase, count in job.batches.items()))
    if job.error:
        lines.append(f"  {escape(job.error)}")
    if job.state == "unfinished":
        if job.read_to_line is not None:
            lines.append(f"  read up to line {job.read_to_line:,} of {job.export}")
        lines += [f"  waits for {reason}" for reason in job.waits_for]
        if job.is_abandoned:
            lines.append("  abandoned: what Target may have is followed to its end, the rest will not be sent")
        if not is_running:
            lines.append("  No process is at work: the next `load` or `serve` goes on with it.")
    return lines
