"""The time that batches take follows from the limits that Target sets."""

import pytest

from pipeline.core.batches.lifecycle import Begun, SeenComplete, Taken
from pipeline.core.batches.progress import Progress
from pipeline.core.model import Batch
from pipeline.core.survey.timing import Pace, PlannedBatch, seconds_left, seconds_of

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


def progress_of(*complete_at: float, under_way: int = 0, at: float = 0.0) -> Progress:
    """Batches that were posted at 0 and complete at these times, and others that were posted at `at`."""
    progress = Progress(export_bytes=1_000, bytes_read=1_000, reading_is_done=True)
    for number in range(1, 1 + len(complete_at) + under_way):
        progress.book.seal(Batch(number, number, 10, 100, ""))
        is_complete = number <= len(complete_at)
        for fact in (Begun(number), Taken("url")):
            progress.book.record(number, fact, now=0.0 if is_complete else at, hold_s=0.0)
        if is_complete:
            progress.book.record(number, SeenComplete(0, 0), now=complete_at[number - 1], hold_s=0.0)
    return progress


class TestTimeLeft:
    def test_nothing_is_known_before_a_batch_is_complete(self) -> None:
        assert seconds_left(progress_of(under_way=3), 5.0, PACE) is None

    def test_the_batches_under_way_take_as_long_as_the_last_ones(self) -> None:
        progress = progress_of(100.0, 200.0, under_way=2, at=200.0)
        assert seconds_left(progress, 200.0, PACE) == pytest.approx(150.0, abs=2.0)
        assert seconds_left(progress, 300.0, PACE) == pytest.approx(50.0, abs=2.0)
        assert seconds_left(progress, 900.0, PACE) == pytest.approx(0.0, abs=2.0)

    def test_what_is_not_read_yet_counts_by_the_share_that_is(self) -> None:
        progress = progress_of(100.0, under_way=9, at=100.0)
        progress.reading_is_done = False
        progress.bytes_read = 500
        # Nine, and ten more: two rounds of ten at most.
        assert seconds_left(progress, 100.0, PACE) == pytest.approx(200.0, abs=4.0)

    def test_at_the_end_nothing_is_left(self) -> None:
        assert seconds_left(progress_of(100.0), 100.0, PACE) == 0.0
