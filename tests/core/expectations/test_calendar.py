"""The last days of a route as a calendar."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.expectations.calendar import CalendarDay, calendar
from pipeline.core.expectations.days import Expectation, JobEnd
from tests.core.expectations.test_days import EXPECTATIONS, LONG_AGO, MOMENTS, done, five

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def states(
    ends: list[JobEnd], *, since: datetime | None = LONG_AGO, days: int = 4, is_expected: bool = True
) -> list[str]:
    expectation = five() if is_expected else None
    return [each.state for each in calendar(NOW, ends, days=days, expectation=expectation, since=since)]


def end_of(taken: str, state: str, export: str = "a.csv", hours: int = 1) -> JobEnd:
    at = datetime.fromisoformat(taken)
    return JobEnd(at, at + timedelta(hours=hours), state, export)


def test_each_day_stands_there_once_up_to_today() -> None:
    days = calendar(NOW, [])
    assert [each.day for each in days] == [date(2026, 11, 30) - timedelta(days=29 - n) for n in range(30)]
    assert {each.state for each in days} == {"none"}


def test_a_day_without_an_export_is_missing_only_where_one_was_expected_by_then() -> None:
    assert states([], since=datetime(2026, 11, 28, 12, tzinfo=UTC)) == ["none", "none", "missing", "missing"]
    assert states([], since=None) == ["none"] * 4
    assert states([], is_expected=False) == ["none"] * 4


def test_a_late_export_stands_on_the_day_it_is_late_for_and_an_early_one_on_the_next() -> None:
    late, early = done("2026-11-28T09:00+00:00"), done("2026-11-28T23:00+00:00")
    assert states([late, early]) == ["missing", "done", "done", "missing"]


def test_what_counts_for_a_day_to_come_stands_where_it_was_taken() -> None:
    evening = Expectation(frozenset([1]), 22 * 60, UTC)
    today = calendar(NOW, [done("2026-11-30T11:00+00:00")], days=2, expectation=evening, since=LONG_AGO)
    assert today == (CalendarDay(date(2026, 11, 29), "none"), CalendarDay(date(2026, 11, 30), "done"))


@pytest.mark.parametrize(
    ("ends", "state"),
    [
        (["done", "failed"], "failed"),
        (["incomplete", "done"], "incomplete"),
        (["failed", "incomplete"], "failed"),
        (["unfinished"], "missing"),
    ],
)
def test_the_worst_export_of_a_day_is_told(ends: list[str], state: str) -> None:
    found = [end_of("2026-11-30T02:00+00:00", each, f"{n}.csv") for n, each in enumerate(ends)]
    assert states(found)[-1] == state


def test_of_an_export_that_was_loaded_again_the_last_one_is_told() -> None:
    again = [end_of("2026-11-30T02:00+00:00", "failed"), end_of("2026-11-30T02:30+00:00", "done")]
    assert states(again)[-1] == states(again[::-1])[-1] == "done"


@given(EXPECTATIONS, MOMENTS, st.lists(st.tuples(st.integers(0, 40 * 24), st.sampled_from(["done", "failed"]))))
def test_no_day_is_missing_for_which_an_export_counts(
    expectation: Expectation, now: datetime, jobs: list[tuple[int, str]]
) -> None:
    ends = [JobEnd(now - timedelta(hours=hours), now, state) for hours, state in jobs]
    told = {each.day: each.state for each in calendar(now, ends, expectation=expectation, since=LONG_AGO)}
    assert len(told) == 30
    for day in expectation.days_due(now - timedelta(days=28), now):
        counting = [end for end in ends if day.begins <= end.taken_at < day.ends]
        assert (told[day.day] == "missing") == (not counting)
    without = calendar(now, ends)
    assert sum(each.state != "none" for each in without) <= len(ends)
