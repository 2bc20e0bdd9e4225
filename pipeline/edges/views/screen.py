"""The screen: the report of a load when it has ended. `live` has it while it runs.

It is imported only where a person watches: other loads need not wait for the libraries that draw.
"""

import re
import shlex
from dataclasses import asdict
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from pipeline.core.batches.report import Report
from pipeline.core.drop.signals import shown
from pipeline.core.model import RowCounts
from pipeline.edges.views.wording import (
    GOOD,
    IN_SANDBOX,
    MEANINGS,
    PENDING_IN_QUARANTINE,
    PENDING_IN_TRIAL,
    STATES,
    details,
    next_commands,
    to_do,
    without_job,
)

_COLORS = {
    "done": "green",
    "incomplete": "yellow",
    "failed": "red",
    "unfinished": "red",
    "skipped": "cyan",
    "quarantined": "yellow",
}


#: A command to type in a thing to do; and the same with what follows its name and the first option.
_COMMAND = re.compile(r"`(profile-pipeline [^`]+)`")
_ARGUMENTS = re.compile(r"`profile-pipeline (\w+) \S+( --rejects)?[^`]*`")


def print_report(
    report: Report,
    folder: Path,
    to: Console,
    *,
    is_trial: bool = False,
    is_kept: bool = True,
    config: Path | None = None,
) -> None:
    """Print a report for people: the outcome, the number of rows in each class, and the things to do.

    A `folder` that is not kept is not named, and there is nothing to do about the job. `is_trial`: see `to_do`.
    `config`: the configuration that commands to type name.
    """
    if not report.job:
        style = "red" if report.error else _COLORS[report.state]
        to.print(Text(without_job(report), style=style), soft_wrap=True)
        return
    color, told = _COLORS[report.state], STATES[report.state]
    title = Text.assemble(
        (shown(report.export.name), "bold"),
        " -> Target client ",
        (report.client_code, "bold"),
        ": ",
        (told, f"bold {color}"),
        f" after {report.seconds:,.1f} s",
    )
    where: list[RenderableType] = [Text(f"  {IN_SANDBOX}", style="bold magenta")] if report.is_of_sandbox else []
    parts: list[RenderableType] = [title, *where]
    if report.error:
        parts.append(Text(f"  {report.error}", style="red"))
    # Where not even a row was read, a table of zeros says nothing.
    if report.rows.read or not report.error:
        parts += _rows(report.rows, MEANINGS | _pending(report, is_trial=is_trial))
    parts += [line for words in details(report) for line in _broken(words, to, indent=2)]
    if is_kept:
        tasks = [_with_config(line, config) for line in to_do(report, folder, is_trial=is_trial)]
        parts += [line for task in tasks for line in _task(task, to)]
        if to.is_terminal:
            # Each on a line of its own, to be copied.
            parts += [Text(f"  Next: {command}") for task in tasks for command in _COMMAND.findall(task)]
        others = [] if is_trial else next_commands(report, folder)
        parts += [Text(f"  {_with_config(line, config)}") for line in others]
        parts.append(Text(f"  Folder of this job: {folder}"))
    to.print(Group(*parts), soft_wrap=True)


def _task(task: str, to: Console) -> list[Text]:
    """A thing to do; on a terminal with its commands cut short."""
    return _broken(_ARGUMENTS.sub(r"`\1\2`", task) if to.is_terminal else task, to, indent=7, style="bold")


def _broken(words: str, to: Console, *, indent: int, style: str = "") -> list[Text]:
    """Words as one line; on a terminal over as many as they need, each behind the first so many columns further in."""
    if not to.is_terminal:
        return [Text(f"  {words}", style=style)]
    before = len(words) - len(words.lstrip()) + indent
    lines = Text(words, style=style).wrap(to, max(20, to.width - 2 - before))
    for line in lines:
        line.rstrip()
    return [Text(" " * (2 + before if number else 2)).append_text(line) for number, line in enumerate(lines)]


def _with_config(line: str, config: Path | None) -> str:
    """A line in which commands name the configuration that is used, as a shell takes it."""
    return line if config is None else line.replace("--config FILE", f"--config {shlex.quote(str(config))}")


def _pending(report: Report, *, is_trial: bool) -> dict[str, str]:
    """The meaning of `pending`, where it is another than everywhere."""
    if report.state == "quarantined":
        return {"pending": PENDING_IN_QUARANTINE}
    return {"pending": PENDING_IN_TRIAL} if is_trial else {}


def _rows(rows: RowCounts, meanings: dict[str, str]) -> list[Text]:
    """The number of rows in each class, one a line, in columns: without blanks at the ends, which a file would keep."""
    counts = asdict(rows)
    names = [name for name in MEANINGS if counts[name] or name == "confirmed"]
    read = "row read" if rows.read == 1 else "rows read"
    number_width = max(len(f"{counts[name]:,}") for name in ("read", *names))
    name_width = max(map(len, (read, *names)))
    lines = [Text(f"  {rows.read:>{number_width},}  {read}")]
    for name in names:
        style = "green" if name == "confirmed" else "" if name in GOOD else "yellow"
        count = Text(f"  {counts[name]:>{number_width},}  {name:<{name_width}}  ", style=style)
        lines.append(count.append(meanings[name], style="dim"))
    if len(names) > 1:
        lines.append(Text(f"  {rows.accounted:>{number_width},}  in all"))
    return lines
