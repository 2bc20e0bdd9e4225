"""Makes the page of a report: one file for people that needs no other file, and holds no row and no id."""

from dataclasses import asdict
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from pipeline.core.batches.report import Report, ReportedBatch
from pipeline.core.drop.signals import shown
from pipeline.core.plural import counted
from pipeline.core.printable import printable
from pipeline.edges.views.wording import (
    GOOD,
    IN_SANDBOX,
    MEANINGS,
    REASONS,
    STATES,
    batch_state,
    batches_in_words,
    is_no_reject,
    notes,
    to_do,
)

#: Batches that the table shows; if there are more, those with trouble come first.
MAX_BATCHES = 100


def render(report: Report, folder: Path, *, is_trial: bool = False) -> str:
    """The HTML page of a report whose files are in `folder`. `is_trial`: see `to_do`."""
    counts = asdict(report.rows)
    return _template().render(
        report=report,
        name=shown(report.export.name),
        told=STATES[report.state],
        in_sandbox=IN_SANDBOX if report.is_of_sandbox else "",
        happened=happened(report),
        error=report.error,
        tasks=[_with_code(line.removeprefix("To do: ")) for line in to_do(report, folder, is_trial=is_trial)],
        classes=[
            (name, counts[name], _share(counts[name], report.rows.read), meaning, name in GOOD)
            for name, meaning in MEANINGS.items()
            # Only a job that has not ended has rows that are pending.
            if counts[name] or name != "pending"
        ],
        reasons=[(REASONS.get(reason, ""), reason, count) for reason, count in report.rejects.by_reason.items()],
        has_failed_file=(folder / "failed.jsonl").exists(),
        notes=notes(report),
        batches=[
            (each, batch_state(each), each.why) for each in sorted(report.batches, key=_trouble_first)[:MAX_BATCHES]
        ],
        more_batches=max(0, len(report.batches) - MAX_BATCHES),
        batches_in_words=batches_in_words(report) if report.batches else "",
        started=_time(report.started_at),
        finished=_time(report.finished_at),
        took=_duration(_seconds_between(report.started_at, report.finished_at)),
        worked=_duration(report.seconds),
        size=_bytes,
    )


@cache
def _template() -> Template:
    """The template of the page: compiling it takes longer than making a page of it."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        # A browser obeys characters that turn a line around.
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def happened(report: Report) -> str:
    """The fate of an export, in a sentence."""
    rows, who = report.rows, "the sandbox" if report.is_of_sandbox else "Target"
    read = counted(rows.read, "row")
    match report.state:
        case "failed":
            applied = f"of {read} read, {who} applied {rows.confirmed:,}" if rows.read else "not a row of it was read"
            return f"This export could not be used: {applied}."
        case "skipped":
            return f"This was a trial: {read} were read and checked, and nothing was sent to Target."
        case "unfinished" if not rows.read:
            return "This load was stopped before a row was read. The next run goes on with it."
    if not rows.read:
        return "This export has a header and no rows, so there was nothing to send."
    needless = rows.superseded + rows.empty
    is_well = rows.confirmed + needless + rows.unchanged + rows.excluded == rows.read
    applied = "all" if rows.confirmed == rows.read else f"{rows.confirmed:,} of"
    told = [f"{who[0].upper()}{who[1:]} applied {applied} {read}"]
    told += [
        f"{count:,} {one if count == 1 else more}"
        for count, one, more in (
            (needless, "needed no sending", "needed no sending"),
            (rows.unchanged, "said nothing new", "said nothing new"),
            (rows.excluded, "was left out as [mapping] asks", "were left out as [mapping] asks"),
            (rows.rejected, "has a mistake and was not sent", "have a mistake and were not sent"),
            (rows.unsent, "was not sent", "were not sent"),
            (rows.pending, "is on its way", "are on their way"),
            (rows.failed + rows.unconfirmed, "may not have arrived", "may not have arrived"),
        )
        if count
    ]
    more = " The next run goes on with it." if report.state == "unfinished" else ""
    return ("All is well: " if is_well else "") + ", ".join(told) + f".{more}"


def _share(count: int, read: int) -> str:
    """A share of all rows, for people: never 0.0 % for rows that exist, and 100.0 % only for all rows."""
    if not count or not read:
        return ""
    percent = 100 * count / read
    if count < read:
        percent = min(percent, 99.9)
    return f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"


def _with_code(line: str) -> list[tuple[str, bool]]:
    """The pieces of a line, each with True if it is a command, which stands in backquotes."""
    pieces = [(piece, number % 2 == 1) for number, piece in enumerate(line.split("`")) if piece]
    (first, is_code), *others = pieces
    return [(first if is_code else first[0].upper() + first[1:], is_code), *others]


def _trouble_first(batch: ReportedBatch) -> tuple[bool, int]:
    return (batch.state in ("complete", "split") and is_no_reject(batch), batch.number)


def _time(text: str) -> str:
    at = datetime.fromisoformat(text)
    return f"{at.day} {at:%B %Y, %H:%M:%S} UTC"


def _seconds_between(begun: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()


def _duration(of_seconds: float) -> str:
    seconds = max(0, int(of_seconds))
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _bytes(count: int) -> str:
    if count < 1_000:
        return f"{count} B"
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next(f"{count / factor:,.1f} {unit}" for factor, unit in units if count >= factor)
