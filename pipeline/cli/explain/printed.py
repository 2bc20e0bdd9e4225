"""Prints what became of an id for people: the conclusion first, then job by job, the newest last."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from shlex import quote

from rich.console import Console
from rich.markup import escape

from pipeline.core.duration import time_in_words
from pipeline.core.explain.fates import Fate, RowFate
from pipeline.core.explain.story import Conclusion, Explanation, JobStory
from pipeline.core.plural import counted
from pipeline.edges.views.wording import REASONS
from pipeline.jobs.status.explain.live import Live

#: Jobs without the id that are told one by one.
_FEW = 1
_COLORS = {Fate.CONFIRMED: "green", Fate.UNCHANGED: "green", Fate.SUPERSEDED: "dim"}


def print_explanation(
    told: Explanation, lives: Sequence[Live], given: str, config: str | None, console: Console
) -> None:
    """Print an explanation. `given`: the id, for commands to type. `config`: the configuration, if one was named."""
    lines: list[str] = []
    for conclusion in told.conclusions:
        kind = f"As {conclusion.id_kind}: " if len(told.conclusions) > 1 else ""
        lines.append(f"[bold]{escape(kind + conclusion.told)}[/]")
        if conclusion.command:
            lines.append(f"Next: {escape(_command(conclusion, given, config))}")
    for live in lives:
        lines += _live_lines(live)
    for remembered in told.remembered:
        at = f"last sent at {time_in_words(remembered.sent_at)}" if remembered.sent_at else "not known as sent"
        lines.append(f"The memory has it ({remembered.id_kind}), {at}.")
    if told.jobs:
        lines.append("")
    for is_without, together in groupby(told.jobs, _is_without):
        stories = list(together)
        lines += _without(stories) if is_without else [line for each in stories for line in _job_lines(each)]
    console.print("\n".join(lines), soft_wrap=True, highlight=False)


def _command(conclusion: Conclusion, given: str, config: str | None) -> str:
    words = [given if word == "ID" else word for word in conclusion.command]
    return " ".join(map(quote, words if config is None else [*words, "--config", config]))


def _is_without(story: JobStory) -> bool:
    return not story.rows and story.known == "whole" and story.finished_at is not None and not story.nameless


def _without(stories: list[JobStory]) -> list[str]:
    first, last = stories[0].job, stories[-1].job
    if len(stories) > _FEW:
        return [f"[dim]not in {counted(len(stories), 'job')}, {first} to {last}[/]"]
    return [f"[dim]not in {first}[/]"]


def _job_lines(story: JobStory) -> Iterator[str]:
    told = [story.state, *([f"a retry of {story.retry_of}"] if story.retry_of else []), story.export]
    told += ["ids hashed by [mapping]"] if story.is_hashed else []
    yield f"[bold]{story.job}[/]  {escape(', '.join(told))}"
    for row in story.rows:
        color = _COLORS.get(row.fate, "yellow")
        yield f"  {_place(row)}: [{color}]{row.fate.value}[/]{escape(_more(row))}"
    if not story.rows and story.known == "whole":
        yield "  not in what was read so far"
    if story.nameless:
        yield f"  {counted(story.nameless, 'rejected row')} of it may be of any id: it has none that can be told"
    if story.note:
        yield f"  [yellow]{escape(story.note)}[/]"
    if story.read_to_line is not None and story.known != "unread":
        yield f"  read up to line {story.read_to_line:,}"


def _place(row: RowFate) -> str:
    return escape(f"line {row.file_line:,} of {row.file}") if row.line else "of no line: it is not in the snapshot"


def _more(row: RowFate) -> str:
    """The words about a row besides its class."""
    if row.fate is Fate.REJECTED:
        return f": {REASONS.get(row.why, row.why)}"
    told = ""
    if row.column:
        told += f", by the column {row.column}"
    if row.superseded_by is not None:
        file = f" of {row.superseded_in}" if row.superseded_in != row.file else ""
        told += f" by line {row.superseded_by:,}{file}"
    if row.batch is not None:
        told += f", batch {row.batch}"
    if row.at:
        told += f", since {time_in_words(row.at)}"
    if row.why:
        told += f": {row.why}"
    if row.unnamed:
        told += (
            f"; {counted(row.unnamed, 'row')} of the batch {'was' if row.unnamed == 1 else 'were'} not applied, unnamed"
        )
    return told + (", overtaken by a later row" if row.is_overtaken else "")


def _live_lines(live: Live) -> list[str]:
    if live.is_there is None:
        return [f"[yellow]Target could not be asked[/]: {escape(live.why)}."]
    if not live.is_there:
        return ["[yellow]Target has no such profile[/], or has applied nothing to it yet."]
    known = {
        "memory": "compared with what is remembered as sent",
        "spool": "compared with the row in its batch",
        "names": "the values that were sent are not known any more",
    }[live.known_by]
    lines = [f"Target has the profile; {known}:"]
    for cell in live.cells:
        told = cell.state or ("there" if live.known_by == "names" else "not sent by us")
        values = [f"sent {cell.sent!r}"] if cell.sent is not None else []
        values += [f"Target has {cell.has!r}"] if cell.has is not None else []
        shown = f" ({', '.join(values)})" if values else ""
        lines.append(f"  {escape(cell.name + ': ' + told + shown)}")
    return lines
