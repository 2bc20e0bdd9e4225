"""What a report says in words: the same on a terminal and on the page."""

from pathlib import Path

from pipeline.core.batches.report import Report, ReportedBatch

#: What each class of rows means.
MEANINGS = {
    "confirmed": "applied by Target",
    "superseded": "merged into a later row of the same id",
    "rejected": "not sent, see rejects.jsonl",
    "empty": "no value besides the id, nothing to send",
    "failed": "refused or failed by Target",
    "unconfirmed": "Target may have applied them, nobody can tell",
    "unsent": "not sent, the job ended before",
}
#: What is to be known of rows that were sent all the same.
WARNINGS = {
    "id_over_128_characters": "ids are longer than 128 characters, more than some of Adobe's pages allow",
    "value_over_256_characters": "values are longer than 256 characters",
    "value_with_delimiter": "values or ids hold a comma or a line break ([export] on_delimiter says what is sent)",
    "bare_quote": "rows have a quote inside an unquoted value, which was taken as it stands",
}
#: Why a row is rejected.
REASONS = {
    "local.field_count": "another number of fields than the header",
    "local.empty_id": "no id",
    "local.id_character": "an id with + or /, which Target does not take",
    "local.id_too_long": "an id of more than 256 characters",
    "local.invalid_utf8": "bytes that are not UTF-8",
    "local.nul_byte": "a NUL byte",
    "local.text_after_quote": "text behind a closing quote",
    "local.quote_unclosed": "a quote that does not close",
    "local.record_too_long": "no end within 1 MiB",
    "local.delimiter": "a comma or a line break, where that is not allowed",
    "local.attributes_too_large": "more than 64 KB of attributes",
    "local.row_too_large": "fits in no batch",
    "target.refused": "refused by Target",
}
#: Classes of rows about which there is nothing to do.
GOOD = ("confirmed", "superseded", "empty")
#: How a job ended, in words.
STATES = {
    "done": "done",
    "incomplete": "finished, but rows were lost",
    "failed": "failed",
    "unfinished": "not finished",
    "skipped": "read, nothing sent",
}


def details(report: Report) -> list[str]:
    """What there is to say besides the counts of rows, a line each."""
    lines = []
    by_reason = report.rejects.by_reason
    if by_reason:
        lines.append("Rejected: " + ", ".join(f"{count:,} {reason}" for reason, count in by_reason.items()))
    lines += [f"Note: {note}" for note in notes(report)]
    batches = report.batches
    if batches:
        lines.append(f"Batches: {batches_in_words(report)}")
    # Rejected rows are told of as such, not as the batches of one row that they came to.
    reasons = [f"Batch {batch.number}: {batch.why}" for batch in batches if batch.why and is_no_reject(batch)]
    lines += reasons[:5]
    return lines


def notes(report: Report) -> list[str]:
    """What is to be known of rows that were sent all the same, a line each."""
    lines = []
    for name, count in report.warnings.items():
        if isinstance(count, dict):
            worst = ", ".join(f"{column} {number:,}" for column, number in list(count.items())[:8])
            more = " ..." if len(count) > 8 else ""
            lines.append(f"empty cells, for which Target keeps the old value: {worst}{more}")
        else:
            lines.append(f"{count:,} {WARNINGS[name]}")
    return lines


def batches_in_words(report: Report) -> str:
    """How many batches ended how, and at how many calls."""
    batches = report.batches
    states = [batch_state(batch) for batch in batches]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    again = sum(batch.attempts - 1 for batch in batches)
    return f"{counted}; {report.calls} calls to Target" + (
        f", {again} of them attempts after the first of a batch" if again > 0 else ""
    )


def batch_state(batch: ReportedBatch) -> str:
    """How a batch ended; one that came to a rejected row is called so."""
    return batch.state if is_no_reject(batch) else "rejected"


def is_no_reject(batch: ReportedBatch) -> bool:
    """Whether a batch is anything but one rejected row; if it has a `why`, some of its rows are lost."""
    return not batch.rejected


def to_do(report: Report, folder: Path) -> list[str]:
    """What the reader should do, a line each; none if nothing is."""
    rows, state = report.rows, report.state
    lines = []
    if rows.rejected:
        lines.append("To do: mend the rejected rows at their source; rejects.jsonl has line and reason of each.")
    if rows.failed:
        lines.append(
            "To do: look at the rows Target failed: failed.jsonl names them, unless their whole batch was refused."
        )
    if rows.unconfirmed:
        lines.append("To do: check some of the unconfirmed profiles in Target before sending them again.")
    # A job that has not ended cannot be sent again. Of a batch that is complete, only rows that Target named can.
    named = (folder / "failed.jsonl").exists()
    whole = any(batch.state in ("failed", "unconfirmed") and is_no_reject(batch) for batch in report.batches)
    if state != "unfinished" and (named or whole):
        lines.append(
            f"To do: `profile-pipeline retry {report.job} --config FILE` sends failed and unconfirmed rows again, "
            "but no value that a later row has overtaken."
        )
    if state == "failed":
        lines.append("To do: remove the cause, then load or drop the export anew.")
    if state == "unfinished":
        lines.append("To do: remove the cause and run the same command again; it goes on where it was.")
    return lines
