"""The time of a run by what it went to: all of it, each second once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.target.time_spent import TimeSpent


def test_each_second_goes_to_one_activity() -> None:
    spent = TimeSpent(100.0)
    spent.note_reading(101.0, goes_on=True)
    spent.note_posts(1, 103.0)
    spent.note_posts(1, 104.0)
    spent.note_posts(-1, 106.0)
    spent.note_reading(107.0, goes_on=False)
    spent.note_posts(-1, 110.0)
    assert spent.seconds(116.0) == {"reading": 2.0, "sending": 7.0, "waiting": 7.0}
    assert spent.seconds(117.0)["waiting"] == 8.0, "it goes on"


@given(st.lists(st.tuples(st.floats(0, 1_000), st.sampled_from(["begin", "end", "read", "wait"])), max_size=30))
def test_none_is_lost_or_counted_twice(events: list[tuple[float, str]]) -> None:
    spent, now, posts = TimeSpent(0.0), 0.0, 0
    for after, event in events:
        now += after
        match event:
            case "begin":
                posts += 1
                spent.note_posts(1, now)
            case "end" if posts:
                posts -= 1
                spent.note_posts(-1, now)
            case "read" | "wait":
                spent.note_reading(now, goes_on=event == "read")
    assert sum(spent.seconds(now).values()) == pytest.approx(now, abs=0.01)
