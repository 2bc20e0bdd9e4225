"""The pictures of a job: nothing lies outside, nothing is hidden, and what they show is true."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.edges.views.batch_track import BatchTrack, Doing, Span
from pipeline.edges.views.flow import flow, flow_in_words
from pipeline.edges.views.timeline import MOST_DRAWN, timeline
from pipeline.edges.views.wording import MEANINGS

NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)
COUNTS = st.integers(0, 3) | st.integers(0, 10**9)


@given(st.fixed_dictionaries(dict.fromkeys(MEANINGS, COUNTS)), st.sampled_from([(860.0, 190.0), (340.0, 125.0)]))
def test_the_stream_of_rows(counts: dict[str, int], size: tuple[float, float]) -> None:
    width, label = size
    drawn = flow(counts, width=width, label_width=label)
    if drawn is None:
        assert not any(counts.values())
        return
    assert {band.name: band.count for band in drawn.bands} == {name: count for name, count in counts.items() if count}
    assert sum(branch.count for branch in drawn.branches) == sum(counts.values())
    for band in drawn.bands:
        assert 0 <= band.y <= band.y + band.height <= drawn.height
        assert band.height >= 3, "nobody would see it"
    for above, below in pairwise(drawn.bands):
        assert below.label_y - above.label_y >= 37.8, "labels lie over each other"
        assert below.y >= above.y + above.height - 0.2
    for upper, lower in pairwise(drawn.branches):
        assert lower.y >= upper.y + upper.height
    assert drawn.branches[-1].y + drawn.branches[-1].height <= drawn.height + 1
    assert max(band.height for band in drawn.bands) == max(
        band.height for band in drawn.bands if band.count == max(counts.values())
    )


def test_the_stream_in_words() -> None:
    assert (
        flow_in_words({"read": 1_001, "confirmed": 1_000, "failed": 1}) == "1,001 rows read: 1,000 confirmed, 1 failed."
    )
    assert flow_in_words({"read": 0}) == "No row was read."


def track(number: int, begun_s: float, *lengths_s: float, is_over: bool = True, state: str = "complete") -> BatchTrack:
    at, spans = NINE + timedelta(seconds=begun_s), list[Span]()
    for place, length_s in enumerate(lengths_s):
        ended = at + timedelta(seconds=length_s)
        is_last = place == len(lengths_s) - 1
        spans.append(Span([*Doing][place % 2], at, ended if is_over or not is_last else None))
        at = ended
    settled = at if is_over else None
    return BatchTrack(
        number, 100, 5_000, state if is_over else "accepted", tuple(spans), 100 if is_over else 0, 1, settled
    )


LENGTHS = st.floats(0, 200_000)
TRACKS = st.lists(st.tuples(LENGTHS, LENGTHS, LENGTHS, st.booleans()), min_size=1, max_size=30)


@given(TRACKS, st.sampled_from([860.0, 340.0]))
def test_batches_over_time(drawn: list[tuple[float, float, float, bool]], width: float) -> None:
    tracks = [track(number, *lengths, is_over=is_over) for number, (*lengths, is_over) in enumerate(drawn, 1)]
    picture = timeline(tracks, NINE + timedelta(seconds=600_000), width=width)
    assert picture is not None
    assert [row.track for row in picture.rows] == tracks
    assert 1 <= len(picture.ticks) <= width / 130 + 1
    for path in (picture.rate, *picture.paths.values()):
        for x, y, length, height in re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)", path):
            assert picture.left - 0.1 <= float(x) <= float(x) + float(length) <= width
            assert 0 <= float(y) <= float(y) + float(height) <= picture.axis_y
    assert bool(picture.rate) == any(is_over for *_, is_over in drawn)
    assert all(picture.left <= row.end_x + picture.mark <= width for row in picture.rows)


def test_what_happened_a_moment_after_it_was_looked_at_is_drawn_in_order() -> None:
    picture = timeline(
        [track(1, 0, 5, 5), track(2, 10.4, 0.3, 0, is_over=False)], NINE + timedelta(seconds=10), width=860
    )
    assert picture is not None
    assert picture.rows[1].end_x == 840, "it goes on, and ends at the right"


def test_nothing_is_drawn_before_something_was_sent() -> None:
    assert timeline([BatchTrack(1, 100, 5_000, "sealed")], NINE, width=340) is None
    assert timeline([], NINE, width=340) is None


def test_of_very_many_batches_those_are_drawn_that_somebody_should_see() -> None:
    tracks = [track(number, number, 1, 10) for number in range(1, 1_001)]
    tracks[499] = track(500, 500, 1, 1, state="failed")
    tracks[699] = track(700, 700, 1, 900)
    picture = timeline(tracks, NINE, width=860)
    assert picture is not None
    numbers = [row.track.number for row in picture.rows]
    assert len(numbers) == MOST_DRAWN
    assert {500, 700} < {*numbers}
    assert numbers == sorted(numbers)
    assert picture.undrawn == 880
    assert "1,000 batches sent from 23 November 2026, 09:00:01 UTC on, 1,000 settled, within" in picture.words


def test_a_pace_is_that_of_the_whole_time() -> None:
    picture = timeline([track(1, 0, 60, 60), track(2, 0, 60, 540)], NINE, width=860)
    assert picture is not None
    assert picture.pace == "20 rows a minute"
    assert [tick.label for tick in picture.ticks] == ["09:00", "09:02", "09:04", "09:06", "09:08", "09:10"]


def test_ticks_are_round_and_name_the_day_where_it_changes() -> None:
    def labels(seconds: float, *, begun_s: float = 0) -> list[str]:
        picture = timeline([track(1, begun_s, 1, seconds)], NINE, width=860)
        assert picture is not None
        return [tick.label for tick in picture.ticks]

    assert labels(4) == ["09:00:00", "09:00:01", "09:00:02", "09:00:03", "09:00:04", "09:00:05"]
    assert labels(0, begun_s=0.2) == ["09:00:01"]
    assert labels(20 * 3_600, begun_s=7_200) == ["12:00", "18:00", "24 Nov", "06:00"]
    assert labels(20 * 86_400) == ["27 Nov", "1 Dec", "5 Dec", "9 Dec", "13 Dec"]
