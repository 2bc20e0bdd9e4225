"""The way of a batch over time, from its facts: what was done when, and how it stands."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.core.batches.lifecycle import (
    Begun,
    Fact,
    Failed,
    GivenUp,
    InDoubt,
    Life,
    NeverSent,
    NotTaken,
    RefusedAs,
    Released,
    RowRejected,
    SeenComplete,
    SeenStuck,
    SplitUp,
    Taken,
    fold,
)
from pipeline.core.model import Batch
from pipeline.edges.views.batch_track import BatchTrack, Doing, track_of

NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)
BATCH = Batch(1, 7, 100, 5_000, "")
COMPLETE = SeenComplete(0, 0)


def track(*facts: Fact) -> BatchTrack:
    """A batch to which one of these facts happened every minute from nine o'clock on."""
    life = Life()
    for fact in facts:
        life = fold(life, fact, 0.0)
    times = [(NINE + timedelta(minutes=number)).isoformat() for number in range(len(facts))]
    return track_of(BATCH, life, facts, times)


def minutes(at: datetime | None) -> int | None:
    return None if at is None else (at - NINE).seconds // 60


def spans(told: BatchTrack) -> list[tuple[str, int | None, int | None]]:
    """What was done, from which minute to which."""
    return [(span.doing.value, minutes(span.begun), minutes(span.ended)) for span in told.spans]


def test_sent_and_applied() -> None:
    told = track(Begun(0), Taken("/1"), COMPLETE, Released())
    assert spans(told) == [("sending", 0, 1), ("applying", 1, 2)]
    assert (told.state, told.applied, told.attempts) == ("complete", 100, 1)
    assert (told.begun_at, told.settled_at) == (NINE, NINE + timedelta(minutes=2)), "a release settles nothing"
    assert told.is_well


def test_what_goes_on_has_no_end() -> None:
    told = track(Begun(0), InDoubt("HTTP 500"), Begun(1), Taken("/1"))
    assert spans(told) == [("sending", 0, 1), ("waiting", 1, 2), ("sending", 2, 3), ("applying", 3, None)]
    assert (told.state, told.settled_at, told.attempts) == ("accepted", None, 2)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ((), "sealed"),
        ((Begun(0),), "sending"),
        ((Begun(0), NotTaken("HTTP 503")), "sealed"),
        ((Begun(0), Taken("/1"), SeenStuck()), "sealed"),
        ((Begun(0), RefusedAs("no")), "refused"),
        ((Begun(0), Taken("/1"), GivenUp("no status")), "unconfirmed"),
        ((Begun(0), RefusedAs("no"), Failed("no")), "failed"),
        ((Begun(0), InDoubt("cut"), Begun(1), RefusedAs("no"), Failed("no")), "unconfirmed"),
        ((Begun(0), RefusedAs("no"), SplitUp((2, 3))), "split"),
        ((Begun(0), RefusedAs("no"), RowRejected("no", 7, "u1,gold")), "rejected"),
        ((NeverSent(),), "unsent"),
    ],
)
def test_every_state(facts: tuple[Fact, ...], state: str) -> None:
    told = track(*facts)
    assert told.state == state
    assert told.is_well == (state in ("sealed", "sending", "split"))
    assert "gold" not in str(told), "what Target refused is nowhere"


def test_rows_that_target_lost_are_not_applied() -> None:
    told = track(Begun(0), Taken("/1"), SeenComplete(3, 2))
    assert (told.state, told.applied, told.is_well) == ("complete", 95, False)
    assert told.why == "Target failed 3 rows and did not count 2 rows as applied"


def test_all_that_takes_time_has_a_name() -> None:
    assert {doing.value for doing in Doing} == {"sending", "applying", "waiting"}
