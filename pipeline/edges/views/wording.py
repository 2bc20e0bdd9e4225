"""The words of a report, the same on a terminal and on the page."""

from pathlib import Path

from pipeline.core.batches.report import Report, ReportedBatch, ReportedRejects
from pipeline.core.drop.signals import shown
from pipeline.core.errors import ExitCode
from pipeline.core.plural import counted
from pipeline.core.target.time_spent import Activity

#: Class of rows -> its meaning.
MEANINGS = {
    "confirmed": "applied by Target",
    "superseded": "merged into a later row of the same id",
    "unchanged": "nothing new since it was sent last, so not sent again",
    "excluded": "left out, as [mapping] asks",
    "rejected": "not sent, see rejects.jsonl",
    "empty": "no value besides the id, nothing to send",
    "failed": "refused or failed by Target",
    "unconfirmed": "Target may have applied them, nobody can tell",
    "unsent": "not sent, the job ended before",
    "pending": "sent or about to be: the next run follows them to their end",
}
#: The meaning of `pending` where no next run follows.
PENDING_IN_TRIAL = "sent or about to be, as the trial was cut off"
#: The same of a job in quarantine.
PENDING_IN_QUARANTINE = "to be sent, once the job is approved"
#: Warning about rows that are sent all the same, or about blank records -> its meaning, of one and of more.
WARNINGS = {
    "id_over_128_characters": (
        "id is longer than 128 characters, more than some of Adobe's pages allow",
        "ids are longer than 128 characters, more than some of Adobe's pages allow",
    ),
    "value_over_256_characters": (
        "value is longer than 256 characters",
        "values are longer than 256 characters",
    ),
    "value_with_delimiter": (
        "value or id holds a comma or a line break ([export] on_delimiter says what is sent)",
        "values or ids hold a comma or a line break ([export] on_delimiter says what is sent)",
    ),
    "batch_size_differs": (
        "of the batches came to Target as more or fewer rows than were sent, so values may be in the "
        "wrong place: look at some profiles; is [export] on_delimiter encode?",
    )
    * 2,
    "batch_refused_as_empty": (
        "of the batches came to Target as empty: an error of this program, or of a proxy on the way, not of the rows",
    )
    * 2,
    "budget_shared": (
        "of the calls were too many for Target, though fewer were made than [target] calls_per_minute: "
        "somebody else uses the budget of the account too",
    )
    * 2,
    "unnamed_columns": ("column has no name, and was not sent", "columns have no name, and were not sent"),
    "bare_quote": (
        "row has a quote inside an unquoted value, which was taken as it stands",
        "rows have a quote inside an unquoted value, which was taken as it stands",
    ),
    "ids_trimmed": (
        "id was trimmed: white space or invisible characters around it were left out",
        "ids were trimmed: white space or invisible characters around them were left out",
    ),
    "ids_padded": (
        "id has white space or invisible characters around it, and is sent with them ([export] trim)",
        "ids have white space or invisible characters around them, and are sent with them ([export] trim)",
    ),
    "values_trimmed": (
        "value was trimmed: white space or invisible characters around it were left out",
        "values were trimmed: white space or invisible characters around them were left out",
    ),
    "values_padded": (
        'value has white space or invisible characters around it, and is sent with them ([export] trim = "all")',
        'values have white space or invisible characters around them, and are sent with them ([export] trim = "all")',
    ),
    "null_cells": (
        "cell is a marker for no value, and was taken as empty ([export] null_values)",
        "cells are markers for no value, and were taken as empty ([export] null_values)",
    ),
    "id_ends_in_point_zero": (
        "id ends in .0: did something take it for a number with decimals?",
        "ids end in .0: did something take them for numbers with decimals?",
    ),
    "id_with_guard": (
        """id has a guard against spreadsheets, as in ="00123" or '00123, and is sent with it""",
        """ids have a guard against spreadsheets, as in ="00123" or '00123, and are sent with it""",
    ),
    "row_over_32_kb": (
        "row has 32 KB of attributes or more; above 64 KB a profile silently loses its oldest",
        "rows have 32 KB of attributes or more; above 64 KB a profile silently loses its oldest",
    ),
    "row_not_filled_in": (
        "row would be too long with what is remembered of its id, and was sent without it",
        "rows would be too long with what is remembered of their ids, and were sent without it",
    ),
    "ids_gone": (
        "id is not in this snapshot any more, and was sent what [export] gone says",
        "ids are not in this snapshot any more, and were sent what [export] gone says",
    ),
    "gone_unsure": (
        "row may be of any id, so that no id was taken for gone",
        "rows may be of any id, so that no id was taken for gone",
    ),
    "rows_of_one_id": (
        "row at least has the same id as others",
        "rows at least have one and the same id: does it stand for nobody? ([export] id_placeholders)",
    ),
    "blank_records": (
        "record was blank, and is no row: it was skipped",
        "records were blank, and are no rows: they were skipped",
    ),
    "values_not_listed": (
        "value is not in the list of its column ([mapping] values, other)",
        "values are not in the lists of their columns ([mapping] values, other)",
    ),
    "values_unreadable": (
        "value is no date, number or boolean as its column says, and was kept or left out ([mapping] unreadable)",
        "values are no dates, numbers or booleans as their columns say, and were kept or left out ([mapping] "
        "unreadable)",
    ),
    "values_truncated": (
        "value was longer than its column may be, and was cut ([mapping] max_length)",
        "values were longer than their columns may be, and were cut ([mapping] max_length)",
    ),
    "guard_learns": (
        "job more has to be done before [guard] knows what is usual, and compares",
        "jobs more have to be done before [guard] knows what is usual, and compares",
    ),
    "array_joined": ("value is a JSON array, joined with |", "values are JSON arrays, joined with |"),
    "empty_parts": (
        "part of the export is empty, and was skipped",
        "parts of the export are empty, and were skipped",
    ),
    "earlier_settings": (
        "key of [export], or [mapping], was changed since this job began: it went on with what it had. To send the "
        "export with the new one, load it again",
        "keys of [export], or [mapping], were changed since this job began: it went on with those it had. To send the "
        "export with the new ones, load it again",
    ),
}
#: Reason of a rejected row -> its meaning.
REASONS = {
    "local.field_count": "another number of fields than the header",
    "local.header_again": "the header once more (does not count against max_rejects)",
    "local.empty_id": "no id",
    "local.id_placeholder": "an id that is nobody's, such as null or a dash",
    "local.id_in_quotes": "an id whose quotes stand behind a blank, and so enclose nothing",
    "local.id_number": "an id that a spreadsheet made a number of, such as 3.91E16",
    "local.id_character": "an id with + or /, which Target does not take",
    "local.id_too_long": "an id of more than 256 characters (a pcId: 128)",
    "local.invalid_utf8": "bytes that are not UTF-8",
    "local.nul_byte": "a NUL byte",
    "local.text_after_quote": "text behind a closing quote",
    "local.quote_unclosed": "a quote that does not close",
    "local.record_too_long": "no end within 1 MiB",
    "local.json_invalid": "no JSON object on the line",
    "local.array": "array in a column that is sent",
    "local.mapping_value": "a value that [mapping] does not list",
    "local.mapping_date": "no date as [mapping] has it",
    "local.mapping_number": "no number as [mapping] has it",
    "local.mapping_length": "a value longer than [mapping] allows",
    "local.delimiter": "a comma or a line break, where that is not allowed",
    "local.attributes_too_large": "more than 64 KB of attributes",
    "local.row_too_large": "fits in no batch",
    "target.refused": "refused by Target",
}
#: Where the time of a run went -> the same in words.
_SPENT = {
    Activity.READING: "reading",
    Activity.SENDING: "sending",
    Activity.WAITING: "waiting for Target",
}
#: Said of whatever did not go to Target.
IN_SANDBOX = "Sent to the sandbox, not to Target."
#: Parts of an export that are shown.
MAX_PARTS = 20
#: Classes of rows that need nobody's attention.
GOOD = ("confirmed", "superseded", "unchanged", "excluded", "empty", "pending")
#: States of a job that goes on.
GOES_ON = ("unfinished", "quarantined")
#: Said where Target gives no usable answer.
AWAY_TO_DO = (
    "It is tried again and again, and nothing is lost; if it lasts, look at the network and at status.adobe.com."
)
#: Said behind what the service waits for, and behind a time window in which nothing is sent.
TRIES_AGAIN = "The service tries again by itself."
GOES_ON_BY_ITSELF = "There is nothing to do: it goes on by itself."
#: State of a job -> the same in words.
STATES = {
    "done": "done",
    "incomplete": "finished, but rows were lost",
    "failed": "failed",
    "unfinished": "not finished",
    "skipped": "read, nothing sent",
    "quarantined": "in quarantine, nothing sent",
}


def without_job(report: Report) -> str:
    """The whole of a report for which no job was run, in a line."""
    name = shown(report.export.name)
    if report.same_as is not None:
        return (
            f"{name}: nothing sent, because job {report.same_as} has the same content and settings. "
            f"{'It was sent to the sandbox, not to Target. ' if report.is_of_sandbox else ''}"
            "To send it all the same: --again"
        )
    return f"{name}: {report.error}"


def details(report: Report) -> list[str]:
    """The details besides the counts of rows, one a line."""
    lines = []
    by_reason = report.rejects.by_reason
    if by_reason:
        lines.append("Rejected: " + ", ".join(f"{count:,} {reason}" for reason, count in by_reason.items()))
        lines += [f"  {reason}: {told}" for reason in by_reason if (told := _reason(report.rejects, reason))]
    if report.excluded:
        by_column = ", ".join(f"{column} {count:,}" for column, count in report.excluded.items())
        lines.append(f"Left out by [mapping], by column: {by_column}")
    lines += [f"Note: {note}" for note in notes(report)]
    lines += parts_in_words(report)
    batches = report.batches
    if batches:
        lines.append(f"Batches: {batches_in_words(report)}")
    if any(report.spent.values()):
        lines.append(f"Time: {time_in_words(report)}")
    # A rejected row is reported as such, not as the batch of one row in which it was refused.
    reasons = [f"Batch {batch.number}: {batch.why}" for batch in batches if batch.why and is_no_reject(batch)]
    lines += reasons[:5]
    return lines


def _reason(rejects: ReportedRejects, reason: str) -> str:
    """The meaning of a reason, and the place of the first row that was rejected for it, as far as they are known."""
    line, part = rejects.first_lines.get(reason), (rejects.first_parts or {}).get(reason)
    return "; ".join(filter(None, (REASONS.get(reason), _first(line, part))))


def _first(line: int | str | None, part: object) -> str:
    """The place of the first of several rows."""
    return f"first on line {line:,}" + (f" of {shown(str(part))}" if part else "") if line else ""


def time_in_words(report: Report) -> str:
    """The seconds of the latest run by what they went to."""
    spent = {Activity(name): seconds for name, seconds in report.spent.items() if name in [*Activity]}
    told = [f"{spent[activity]:,.1f} s {words}" for activity, words in _SPENT.items() if activity in spent]
    # Those of earlier runs are not known.
    before = report.seconds - sum(spent.values())
    return ", ".join([*told, f"{before:,.1f} s in earlier runs"] if before >= 1.0 else told)


def parts_in_words(report: Report) -> list[str]:
    """The parts of an export, one a line, the first `MAX_PARTS` of them."""
    if not report.parts:
        return []
    shown_parts = report.parts[:MAX_PARTS]
    lines = [f"Parts: {len(report.parts):,}"]
    lines += [f"  {shown(part.name)}: {counted(part.rows, 'row')}" for part in shown_parts]
    more = len(report.parts) - len(shown_parts)
    return lines + [f"  and {more:,} more, see report.json"] * bool(more)


def notes(report: Report) -> list[str]:
    """The warnings about rows that were sent all the same, and of blank records, one a line."""
    lines = []
    first_lines = report.warnings.get("first_lines", {})
    first_parts = report.warnings.get("first_parts", {})
    for name, count in report.warnings.items():
        line = first_lines.get(name) if isinstance(first_lines, dict) else None
        part = first_parts.get(name) if isinstance(first_parts, dict) else None
        first = f"; {_first(line, part)}" if line else ""
        if name in ("first_lines", "first_parts"):
            continue
        if isinstance(count, dict):
            worst = ", ".join(f"{column} {number:,}" for column, number in list(count.items())[:8])
            more = " ..." if len(count) > 8 else ""
            lines.append(f"empty cells, for which Target keeps the old value: {worst}{more}{first}")
        else:
            lines.append(f"{count:,} {WARNINGS[name][count != 1]}{first}")
    return lines


def batches_in_words(report: Report) -> str:
    """The number of batches in each state, and the number of calls."""
    batches = report.batches
    states = [batch_state(batch) for batch in batches]
    by_state = ", ".join(f"{states.count(state):,} {state}" for state in dict.fromkeys(states))
    again = sum(batch.attempts - 1 for batch in batches)
    return f"{by_state}; {counted(report.calls, 'call')} to Target" + (
        f", {again:,} of them {'an attempt' if again == 1 else 'attempts'} after the first of a batch"
        if again > 0
        else ""
    )


def batch_state(batch: ReportedBatch) -> str:
    """The final state of a batch, or "rejected" if the batch is one rejected row."""
    return batch.state if is_no_reject(batch) else "rejected"


def is_no_reject(batch: ReportedBatch) -> bool:
    """False if the batch is one rejected row. Any other batch with a `why` lost some of its rows."""
    return not batch.rejected


def _to_mend(report: Report, folder: Path, *, is_trial: bool) -> list[str]:
    if is_trial or report.state in ("unfinished", "skipped", "quarantined") or not (folder / "rejects.csv").exists():
        return ["To do: mend the rejected rows at their source; rejects.jsonl has line and reason of each."]
    return [
        "To do: mend the rejected rows in a copy of rejects.csv, and "
        f"`profile-pipeline retry {report.job} --rejects COPY --config FILE` loads them; then mend their source."
    ]


def next_commands(report: Report, folder: Path) -> list[str]:
    """The commands that tell more of a job or end it, and where its page is, one a line."""
    command = "profile-pipeline {} " + f"{report.job} --config FILE"
    lines = []
    if report.state != "done":
        lines.append(f"Look closer: {command.format('status')}")
    if report.state == "unfinished":
        lines.append(f"Give it up: {command.format('abandon')}")
    page = folder / "report.html"
    return [*lines, *([f"Page: {page}"] if page.exists() else [])]


def to_do(report: Report, folder: Path, *, is_trial: bool = False) -> list[str]:
    """The things that the reader should do, one a line; empty if there is nothing to do.

    `is_trial`: the state directory ends with the command, so that no later one can go on with the job.
    """
    rows, state = report.rows, report.state
    lines = []
    if rows.rejected:
        lines += _to_mend(report, folder, is_trial=is_trial)
    if rows.failed:
        lines.append(
            "To do: look at the rows Target failed: failed.jsonl names them, unless their whole batch was refused."
        )
    if rows.unconfirmed and state not in GOES_ON:
        lines.append("To do: check some of the unconfirmed profiles in Target before sending them again.")
    # Of a completed batch, only rows that Target named can be sent again.
    named = (folder / "failed.jsonl").exists()
    whole = any(batch.state in ("failed", "unconfirmed") and is_no_reject(batch) for batch in report.batches)
    if state not in GOES_ON and (named or whole) and not is_trial:
        lines.append(
            f"To do: `profile-pipeline retry {report.job} --config FILE` sends failed and unconfirmed rows again, "
            "but no value that a later row has overtaken."
        )
    if state == "failed":
        lines.append("To do: remove the cause, then load or drop the export anew.")
    if state == "quarantined":
        lines += [
            f"To do: if the export is right, `profile-pipeline approve {report.job} --config FILE`, and run the same "
            "command again: all of it is sent.",
            f"To do: if it is not, `profile-pipeline abandon {report.job} --config FILE` drops it.",
        ]
    if state == "unfinished" and not is_trial:
        first = "" if report.exit_code is ExitCode.UNFINISHED else "remove the cause, then "
        lines.append(f"To do: {first}run the same command again: it goes on where it was, and nothing is lost.")
    return lines
