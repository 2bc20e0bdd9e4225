"""Ids that are to be erased: found in every form in which they are written, and never as a part of another."""

import pytest

from pipeline.core.batches.lifecycle import Failed, RowRejected, SeenComplete
from pipeline.core.erasure import Wanted, erased_from
from pipeline.core.formats.framing import BrokenLine, Record
from pipeline.core.model import Reason
from pipeline.core.values.column_steps import ColumnSteps

WANTED = Wanted.of([b"a b", b" 7 ", b"x%2By"])


@pytest.mark.parametrize("cell", [b"a b", b" a b ", b"7", b"x+y", b"x%2By", "\u00a07".encode()])
def test_cells_of_these_ids(cell: bytes) -> None:
    assert WANTED.is_id(cell)


@pytest.mark.parametrize("cell", [b"a", b"a%20b", b"77", b"a bc", b"", b"\xff7"])
def test_cells_of_others(cell: bytes) -> None:
    assert not WANTED.is_id(cell)


def test_what_looks_encoded_and_is_not_as_it_is_sent_is_taken_as_it_is() -> None:
    assert Wanted.of([b"%41"]).texts == {b"%41"}


@pytest.mark.parametrize("text", [b'"7";x', b"row of a b.", b"a%20b,x", b"7", b"(7)"])
def test_texts_with_one(text: bytes) -> None:
    assert WANTED.is_in(text)


@pytest.mark.parametrize("text", [b"77", b"2026-7-1", b"a7", b"7@example.com", b"1.7", b""])
def test_texts_with_none(text: bytes) -> None:
    assert not WANTED.is_in(text)


def test_steps_of_an_export() -> None:
    lower = ColumnSteps(case="lower", hash="sha256_unsalted")
    wanted = Wanted.of([b"u1"], [lower])
    assert wanted.by(lower).is_id(b"U1")
    assert not wanted.is_id(b"U1")
    assert wanted.is_named(lower.done("u1").value)
    assert {len(each) for each in wanted.encoded} == {2, 64}


def test_records() -> None:
    assert WANTED.has_row(Record(1, b"7,x", [b"7", b"x"], False), 0, 2)
    assert not WANTED.has_row(Record(1, b"8,7", [b"8", b"7"], False), 0, 2)
    # One with too many cells may have its id in any.
    assert WANTED.has_row(Record(1, b"8,7,x", [b"8", b"7", b"x"], False), 0, 2)
    assert WANTED.has_row(BrokenLine(1, b'"7"x,8', Reason.TEXT_AFTER_QUOTE), 0, 2)


def test_facts() -> None:
    rejected = RowRejected("Refused: a b", 3, "a%20b,gold")
    assert erased_from(rejected, WANTED) == RowRejected("", 3, "")
    other = RowRejected("Refused", 3, "u1,a%20b")
    assert erased_from(other, WANTED) == other
    complete = SeenComplete(3, 1, ("a b", "u1"), ("x%2By",))
    assert erased_from(complete, WANTED) == SeenComplete(2, 0, ("u1",), ())
    assert erased_from(Failed("why"), WANTED) == Failed("why")
