"""The marks of batches: where each one stands, in a word that a screen has a sign for."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from pipeline.core.batches.book import Book
from pipeline.core.batches.lifecycle import Life, Phase, SplitUp
from pipeline.core.model import Batch, BatchState, Settled


class Mark(StrEnum):
    """Where a batch stands.

    `HELD`: Target may have it twice, or may apply it yet, so that rows of its ids wait.
    `FAILED`: some of its rows are lost: failed, rejected by Target, or unconfirmed.
    """

    COMPLETE = "complete"
    ACCEPTED = "accepted"
    SENDING = "sending"
    SEALED = "sealed"
    HELD = "held"
    FAILED = "failed"


#: A group of batches has the first of these marks that any of them has: trouble first, and complete only if all are.
_FIRST = (Mark.FAILED, Mark.HELD, Mark.SENDING, Mark.ACCEPTED, Mark.SEALED, Mark.COMPLETE)


def marks_of(book: Book, now: float) -> list[Mark]:
    """The marks of all batches in the order of their numbers; a split one is not among them, its children are.

    `now`: the monotonic time, in seconds.
    """
    marks = sorted((batch.number, mark) for batch, mark in _marked(book, now))
    return [mark for _, mark in marks]


def compressed(marks: Sequence[Mark], cells: int) -> tuple[list[Mark], int]:
    """At most `cells` marks, each for a group of so many neighbours; the second value is the size of the groups."""
    size = max(1, -(-len(marks) // max(1, cells)))
    groups = [set(marks[start : start + size]) for start in range(0, len(marks), size)]
    return [next(mark for mark in _FIRST if mark in group) for group in groups], size


def _marked(book: Book, now: float) -> Iterator[tuple[Batch, Mark]]:
    for batch in book:
        life = book.life(batch.batch_id)
        if not isinstance(life.last, SplitUp):
            yield batch, _mark(life, book.outcome(batch.batch_id), now)


def _mark(life: Life, outcome: Settled | None, now: float) -> Mark:
    if outcome is not None:
        is_lost = outcome.state is not BatchState.COMPLETE or outcome.failed or outcome.unconfirmed
        is_held = life.open_since and outcome.release_at > now and not life.is_released
        return Mark.FAILED if is_lost else Mark.HELD if is_held else Mark.COMPLETE
    match life.phase:
        case Phase.POSTING:
            return Mark.SENDING
        case Phase.FOLLOWING:
            return Mark.ACCEPTED
    return Mark.HELD if life.open_since else Mark.SEALED
