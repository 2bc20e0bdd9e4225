"""The screen: the progress of a load while it runs, and its report when it has ended.

It is imported only where a person watches: other loads need not wait for the libraries that draw.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from pipeline.core.batches.progress import Progress as JobProgress
from pipeline.core.batches.report import Report
from pipeline.core.model import RowCounts
from pipeline.edges.terminal import console
from pipeline.edges.views.wording import GOOD, IN_SANDBOX, MEANINGS, STATES, details, to_do

#: Seconds between two refreshes of a terminal.
REFRESH_S = 0.25

Sleep = Callable[[float], Awaitable[None]]

_COLORS = {"done": "green", "incomplete": "yellow", "failed": "red", "unfinished": "red", "skipped": "cyan"}


class Bars:
    """The progress bars of all running jobs, on one terminal, which has room for one display only."""

    def __init__(self) -> None:
        self._display: Progress | None = None
        self._shown = 0

    async def show(self, name: str, progress: JobProgress, waits_for: Callable[[], str], sleep: Sleep) -> None:
        """Draw two bars for a job, one for what is read and one for what Target has confirmed, until cancelled."""
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
                        total=(progress.book.rows + progress.unplaced_rows) or None,
                        completed=rows.confirmed + rows.failed + rows.unconfirmed,
                        told=f"{rows.confirmed:,} rows; {waits_for()}",
                    )
                    await sleep(REFRESH_S)
            finally:
                display.remove_task(reading)
                display.remove_task(settling)

    @contextmanager
    def _drawn(self) -> Iterator[Progress]:
        """The display, which exists as long as any job is shown."""
        if self._display is None:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("{task.fields[told]}"),
            )
            self._display = Progress(*columns, console=console(stderr=True), transient=True)
            self._display.start()
        self._shown += 1
        try:
            yield self._display
        finally:
            self._shown -= 1
            if not self._shown:
                self._display.stop()
                self._display = None


def print_report(report: Report, folder: Path, to: Console, *, is_trial: bool = False, is_kept: bool = True) -> None:
    """Print a report for people: the outcome, the number of rows in each class, and the things to do.

    A `folder` that is not kept is not named, and there is nothing to do about the job. `is_trial`: see `to_do`.
    """
    color, told = _COLORS[report.state], STATES[report.state]
    title = Text.assemble(
        (report.export.name, "bold"),
        " -> Target client ",
        (report.client_code, "bold"),
        ": ",
        (told, f"bold {color}"),
        f" after {report.seconds:,.1f} s",
    )
    where: list[RenderableType] = [Text(f"  {IN_SANDBOX}", style="bold magenta")] if report.is_of_sandbox else []
    parts: list[RenderableType] = [title, *where, Padding(_rows_table(report.rows), (0, 0, 0, 2))]
    parts += [Text(f"  {line}") for line in details(report)]
    if report.error:
        parts.append(Text(f"  {report.error}", style="red"))
    if is_kept:
        parts += [Text(f"  {line}", style="bold") for line in to_do(report, folder, is_trial=is_trial)]
        parts.append(Text(f"  Folder of this job: {folder}"))
    to.print(Group(*parts), soft_wrap=True)


def _rows_table(rows: RowCounts) -> Table:
    counts = asdict(rows)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column()
    table.add_column(style="dim")
    table.add_row(f"{rows.read:,}", "rows read", "")
    for name, meaning in MEANINGS.items():
        if counts[name] or name == "confirmed":
            style = "green" if name == "confirmed" else "" if name in GOOD else "yellow"
            table.add_row(f"{counts[name]:,}", name, meaning, style=style)
    return table
