"""A job's counts: what is rejected, settled, and closed when it ends; every row in exactly one class."""

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.progress import TARGET_REFUSED, Progress
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch, BatchState, RowCounts, Settled


def batch(batch_id: int, rows: int, *, number: int | None = None, parent: int | None = None) -> Batch:
    return Batch(batch_id=batch_id, number=number or batch_id, rows=rows, size_bytes=100, sha256="", parent=parent)


def settled(of: Batch, *, failed: int = 0, unconfirmed: int = 0, rejected: int = 0) -> Settled:
    return Settled(
        batch=of,
        state=BatchState.COMPLETE,
        confirmed=of.rows - failed - unconfirmed - rejected,
        failed=failed,
        unconfirmed=unconfirmed,
        attempts=1,
        release_at=0.0,
        may_be_applied=True,
        rejected=rejected,
    )


def was_split(of: Batch) -> Settled:
    """A split batch has no rows of its own any more."""
    return Settled(of, BatchState.SPLIT, 0, 0, 0, attempts=1, release_at=0.0, may_be_applied=False)


def progress_of(*outcomes: Settled, checkpoint: Checkpoint | None = None) -> Progress:
    return Progress(
        checkpoint=checkpoint or Checkpoint(),
        sealed={each.batch.batch_id: each.batch for each in outcomes},
        settled={each.batch.batch_id: each for each in outcomes},
    )


def test_rejects_are_those_of_ours_and_those_of_target() -> None:
    checkpoint = Checkpoint(read=9, rejected=3, by_reason=Counter({"local.empty_id": 2, "local.nul_byte": 1}))
    assert progress_of(checkpoint=checkpoint).rejects_by_reason == {"local.empty_id": 2, "local.nul_byte": 1}
    outcomes = [settled(batch(number, 1), rejected=1) for number in (1, 2)]
    progress = progress_of(*outcomes, settled(batch(3, 4)), checkpoint=checkpoint)
    assert progress.rejects_by_reason == {"local.empty_id": 2, "local.nul_byte": 1, TARGET_REFUSED: 2}
    assert progress.rows() == RowCounts(read=9, rejected=5, confirmed=4)
    assert checkpoint.by_reason == {"local.empty_id": 2, "local.nul_byte": 1}, "the checkpoint is left as it is"
    progress.close()


def test_a_settled_batch_puts_its_rows_in_their_classes() -> None:
    progress = progress_of(settled(batch(1, 10), failed=2, unconfirmed=3), settled(batch(2, 7), failed=1))
    assert progress.rows() == RowCounts(confirmed=11, failed=3, unconfirmed=3)
    assert progress.rows() == progress.rows()


def test_rows_of_a_split_batch_are_counted_once() -> None:
    parent, child, grandchild = batch(1, 10), batch(2, 4, parent=1), batch(4, 1, parent=3)
    progress = Progress(checkpoint=Checkpoint(read=10))
    progress.sealed = {1: parent}
    assert progress.sealed_rows == 10
    progress.sealed |= {2: child, 3: batch(3, 6, parent=1), 4: grandchild, 5: batch(5, 5, parent=3)}
    progress.settled = {1: was_split(parent), 2: settled(child), 3: was_split(progress.sealed[3])}
    assert progress.sealed_rows == 10
    progress.settled[4] = settled(grandchild, rejected=1)
    progress.possibly_taken.add(5)
    assert progress.close() == RowCounts(read=10, confirmed=4, rejected=1, unconfirmed=5)


def test_batches_are_named_in_the_order_of_their_numbers() -> None:
    outcomes = [settled(batch(7, 1, number=3)), settled(batch(9, 1, number=1)), settled(batch(8, 1, number=2))]
    assert [each.batch.number for each in progress_of(*outcomes).batches()] == [1, 2, 3]


def test_batches_under_way_are_accepted_and_not_settled() -> None:
    progress = progress_of(settled(batch(1, 1)), settled(batch(2, 1)))
    assert progress.batches_under_way == 0
    progress.accepted = {1, 3, 4}
    assert progress.batches_under_way == 2


BATCHES = {1: 1, 2: 10, 3: 100}
FATES = ["settled", "settled, possibly taken before", "possibly taken", "unsent"]


@pytest.mark.parametrize("fates", list(product(FATES, repeat=len(BATCHES))))
def test_closing_puts_every_row_in_one_class(fates: tuple[str, ...]) -> None:
    checkpoint = Checkpoint(read=111_111, superseded=10_000, empty=90_000, rejected=10_000)
    progress = Progress(checkpoint=checkpoint, unplaced_rows=1_000)
    for (batch_id, rows), fate in zip(BATCHES.items(), fates, strict=True):
        progress.sealed[batch_id] = batch(batch_id, rows)
        if "possibly taken" in fate:
            progress.possibly_taken.add(batch_id)
        if "settled" in fate:
            progress.settled[batch_id] = settled(progress.sealed[batch_id], failed=1)
    total = {
        fate: sum(rows for rows, had in zip(BATCHES.values(), fates, strict=True) if had == fate) for fate in FATES
    }
    failed = sum("settled" in fate for fate in fates)
    expected = RowCounts(
        read=111_111,
        confirmed=total[FATES[0]] + total[FATES[1]] - failed,
        superseded=10_000,
        rejected=10_000,
        empty=90_000,
        failed=failed,
        unconfirmed=total["possibly taken"],
        unsent=total["unsent"] + 1_000,
    )
    assert progress.close() == expected
    assert progress.close() == expected, "closing counts, and changes nothing"


@given(
    st.lists(st.tuples(st.integers(1, 50), st.sampled_from(FATES)), max_size=6),
    st.integers(0, 9),
    st.integers(-3, 3).filter(bool),
)
def test_a_row_too_many_or_too_few_is_our_bug(batches: list[tuple[int, str]], unplaced: int, wrong: int) -> None:
    progress = Progress(unplaced_rows=unplaced)
    progress.checkpoint.read = sum(rows for rows, _ in batches) + unplaced + wrong
    for batch_id, (rows, fate) in enumerate(batches):
        progress.sealed[batch_id] = batch(batch_id, rows)
        if "possibly taken" in fate:
            progress.possibly_taken.add(batch_id)
        if "settled" in fate:
            progress.settled[batch_id] = settled(progress.sealed[batch_id])
    with pytest.raises(FatalError, match="accounted for") as caught:
        progress.close()
    assert caught.value.exit_code == ExitCode.OUR_BUG


def test_a_number_is_given_once() -> None:
    progress = Progress(last_number=4)
    assert [progress.allot_number() for _ in range(3)] == [5, 6, 7]
    assert Progress().allot_number() == 1


def test_an_empty_job_closes() -> None:
    assert Progress().close() == RowCounts()
