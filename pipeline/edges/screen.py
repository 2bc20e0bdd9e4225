"""What a person sees: the progress of a load while it runs, and its report when it has ended."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.core.progress import Progress as JobProgress

if TYPE_CHECKING:
    from rich.progress import Progress

#: How often a terminal is refreshed, and how often a line goes to a log that is no terminal (seconds).
REFRESH_S = 0.25
LOG_EVERY_S = 10.0

Sleep = Callable[[float], Awaitable[None]]

_MEANINGS = {
    "confirmed": "applied by Target",
    "superseded": "merged into a later row of the same id",
    "rejected": "not sent, see rejects.jsonl",
    "empty": "no value besides the id, nothing to send",
    "failed": "refused or failed by Target",
    "unconfirmed": "Target may have applied them, nobody can tell",
    "unsent": "not sent, the job ended before",
}
_WARNINGS = {
    "id_over_128_characters": "ids are longer than 128 characters, more than some of Adobe's pages allow",
    "value_over_256_characters": "values are longer than 256 characters",
    "value_with_delimiter": "values or ids hold a comma or a line break ([export] on_delimiter says what is sent)",
    "bare_quote": "rows have a quote inside an unquoted value, which was taken as it stands",
}
_GOOD = ("confirmed", "superseded", "empty")
_STATES = {
    "done": ("green", "done"),
    "incomplete": ("yellow", "finished, but rows were lost"),
    "failed": ("red", "failed"),
    "unfinished": ("red", "not finished"),
    "skipped": ("cyan", "read, nothing sent"),
}


class Bars:
    """The bars of all jobs that run, on one terminal, which has room for one display only."""

    def __init__(self) -> None:
        self._display: Progress | None = None
        self._shown = 0

    async def show(self, name: str, progress: JobProgress, waits_for: Callable[[], str], sleep: Sleep) -> None:
        """Draw two bars for a job, what is read and what Target has confirmed, until cancelled."""
        with self._drawn() as display:
            reading = display.add_task(f"read {name}", total=None, told="")
            settling = display.add_task("confirmed by Target", total=None, told="")
            try:
                while True:
                    rows = progress.rows()
                    display.update(
                        reading,
                        total=progress.export_bytes or None,
                        completed=progress.bytes_read,
                        told=f"{rows.read:,} rows" + (f", {rows.rejected:,} rejected" if rows.rejected else ""),
                    )
                    display.update(
                        settling,
                        total=(progress.sealed_rows + progress.unplaced_rows) or None,
                        completed=rows.confirmed + rows.failed + rows.unconfirmed,
                        told=f"{rows.confirmed:,} rows; {waits_for()}",
                    )
                    await sleep(REFRESH_S)
            finally:
                display.remove_task(reading)
                display.remove_task(settling)

    @contextmanager
    def _drawn(self) -> Iterator["Progress"]:
        """The display, which is there as long as any job is shown."""
        # A load that is not watched does not wait for the bars.
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

        if self._display is None:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("{task.fields[told]}"),
            )
            self._display = Progress(*columns, console=Console(stderr=True), transient=True)
            self._display.start()
        self._shown += 1
        try:
            yield self._display
        finally:
            self._shown -= 1
            if not self._shown:
                self._display.stop()
                self._display = None


async def log_progress(progress: JobProgress, waits_for: Callable[[], str], sleep: Sleep) -> None:
    """Write a line to the log now and then, until cancelled."""
    log = structlog.get_logger()
    while True:
        await sleep(LOG_EVERY_S)
        rows = progress.rows()
        log.info(
            "load_progress",
            read=rows.read,
            confirmed=rows.confirmed,
            rejected=rows.rejected,
            bytes_read=progress.bytes_read,
            bytes=progress.export_bytes,
            sealed=len(progress.sealed),
            settled=len(progress.settled),
            waits_for=waits_for(),
        )


def print_report(report: dict[str, Any], folder: Path, console: Console) -> None:
    """Print a report for people: what happened, to how many rows, and what to do."""
    color, told = _STATES[report["state"]]
    export = report["export"]
    title = Text.assemble(
        (export["name"], "bold"),
        " -> Target client ",
        (report["client_code"], "bold"),
        ": ",
        (told, f"bold {color}"),
        f" after {report['seconds']:,.1f} s",
    )
    parts: list[RenderableType] = [title, Padding(_rows_table(report["rows"]), (0, 0, 0, 2))]
    parts += [Text(f"  {line}") for line in _details(report)]
    if report["error"]:
        parts.append(Text(f"  {report['error']}", style="red"))
    parts += [Text(f"  {line}", style="bold") for line in _to_do(report, folder)]
    parts.append(Text(f"  Folder of this job: {folder}"))
    console.print(Group(*parts), soft_wrap=True)


def _rows_table(rows: dict[str, int]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column()
    table.add_column(style="dim")
    table.add_row(f"{rows['read']:,}", "rows read", "")
    for name, meaning in _MEANINGS.items():
        if rows[name] or name == "confirmed":
            style = "green" if name == "confirmed" else "" if name in _GOOD else "yellow"
            table.add_row(f"{rows[name]:,}", name, meaning, style=style)
    return table


def _details(report: dict[str, Any]) -> list[str]:
    lines = []
    by_reason = report["rejects"]["by_reason"]
    if by_reason:
        lines.append("Rejected: " + ", ".join(f"{count:,} {reason}" for reason, count in by_reason.items()))
    for name, count in report["warnings"].items():
        if isinstance(count, dict):
            worst = ", ".join(f"{column} {number:,}" for column, number in list(count.items())[:8])
            more = " ..." if len(count) > 8 else ""
            lines.append(f"Note: empty cells, for which Target keeps the old value: {worst}{more}")
        else:
            lines.append(f"Note: {count:,} {_WARNINGS[name]}")
    batches = report["batches"]
    if batches:
        states = [batch["state"] if _is_no_reject(batch) else "rejected" for batch in batches]
        counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        again = sum(batch["attempts"] - 1 for batch in batches)
        lines.append(
            f"Batches: {counted}; {report['calls']} calls to Target"
            + (f", {again} of them attempts after the first of a batch" if again > 0 else "")
        )
    # Rejected rows are told of as such, not as the batches of one row that they came to.
    reasons = [
        f"Batch {batch['number']}: {batch['why']}" for batch in batches if batch.get("why") and _is_no_reject(batch)
    ]
    lines += reasons[:5]
    return lines


def _is_no_reject(batch: dict[str, Any]) -> bool:
    """Whether a batch is anything but one rejected row; if it has a `why`, some of its rows are lost."""
    return not batch.get("rejected")


def _to_do(report: dict[str, Any], folder: Path) -> list[str]:
    rows, state = report["rows"], report["state"]
    lines = []
    if rows["rejected"]:
        lines.append("To do: mend the rejected rows at their source; rejects.jsonl has line and reason of each.")
    if rows["failed"]:
        lines.append(
            "To do: look at the rows Target failed: failed.jsonl names them, unless their whole batch was refused."
        )
    if rows["unconfirmed"]:
        lines.append("To do: check some of the unconfirmed profiles in Target before sending them again.")
    # A job that has not ended cannot be sent again. Of a batch that is complete, only rows that Target named can.
    named = (folder / "failed.jsonl").exists()
    whole = any(batch["state"] in ("failed", "unconfirmed") and _is_no_reject(batch) for batch in report["batches"])
    if state != "unfinished" and (named or whole):
        lines.append(
            f"To do: `profile-pipeline retry {report['job']}` sends failed and unconfirmed rows again, but no value "
            "that a later row has overtaken."
        )
    if state == "unfinished":
        lines.append("To do: remove the cause and run the same command again; it goes on where it was.")
    return lines
