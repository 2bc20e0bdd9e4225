"""The fate of each row of a batch, by what Target said of it."""

import numpy as np
import pytest

from pipeline.core.batches.lifecycle import Failed, GivenUp, Life, NeverSent, Phase, RowRejected, SeenComplete
from pipeline.core.memory.row_fates import Fate, row_fates
from pipeline.core.rows.encoding import encode
from tests.core.builders import SALT, row, rows_of

IDS = ["ann", "b b", "eve"]


def fates(last: SeenComplete | GivenUp | Failed | RowRejected | NeverSent, *, is_open: bool = False) -> list[Fate]:
    """The fates of the rows of three ids, in the order of `IDS`."""
    life = Life(phase=Phase.SETTLED, last=last, open_since=(1.0,) if is_open else ())
    rows = rows_of([row(encode(each.encode()).decode(), "1") for each in IDS])
    order = np.argsort(rows.hashes)
    of_each = np.empty(len(rows), dtype=np.uint8)
    of_each[order] = row_fates(life).of(rows.hashes[order], SALT)
    return [Fate(each) for each in of_each.tolist()]


def test_all_are_sent() -> None:
    assert fates(SeenComplete(0, 0)) == [Fate.SENT] * 3


@pytest.mark.parametrize("name", ["b b", "b%20b"], ids=["as it is", "as it was sent"])
def test_those_that_are_named(name: str) -> None:
    assert fates(SeenComplete(1, 0, (name,))) == [Fate.SENT, Fate.REFUSED, Fate.SENT]
    assert fates(SeenComplete(0, 1, (), (name,))) == [Fate.SENT, Fate.DOUBTFUL, Fate.SENT]
    assert fates(SeenComplete(1, 1, (name,), (name, "eve"))) == [Fate.SENT, Fate.REFUSED, Fate.DOUBTFUL]


@pytest.mark.parametrize(
    "last",
    [SeenComplete(2, 0, ("ann",)), SeenComplete(1, 1, ("ann", "nobody")), SeenComplete(2, 0, ("ann", "ann"))],
    ids=["fewer", "not in the batch", "twice"],
)
def test_if_fewer_are_named_than_lost_none_counts(last: SeenComplete) -> None:
    assert fates(last) == [Fate.REFUSED, Fate.DOUBTFUL, Fate.DOUBTFUL]


def test_if_target_read_other_rows_none_counts() -> None:
    assert fates(SeenComplete(0, 0, batch_size=2)) == [Fate.DOUBTFUL] * 3
    assert fates(SeenComplete(1, 0, ("eve",), batch_size=2)) == [Fate.DOUBTFUL, Fate.DOUBTFUL, Fate.REFUSED]


def test_what_nobody_knows_is_in_doubt_if_target_may_have_it() -> None:
    assert fates(GivenUp("lost"), is_open=True) == [Fate.DOUBTFUL] * 3
    assert fates(GivenUp("never taken")) == [Fate.REFUSED] * 3


def test_what_target_failed_or_was_never_sent_is_in_doubt_if_another_attempt_may_be_applied() -> None:
    """What is older must not go over it."""
    assert fates(SeenComplete(1, 0, ("ann",)), is_open=True) == [Fate.DOUBTFUL, Fate.SENT, Fate.SENT]
    assert fates(NeverSent(), is_open=True) == [Fate.DOUBTFUL] * 3
    assert fates(NeverSent()) == [Fate.REFUSED] * 3


def test_what_is_pending_is_no_other_attempt() -> None:
    assert fates(SeenComplete(1, 1, ("ann",), ("eve",)), is_open=True) == [Fate.REFUSED, Fate.SENT, Fate.DOUBTFUL]


@pytest.mark.parametrize("last", [Failed("why"), RowRejected("why", 2, "row")])
@pytest.mark.parametrize("is_open", [False, True])
def test_what_target_does_not_take_is_refused(last: Failed | RowRejected, is_open: bool) -> None:
    assert fates(last, is_open=is_open) == [Fate.REFUSED] * 3
