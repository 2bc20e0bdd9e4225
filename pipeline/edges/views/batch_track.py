"""The way of one batch, from its first POST until it is settled: what was done with it when, and how it stands."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from pipeline.core.batches.book import settlement
from pipeline.core.batches.lifecycle import (
    Begun,
    Fact,
    InDoubt,
    Life,
    NotTaken,
    Phase,
    RefusedAs,
    Released,
    SeenStuck,
    Taken,
)
from pipeline.core.model import Batch


class Doing(StrEnum):
    """Something that takes time: a POST, Target that applies, a wait before the next POST."""

    SENDING = "sending"
    APPLYING = "applying"
    WAITING = "waiting"


#: Phase of a batch that is not settled -> the word for it.
_UNSETTLED = {
    Phase.READY: "sealed",
    Phase.POSTING: "sending",
    Phase.FOLLOWING: "accepted",
    Phase.REFUSED: "refused",
}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time; `ended` is None if it goes on."""

    doing: Doing
    begun: datetime
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class BatchTrack:
    """A batch with its stretches of time, one behind the other.

    `state`: sealed, sending, accepted, refused; once it is settled complete, failed, unconfirmed, split, rejected (its
    one row) or unsent.
    `applied`: the rows that Target confirmed.
    `settled_at`: None until it is settled.
    """

    number: int
    rows: int
    size_bytes: int
    state: str
    spans: tuple[Span, ...] = ()
    applied: int = 0
    attempts: int = 0
    settled_at: datetime | None = None
    why: str | None = None

    @property
    def begun_at(self) -> datetime | None:
        """The time of its first POST; None before."""
        return self.spans[0].begun if self.spans else None

    @property
    def is_well(self) -> bool:
        """True unless rows of it are lost or rejected, or it was never sent."""
        return self.state in ("sealed", "sending", "accepted", "complete", "split") and not self.why


def track_of(batch: Batch, life: Life, facts: Sequence[Fact], times: Sequence[str]) -> BatchTrack:
    """The way of a batch with this life, of which these facts became known at these times (UTC in ISO 8601)."""
    known = [
        (fact, datetime.fromisoformat(text))
        for fact, text in zip(facts, times, strict=True)
        if not isinstance(fact, Released)
    ]
    begun = BatchTrack(batch.number, batch.rows, batch.size_bytes, "unsent", _spans(known), attempts=life.attempts)
    if life.phase is not Phase.SETTLED:
        return replace(begun, state=_UNSETTLED[life.phase])
    settled = replace(begun, settled_at=known[-1][1] if known else None)
    if life.is_never_sent:
        return settled
    outcome = settlement(batch, life, now=0.0, hold_s=0.0)
    if outcome.rejected:
        return replace(settled, state="rejected")
    return replace(settled, state=outcome.state.value, applied=outcome.confirmed, why=outcome.why)


def _spans(known: Sequence[tuple[Fact, datetime]]) -> tuple[Span, ...]:
    """A stretch from each fact behind which something takes time, until the next fact."""
    ends = (*(at for _, at in known[1:]), None)
    doings = ((_doing_after(fact), at, ended) for (fact, at), ended in zip(known, ends, strict=False))
    return tuple(Span(doing, at, ended) for doing, at, ended in doings if doing is not None)


def _doing_after(fact: Fact) -> Doing | None:
    match fact:
        case Begun():
            return Doing.SENDING
        case Taken():
            return Doing.APPLYING
        case NotTaken() | InDoubt() | RefusedAs() | SeenStuck():
            return Doing.WAITING
    return None
