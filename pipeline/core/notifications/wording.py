"""Notifications in words: one or two sentences each, the client code and the route first."""

from pipeline.core.batches.report import Report
from pipeline.core.plural import counted
from pipeline.core.printable import printable

#: The characters of a text that are told: a chat shows no more than a few lines well. Ours.
_MOST = 1_500
#: The route that is not named.
_DEFAULT_ROUTE = "default"
#: What chats take for markup, and how it is written so that they do not (Slack: "Escaping text"). A mention of all
#: who are in a channel begins with an at sign.
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "(at)"}


def of_job(report: Report, route: str) -> str:
    """The end of a job, or that it is quarantined, with the next command to type where there is one."""
    name = report.export.name
    match report.state:
        case "done":
            told = f"done: {name}, {_rows(report)}."
        case "incomplete":
            told = (
                f"incomplete: {name}, {_rows(report)}. `profile-pipeline retry {report.job}` sends the failed and "
                "unconfirmed ones again."
            )
        case state:
            told = f"{state}: {name}: {report.error or 'no reason is known'}"
    return _about(report.client_code, route, told)


def of_pause(client_code: str, since: str, why: str | None) -> str:
    """Nothing can be sent for now."""
    return _about(client_code, _DEFAULT_ROUTE, f"paused since {since}: {why or 'no reason is known'}")


def of_overdue(client_code: str, route: str, by: str, why: str) -> str:
    """An export that is overdue. `by`: when it had to be done, in local time with its zone."""
    return _about(client_code, route, f"overdue: an export had to be done by {by}: {why}.")


def of_recovery(client_code: str, route: str, what: str) -> str:
    """Something has ended that was told before."""
    return _about(client_code, route, f"recovered: {what}.")


def in_chats(text: str) -> str:
    """The text as chats show it: nothing in it is markup, or calls anybody."""
    return "".join(_MARKUP.get(character, character) for character in text)


def _about(client_code: str, route: str, told: str) -> str:
    of = client_code if route == _DEFAULT_ROUTE else f"{client_code}, route {route}"
    text = printable(f"{of}: {told}")
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."


def _rows(report: Report) -> str:
    rows = report.rows
    counts = [("rejected", rows.rejected), ("failed", rows.failed), ("unconfirmed", rows.unconfirmed)]
    named = "".join(f", {count:,} {name}" for name, count in counts if count)
    return f"{counted(rows.read, 'row')} read, {rows.confirmed:,} confirmed{named}"
