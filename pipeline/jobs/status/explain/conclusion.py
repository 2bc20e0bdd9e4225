"""The conclusion of what is known of an id: why Target shows what it shows, and the next command to type."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.core.explain.fates import Fate, RowFate
from pipeline.core.explain.story import Conclusion, JobStory
from pipeline.core.plural import counted
from pipeline.edges.views.wording import REASONS

_LIVE, _CONFIG = ("profile-pipeline", "explain", "ID", "--live"), ("profile-pipeline", "config", "show")
#: What is said of a latest row, behind where it stands. Adobe: applied "usually under an hour, up to 24 h".
_SAID = {
    Fate.EXCLUDED: "is left out by [mapping], which looks at the column {column}: nothing was sent of it.",
    Fate.EMPTY: "has no value in any column that is sent, and an empty cell leaves what Target has.",
    Fate.UNCHANGED: "says nothing that was not sent before, so it was not sent again.",
    Fate.HELD: "waits: Target may still apply an earlier batch with the id.",
    Fate.WAITING: "was read, and is not in a batch yet.",
    Fate.SENDING: "waits in batch {batch} to be sent{but}.",
    Fate.ACCEPTED: (
        "is in batch {batch}, which Target accepted and has not applied yet: it usually takes less than an hour, and "
        "may take 24."
    ),
    Fate.UNSENT: "was not sent: the job ended before ({state}).",
}


def conclude(stories: Sequence[JobStory]) -> tuple[Conclusion, ...]:
    """The conclusion for each kind of id that has it; one that it is nowhere, if none has. The latest job is last."""
    kinds = list(dict.fromkeys(story.id_kind for story in stories if story.rows))
    return tuple(_of_kind([each for each in stories if each.id_kind == kind]) for kind in kinds) or (_nowhere(stories),)


def _of_kind(stories: Sequence[JobStory]) -> Conclusion:
    last = max(number for number, story in enumerate(stories) if story.rows)
    story, behind = stories[last], stories[last + 1 :]
    found = _about(story, story.rows[-1])
    told = found.told + _since(behind)
    return replace(found, told=told, job=story.job, id_kind=story.id_kind)


def _since(behind: Sequence[JobStory]) -> str:
    """The words about the jobs behind the last one that has the id."""
    told, waiting = "", [each for each in behind if each.known == "unread"]
    unknown = [each for each in behind if each.known in ("partly", "nothing")]
    without = len(behind) - len(waiting) - len(unknown)
    if without:
        told += f" It is in {'none of the ' + counted(without, 'export') if without > 1 else 'no export'} since."
    if unknown:
        told += f" Of {counted(len(unknown), 'job')} since, nobody can tell any more if it had the id."
    if waiting:
        told += f" {counted(len(waiting), 'export')} that may have it {_wait(len(waiting))} to be read."
    return told


def _wait(count: int) -> str:
    return "waits" if count == 1 else "wait"


def _nowhere(stories: Sequence[JobStory]) -> Conclusion:
    known = [each for each in stories if each.known == "whole"]
    unknown = [each for each in stories if each.known in ("partly", "nothing")]
    waiting = [each for each in stories if each.known == "unread"]
    if not stories:
        return Conclusion("No export was loaded yet.", ("profile-pipeline", "status"))
    if not known:
        told = "Nobody can tell: of no export is it known which ids it had."
    else:
        told = f"It is in {'none of the ' + counted(len(known), 'export') if len(known) > 1 else 'no export'} known."
    if unknown:
        told += f" Of {counted(len(unknown), 'job')} it is not known which ids {_they(len(unknown))} had."
    if nameless := sum(each.nameless for each in stories):
        told += f" {counted(nameless, 'rejected row')} had no id that can be told."
    if waiting:
        told += f" {counted(len(waiting), 'export')} that may have it {_wait(len(waiting))} to be read."
    told += " Is it written as the export has it, in the same case? --hashed takes it as Target knows it."
    return Conclusion(told, ("profile-pipeline", "status", "--all"))


def _they(count: int) -> str:
    return "it" if count == 1 else "they"


def _about(story: JobStory, row: RowFate) -> Conclusion:
    """The conclusion of the latest row, and the command for what is to be done about it."""
    where = f"line {row.file_line:,} of {row.file}, job {story.job}" if row.line else f"job {story.job}"
    latest = f"Its latest row ({where})"
    match row.fate:
        case Fate.REJECTED:
            return _rejected(story, f"{latest} was rejected ({REASONS.get(row.why, row.why)})")
        case Fate.REFUSED:
            return _rejected(story, f"{latest} was refused by Target for its content")
        case Fate.FAILED | Fate.UNCONFIRMED:
            return _lost(story, row, latest)
        case Fate.CONFIRMED:
            return _confirmed(row, latest)
    if story.state == "quarantined":
        told = f"{latest} was read, and its export is in quarantine: nothing of it is sent before it is approved."
        return Conclusion(told, ("profile-pipeline", "approve", story.job))
    told = _SAID[row.fate].format(column=row.column, batch=row.batch, but=_but(row), state=story.state)
    is_over = row.fate in (Fate.EMPTY, Fate.UNCHANGED)
    command = _LIVE if is_over else _CONFIG if row.fate is Fate.EXCLUDED else ("profile-pipeline", "status", story.job)
    return Conclusion(f"{latest} {told}", command)


def _but(row: RowFate) -> str:
    return f"; {row.why}" if row.why else ""


def _rejected(story: JobStory, told: str) -> Conclusion:
    told = f"{told}: Target keeps what it had before."
    if story.rejects_table is None:
        return Conclusion(told, ("profile-pipeline", "status", story.job))
    told += " Mend it in the table of rejects first."
    return Conclusion(told, ("profile-pipeline", "retry", story.job, "--rejects", story.rejects_table))


def _lost(story: JobStory, row: RowFate, latest: str) -> Conclusion:
    what = "failed" if row.fate is Fate.FAILED else "is unconfirmed, since nobody knows if Target applied it"
    told = f"{latest} {what}{f' ({row.why})' if row.why else ''}."
    if row.is_overtaken:
        return Conclusion(f"{told} A later row of it was sent.", ("profile-pipeline", "status", story.job))
    return Conclusion(told, ("profile-pipeline", "retry", story.job))


def _confirmed(row: RowFate, latest: str) -> Conclusion:
    told = f"{latest} is in batch {row.batch}, which Target says it has applied: it should show what that row says."
    if row.unnamed:
        told += f" But it did not apply {counted(row.unnamed, 'row')} of that batch, and did not say which."
    return Conclusion(told, _LIVE)
