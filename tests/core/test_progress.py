"""A job's counts: what is rejected, settled, and closed when it ends; every row in exactly one class."""

from collections.abc import Iterable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch, BatchState, Reason, Reject, RowCounts, Settled
from pipeline.core.progress import Progress


def batch(number: int, rows: int) -> Batch:
    return Batch(number=number, rows=rows, size_bytes=100, sha256="")


def settled(of: Batch, *, failed: int = 0, unconfirmed: int = 0) -> Settled:
    return Settled(
        batch=of,
        state=BatchState.COMPLETE,
        confirmed=of.rows - failed - unconfirmed,
        failed=failed,
        unconfirmed=unconfirmed,
        attempts=1,
        release_at=0.0,
        may_be_applied=True,
    )


def rejects(lines: Iterable[int], reason: Reason = Reason.EMPTY_ID) -> list[Reject]:
    return [Reject(line, reason, b"", b"") for line in lines]


def test_rejects_are_counted_by_reason_and_the_first_are_kept() -> None:
    progress = Progress()
    progress.reject(rejects([2, 5]))
    progress.reject(rejects([7, 8, 9], Reason.NUL_BYTE))
    progress.reject(rejects([10]))
    assert progress.rows.rejected == 6
    assert progress.rejects_by_reason == {"local.empty_id": 3, "local.nul_byte": 3}
    assert [reject.line for reject in progress.first_rejects] == [2, 5, 7]


def test_a_settled_batch_puts_its_rows_in_their_classes() -> None:
    progress = Progress()
    progress.settle(settled(batch(1, 10), failed=2, unconfirmed=3))
    progress.settle(settled(batch(2, 7), failed=1))
    assert progress.rows == RowCounts(confirmed=11, failed=3, unconfirmed=3)
    assert sorted(progress.settled) == [1, 2]


BATCHES = {1: 1, 2: 10, 3: 100}
FATES = ["settled", "settled, possibly taken before", "possibly taken", "unsent"]


@pytest.mark.parametrize("fates", list(product(FATES, repeat=len(BATCHES))))
def test_closing_puts_every_row_in_one_class(fates: tuple[str, ...]) -> None:
    progress = Progress(rows_to_place=1_000)
    progress.rows = RowCounts(read=111_111, superseded=10_000, empty=90_000)
    progress.reject(rejects(range(10_000)))
    for (number, rows), fate in zip(BATCHES.items(), fates, strict=True):
        progress.sealed[number] = batch(number, rows)
        if "possibly taken" in fate:
            progress.possibly_taken.add(number)
        if "settled" in fate:
            progress.settle(settled(progress.sealed[number], failed=1))
    progress.close()
    total = {
        fate: sum(rows for rows, had in zip(BATCHES.values(), fates, strict=True) if had == fate) for fate in FATES
    }
    failed = sum("settled" in fate for fate in fates)
    assert progress.rows == RowCounts(
        read=111_111,
        confirmed=total[FATES[0]] + total[FATES[1]] - failed,
        superseded=10_000,
        rejected=10_000,
        empty=90_000,
        failed=failed,
        unconfirmed=total["possibly taken"],
        unsent=total["unsent"] + 1_000,
    )
    assert progress.rows_to_place == 0


@given(
    st.lists(st.tuples(st.integers(1, 50), st.sampled_from(FATES)), max_size=6),
    st.integers(0, 9),
    st.integers(-3, 3).filter(bool),
)
def test_a_row_too_many_or_too_few_is_our_bug(batches: list[tuple[int, str]], to_place: int, wrong: int) -> None:
    progress = Progress(rows_to_place=to_place)
    progress.rows.read = sum(rows for rows, _ in batches) + to_place + wrong
    for number, (rows, fate) in enumerate(batches):
        progress.sealed[number] = batch(number, rows)
        if "possibly taken" in fate:
            progress.possibly_taken.add(number)
        if "settled" in fate:
            progress.settle(settled(progress.sealed[number]))
    with pytest.raises(FatalError, match="accounted for") as caught:
        progress.close()
    assert caught.value.exit_code == ExitCode.OUR_BUG


def test_an_empty_job_closes() -> None:
    progress = Progress()
    progress.close()
    assert progress.rows == RowCounts()
