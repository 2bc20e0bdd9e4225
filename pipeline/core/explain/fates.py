"""The fate of each row of one id in one job, decided by what the index, the batches and the held rows tell.

A row that was to be sent ends under a line: in a batch, held, or unchanged. What stands before it, behind the one that
ended before, was merged into it: it is superseded.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.core.batches.lifecycle import (
    Failed,
    GivenUp,
    Life,
    NeverSent,
    Phase,
    RowRejected,
    SeenComplete,
)
from pipeline.core.plain import written
from pipeline.core.rows.encoding import encoded_forms
from pipeline.core.rows.id_forms import EMPTY


class Fate(StrEnum):
    """The fate of a row; all but the first five are classes of the report, or of one that is not written yet."""

    WAITING = "waiting"
    HELD = "held"
    SENDING = "sending"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    REJECTED = "rejected"
    EXCLUDED = "excluded"
    EMPTY = "empty"
    SUPERSEDED = "superseded"
    UNCHANGED = "unchanged"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True)
class RowFate:
    """A row of the id.

    `line`: counted through all parts; 0 for the row of an id that a snapshot no longer has. `file`, `file_line`: the
    same for people. `why`: the reason of a reject, or what is known of a batch. `column`: the one that leaves it out.
    `superseded_by`, `superseded_in`: the line into which it was merged, and its file. `batch`: the number of its batch.
    `at`: the time of what happened to the batch last, UTC in ISO 8601. `unnamed`: rows of its batch that Target did not
    apply and did not name: it may be one of them. `is_overtaken`: a later row of the id was sent since.
    """

    line: int
    fate: Fate
    file: str = ""
    file_line: int = 0
    why: str = written(default="", if_default=False)
    column: str = written(default="", if_default=False)
    superseded_by: int | None = written(default=None, if_default=False)
    superseded_in: str = written(default="", if_default=False)
    batch: int | None = written(default=None, if_default=False)
    at: str = written(default="", if_default=False)
    unnamed: int = written(default=0, if_default=False)
    is_overtaken: bool = written(default=False, if_default=False)


@dataclass(frozen=True, slots=True)
class BatchFate:
    """The fate of the row of an id in a batch; the fields are those of `RowFate`."""

    fate: Fate
    batch: int
    why: str = ""
    at: str = ""
    unnamed: int = 0
    is_overtaken: bool = False


def fate_in_batch(life: Life, profile_id: bytes) -> tuple[Fate, str, int]:
    """The fate of the row of an encoded id in a batch with this life, why, and the rows that Target did not name."""
    match life.last:
        case NeverSent():
            return Fate.UNSENT, "", 0
        case RowRejected():
            return Fate.REFUSED, "", 0
        case Failed(why):
            return Fate.FAILED, why, 0
        case GivenUp(why):
            return Fate.UNCONFIRMED, why, 0
        case SeenComplete() as seen:
            if profile_id in encoded_forms(seen.failed_ids):
                return Fate.FAILED, "Target names it as failed", 0
            if profile_id in encoded_forms(seen.unconfirmed_ids):
                return Fate.UNCONFIRMED, "Target names it, and not as applied", 0
            return Fate.CONFIRMED, "", max(0, seen.failed + seen.unconfirmed - len(seen.lost_ids))
    if life.phase is Phase.FOLLOWING:
        return Fate.ACCEPTED, "", 0
    return Fate.SENDING, "Target may have it already" if life.open_since else "", 0


def fates_of(
    indexed: Iterable[tuple[int, str]],
    sent: Mapping[int, BatchFate],
    held: Collection[int],
    *,
    names: tuple[str, str],
    has_ended: bool,
) -> tuple[RowFate, ...]:
    """The fates of all rows of an id in a job, in the order of their lines; places for people are not filled in.

    `indexed`: line and name of each row of it in the index. `sent`: by line what became of the row in its batch.
    `held`: the lines under which rows wait. `names`: those of the index for rows to be sent, and for unchanged ones.
    """
    row, unchanged_name = names
    to_send, unchanged, told = {*sent, *held}, set[int](), list[RowFate]()
    for line, name in indexed:
        if name == row:
            to_send.add(line)
        elif name == unchanged_name:
            to_send.add(line)
            unchanged.add(line)
        elif (fate := _not_sent(line, name)) is not None:
            told.append(fate)
    ends = sorted({*sent, *held, *unchanged})
    for line in to_send:
        if line in sent:
            batch = sent[line]
            fate = RowFate(line, batch.fate, why=batch.why, batch=batch.batch, at=batch.at, unnamed=batch.unnamed)
            told.append(replace(fate, is_overtaken=batch.is_overtaken))
        elif line in unchanged:
            told.append(RowFate(line, Fate.UNCHANGED))
        elif line in held:
            told.append(RowFate(line, Fate.HELD))
        elif (behind := bisect_left(ends, line)) < len(ends):
            told.append(RowFate(line, Fate.SUPERSEDED, superseded_by=ends[behind]))
        else:
            told.append(RowFate(line, Fate.UNSENT if has_ended else Fate.WAITING))
    return tuple(sorted(told, key=lambda each: each.line))


def _not_sent(line: int, name: str) -> RowFate | None:
    if name == EMPTY:
        return RowFate(line, Fate.EMPTY)
    word, _, column = name.partition(" ")
    if word == "excluded":
        return RowFate(line, Fate.EXCLUDED, column=column)
    return RowFate(line, Fate.REJECTED, why=name) if name.startswith("local.") else None
