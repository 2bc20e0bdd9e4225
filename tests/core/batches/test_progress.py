"""A job's counts: what is rejected, settled, and closed when it ends; every row in exactly one class."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.lifecycle import (
    Begun,
    Fact,
    InDoubt,
    NeverSent,
    NotTaken,
    RefusedAs,
    RowRejected,
    SeenComplete,
    Taken,
)
from pipeline.core.batches.progress import TARGET_REFUSED, Progress
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch, RowCounts

SENT = (Begun(1),)
DOUBT = (Begun(1), InDoubt("cut"))
ACCEPTED = (Begun(1), Taken("url"))


def batch(batch_id: int, rows: int, *, number: int | None = None, parent: int | None = None) -> Batch:
    return Batch(batch_id=batch_id, number=number or batch_id, rows=rows, size_bytes=100, sha256="", parent=parent)


def complete(*, failed: int = 0, unconfirmed: int = 0) -> tuple[Fact, ...]:
    return (*ACCEPTED, SeenComplete(failed, unconfirmed))


def rejected() -> tuple[Fact, ...]:
    return (Begun(1), RefusedAs("bad"), RowRejected("bad", 2, "u,1"))


def record(progress: Progress, batch_id: int, *facts: Fact) -> None:
    for fact in facts:
        progress.book.record(batch_id, fact, now=0.0, hold_s=0.0)


def progress_of(*batches: tuple[Batch, Iterable[Fact]], checkpoint: Checkpoint | None = None) -> Progress:
    """Batches of which this is known."""
    progress = Progress(checkpoint=checkpoint or Checkpoint())
    for each, facts in batches:
        progress.book.seal(each)
        record(progress, each.batch_id, *facts)
    return progress


def test_rejects_are_those_of_ours_and_those_of_target() -> None:
    checkpoint = Checkpoint(read=9, rejected=3, by_reason=Counter({"local.empty_id": 2, "local.nul_byte": 1}))
    assert progress_of(checkpoint=checkpoint).rejects_by_reason == {"local.empty_id": 2, "local.nul_byte": 1}
    outcomes = [(batch(number, 1), rejected()) for number in (1, 2)]
    progress = progress_of(*outcomes, (batch(3, 4), complete()), checkpoint=checkpoint)
    assert progress.rejects_by_reason == {"local.empty_id": 2, "local.nul_byte": 1, TARGET_REFUSED: 2}
    assert progress.rows() == RowCounts(read=9, rejected=5, confirmed=4)
    assert checkpoint.by_reason == {"local.empty_id": 2, "local.nul_byte": 1}, "the checkpoint is left as it is"
    progress.close()


def test_a_settled_batch_puts_its_rows_in_their_classes() -> None:
    progress = progress_of(
        (batch(1, 10), complete(failed=2, unconfirmed=3)),
        (batch(2, 7), complete(failed=1)),
        # Neither of these is settled.
        (batch(3, 5), ACCEPTED),
        (batch(4, 5), ()),
    )
    assert progress.rows() == RowCounts(confirmed=11, failed=3, unconfirmed=3)
    assert progress.rows() == progress.rows()


def test_rows_of_a_split_batch_are_counted_once() -> None:
    parent, child, grandchild = batch(1, 10), batch(2, 4, parent=1), batch(4, 1, parent=3)
    progress = progress_of((parent, (Begun(1), RefusedAs("bad"))), checkpoint=Checkpoint(read=10))
    assert progress.book.rows == 10
    progress.book.split(1, (child, batch(3, 6, parent=1)), now=0.0)
    record(progress, 3, Begun(2), RefusedAs("bad"))
    progress.book.split(3, (grandchild, batch(5, 5, parent=3)), now=0.0)
    record(progress, 2, *complete())
    assert progress.book.rows == 10
    record(progress, 4, *rejected())
    record(progress, 5, *DOUBT)
    assert progress.close() == RowCounts(read=10, confirmed=4, rejected=1, unconfirmed=5)


def test_batches_are_named_in_the_order_of_their_numbers() -> None:
    numbers = {7: 3, 9: 1, 8: 2}
    progress = progress_of(*((batch(each, 1, number=number), complete()) for each, number in numbers.items()))
    assert [each.batch.number for each in progress.book.settled] == [1, 2, 3]


def test_batches_under_way_are_accepted_and_not_settled() -> None:
    progress = progress_of((batch(1, 1), complete()), (batch(2, 1), complete()))
    assert progress.batches_under_way == 0
    others = {3: ACCEPTED, 4: ACCEPTED, 5: SENT, 6: DOUBT, 7: ()}
    progress = progress_of((batch(1, 1), complete()), *((batch(each, 1), facts) for each, facts in others.items()))
    assert progress.batches_under_way == 2


BATCHES = {1: 1, 2: 10, 3: 100}
#: What may have become of a batch when its job ends.
FATES: dict[str, tuple[Fact, ...]] = {
    "settled": complete(failed=1),
    "settled, possibly taken before": (*DOUBT, *complete(failed=1)),
    "being sent": SENT,
    "in doubt": DOUBT,
    "accepted": ACCEPTED,
    "never sent": (),
    "not taken": (Begun(1), NotTaken("503")),
    "refused": (Begun(1), RefusedAs("bad")),
    "dropped": (NeverSent(),),
}
SETTLED = ("settled", "settled, possibly taken before")
POSSIBLY_TAKEN = ("being sent", "in doubt", "accepted")
UNSENT = ("never sent", "not taken", "refused", "dropped")


@pytest.mark.parametrize("first", FATES)
def test_closing_puts_every_row_in_one_class(first: str) -> None:
    for others in product(FATES, repeat=len(BATCHES) - 1):
        assert_is_closed_right((first, *others))


def assert_is_closed_right(fates: tuple[str, ...]) -> None:
    checkpoint = Checkpoint(read=111_111, superseded=4_000, unchanged=6_000, empty=90_000, rejected=10_000)
    progress = Progress(checkpoint=checkpoint, unplaced_rows=1_000)
    for (batch_id, rows), fate in zip(BATCHES.items(), fates, strict=True):
        progress.book.seal(batch(batch_id, rows))
        record(progress, batch_id, *FATES[fate])
    total: Counter[str] = Counter()
    for rows, fate in zip(BATCHES.values(), fates, strict=True):
        total[fate] += rows
    failed = sum(fate in SETTLED for fate in fates)
    expected = RowCounts(
        read=111_111,
        confirmed=sum(total[fate] for fate in SETTLED) - failed,
        superseded=4_000,
        unchanged=6_000,
        rejected=10_000,
        empty=90_000,
        failed=failed,
        unconfirmed=sum(total[fate] for fate in POSSIBLY_TAKEN),
        unsent=sum(total[fate] for fate in UNSENT) + 1_000,
    )
    assert progress.close() == expected, fates
    assert progress.close() == expected, "closing counts, and changes nothing"
    left = expected.unconfirmed + expected.unsent
    pending = replace(expected, unconfirmed=0, unsent=0, pending=left)
    assert progress.close(goes_on=True) == pending, "nobody is frightened by what the next run follows"


@given(
    st.lists(st.tuples(st.integers(1, 50), st.sampled_from(list(FATES))), max_size=6),
    st.integers(0, 9),
    st.integers(-3, 3).filter(bool),
)
def test_a_row_too_many_or_too_few_is_our_bug(batches: list[tuple[int, str]], unplaced: int, wrong: int) -> None:
    progress = Progress(unplaced_rows=unplaced)
    progress.checkpoint.read = sum(rows for rows, _ in batches) + unplaced + wrong
    for batch_id, (rows, fate) in enumerate(batches):
        progress.book.seal(batch(batch_id, rows))
        record(progress, batch_id, *FATES[fate])
    with pytest.raises(FatalError, match="accounted for") as caught:
        progress.close()
    assert caught.value.exit_code == ExitCode.OUR_BUG


def test_a_number_is_given_once() -> None:
    progress = Progress(last_number=4)
    assert [progress.allot_number() for _ in range(3)] == [5, 6, 7]
    assert Progress().allot_number() == 1


def test_an_empty_job_closes() -> None:
    assert Progress().close() == RowCounts()
