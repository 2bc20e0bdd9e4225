"""The marks of batches: one for each, by its facts; and of many in few cells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.book import Book
from pipeline.core.batches.lifecycle import (
    Begun,
    Fact,
    Failed,
    GivenUp,
    InDoubt,
    NotTaken,
    RefusedAs,
    Released,
    RowRejected,
    SeenComplete,
    SeenStuck,
    Taken,
)
from pipeline.core.display.marks import Mark, compressed, marks_of
from pipeline.core.model import Batch

HOLD_S = 60.0
POSTED = (Begun(1), Taken("url"))
IN_DOUBT = (Begun(1), InDoubt("HTTP 500"))


def batch(number: int) -> Batch:
    return Batch(number, number, 10, 100, "sha")


def book_of(*facts: Fact) -> Book:
    book = Book()
    book.seal(batch(1))
    for fact in facts:
        book.record(1, fact, now=0.0, hold_s=HOLD_S)
    return book


@pytest.mark.parametrize(
    ("facts", "mark"),
    [
        ((), Mark.SEALED),
        ((Begun(1),), Mark.SENDING),
        ((Begun(1), NotTaken("no connection")), Mark.SEALED),
        (POSTED, Mark.ACCEPTED),
        ((Begun(1), RefusedAs("no")), Mark.SEALED),
        (IN_DOUBT, Mark.HELD),
        ((*POSTED, SeenStuck()), Mark.HELD),
        ((*IN_DOUBT, Begun(2)), Mark.SENDING),
        ((*IN_DOUBT, *POSTED), Mark.ACCEPTED),
        ((*POSTED, SeenComplete(0, 0)), Mark.COMPLETE),
        ((*IN_DOUBT, *POSTED, SeenComplete(0, 0)), Mark.HELD),
        ((*IN_DOUBT, *POSTED, SeenComplete(0, 0), Released()), Mark.COMPLETE),
        ((*POSTED, SeenComplete(1, 0)), Mark.FAILED),
        ((*POSTED, SeenComplete(0, 1)), Mark.FAILED),
        ((*POSTED, GivenUp("its status is lost")), Mark.FAILED),
        ((Begun(1), RefusedAs("no"), Failed("refused")), Mark.FAILED),
        ((Begun(1), RefusedAs("no"), RowRejected("no", 2, "")), Mark.FAILED),
    ],
)
def test_a_batch_has_the_mark_of_its_facts(facts: tuple[Fact, ...], mark: Mark) -> None:
    assert marks_of(book_of(*facts), HOLD_S / 2) == [mark]


def test_a_batch_is_held_until_its_hold_is_over() -> None:
    book = book_of(*IN_DOUBT, *POSTED, SeenComplete(0, 0))
    assert marks_of(book, HOLD_S - 1) == [Mark.HELD]
    assert marks_of(book, HOLD_S) == [Mark.COMPLETE]


def test_the_children_of_a_split_batch_stand_in_its_place() -> None:
    book = book_of(Begun(1), RefusedAs("no"))
    book.seal(batch(2))
    book.split(1, (Batch(3, 3, 5, 50, "sha", 1), Batch(4, 4, 5, 50, "sha", 1)), now=0.0)
    book.record(2, Begun(2), now=0.0, hold_s=HOLD_S)
    assert marks_of(book, 0.0) == [Mark.SENDING, Mark.SEALED, Mark.SEALED]


@given(st.lists(st.sampled_from(Mark), max_size=3_000), st.integers(1, 200))
def test_many_batches_fit_into_few_cells(marks: list[Mark], cells: int) -> None:
    shown, size = compressed(marks, cells)
    assert len(shown) <= cells
    assert len(shown) * size >= len(marks)
    if len(marks) <= cells:
        assert (shown, size) == (marks, 1)
    # No trouble is lost in a group, and only a group of nothing else is complete.
    assert (Mark.FAILED in shown) == (Mark.FAILED in marks)
    assert shown.count(Mark.COMPLETE) * size <= marks.count(Mark.COMPLETE) + size - 1


def test_trouble_comes_first_in_a_group() -> None:
    done, failed, held = Mark.COMPLETE, Mark.FAILED, Mark.HELD
    assert compressed([done, done, done, failed, held, done, Mark.ACCEPTED], 4) == (
        [done, failed, held, Mark.ACCEPTED],
        2,
    )
