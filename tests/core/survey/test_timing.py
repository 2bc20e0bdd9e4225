"""The time that batches take follows from the limits that Target sets."""

import pytest

from pipeline.core.survey.timing import Pace, PlannedBatch, seconds_of

PACE = Pace(calls_per_minute=45, status_window=10, concurrency=4)


def batches(count: int, size_bytes: int = 0) -> list[PlannedBatch]:
    return [PlannedBatch(1, size_bytes) for _ in range(count)]


@pytest.mark.parametrize(
    ("count", "completion_s", "about_s"),
    [
        (0, 60.0, 0.0),
        (1, 60.0, 60.0),
        # All of them are under way together.
        (10, 600.0, 600.0),
        # Ten at a time.
        (11, 600.0, 1_200.0),
        (100, 600.0, 6_000.0),
        (100, 3_600.0, 36_000.0),
        # The calls are the limit: two for each batch, 45 a minute.
        (225, 1.0, 600.0),
    ],
)
def test_the_limit_that_is_met(count: int, completion_s: float, about_s: float) -> None:
    found = seconds_of(batches(count), completion_s, PACE)
    assert about_s <= found <= 1.1 * about_s + 5.0 or found == pytest.approx(about_s, rel=0.1)


def test_a_batch_of_held_rows_waits_for_the_one_before() -> None:
    chain = [PlannedBatch(1, 0, after=number) for number in range(5)]
    assert seconds_of(chain, 600.0, PACE) == pytest.approx(3_000.0, rel=0.01)
    assert seconds_of(batches(5), 600.0, PACE) == pytest.approx(600.0, rel=0.01)


def test_bodies_take_their_time() -> None:
    one, many = (seconds_of(batches(count, 50_000_000), 1.0, PACE) for count in (1, 8))
    assert one == pytest.approx(6.4)
    assert many > 1.8 * one


def test_more_statuses_kept_are_faster() -> None:
    wide = Pace(calls_per_minute=45, status_window=80, concurrency=4)
    assert seconds_of(batches(80), 3_600.0, wide) < seconds_of(batches(80), 3_600.0, PACE) / 7
