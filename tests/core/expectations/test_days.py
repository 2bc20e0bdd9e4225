"""The days on which an export is expected: due times over clock changes, the day a job counts for, what is overdue."""

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.expectations.days import Expectation, JobEnd, day_in, overdue

BERLIN = ZoneInfo("Europe/Berlin")
DAILY = frozenset(range(7))
WORKDAYS = frozenset(range(5))
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"]
)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - with the zone
EXPECTATIONS = st.builds(
    Expectation,
    days=st.frozensets(st.integers(0, 6), min_size=1),
    by=st.integers(0, 1439),
    zone=ZONES.map(ZoneInfo),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def done(taken: str, ended: str | None = None, state: str = "done") -> JobEnd:
    return JobEnd(at(taken), at(ended or taken), state)


def five(days: frozenset[int] = DAILY, zone: ZoneInfo = BERLIN) -> Expectation:
    return Expectation(days, 5 * 60, zone)


class TestDueTimes:
    @pytest.mark.parametrize(
        ("by", "now", "due"),
        [
            (5 * 60, "2026-11-30T12:00+00:00", "2026-11-30T04:00+00:00"),
            (5 * 60, "2026-07-30T12:00+00:00", "2026-07-30T03:00+00:00"),
            # Clocks jump from 02:00 to 03:00: the jump is 02:30.
            (150, "2026-03-29T12:00+00:00", "2026-03-29T01:00+00:00"),
            # They show 02:30 twice: the first counts.
            (150, "2026-10-25T12:00+00:00", "2026-10-25T00:30+00:00"),
            # The last of a month, and of a year.
            (5 * 60, "2028-02-29T04:00+00:00", "2028-02-29T04:00+00:00"),
            (5 * 60, "2027-01-01T03:59+00:00", "2026-12-31T04:00+00:00"),
        ],
    )
    def test_the_one_that_was_due_last(self, by: int, now: str, due: str) -> None:
        assert Expectation(DAILY, by, BERLIN).latest_due(at(now)).due == at(due)

    def test_days_that_are_not_expected_are_none(self) -> None:
        days = [
            each.day for each in five(WORKDAYS).days_due(at("2026-11-27T00:00+00:00"), at("2026-12-01T00:00+00:00"))
        ]
        assert days == [date(2026, 11, 27), date(2026, 11, 30)]

    def test_the_next_one(self) -> None:
        assert five(WORKDAYS).next_due(at("2026-11-27T05:00+00:00")).day == date(2026, 11, 30)

    @given(EXPECTATIONS, MOMENTS)
    def test_days_follow_each_other_without_gaps(self, expectation: Expectation, now: datetime) -> None:
        days = expectation.days_due(now - timedelta(days=30), now)
        assert days[-1] == expectation.latest_due(now)
        assert now - timedelta(days=9) < days[-1].due <= now < expectation.next_due(now + timedelta(microseconds=1)).due
        for one, other in itertools.pairwise(days):
            assert one.begins < one.due < one.ends == other.begins
            assert one.day < other.day
        for each in days:
            assert each.day.weekday() in expectation.days
            assert each.due.astimezone(expectation.zone).date() == each.day

    @given(EXPECTATIONS, MOMENTS)
    def test_an_export_counts_for_the_nearest_due_time(self, expectation: Expectation, taken: datetime) -> None:
        around = expectation.days_due(taken - timedelta(days=20), taken + timedelta(days=20))
        counted = day_in(around, taken)
        assert counted is not None
        assert abs(counted.due - taken) == min(abs(each.due - taken) for each in around)


class TestOverdue:
    def test_nothing_has_come(self) -> None:
        assert overdue(five(), at("2026-11-30T03:59:59+00:00"), (), since=at("2026-11-29T12:00+00:00")) is None
        late = overdue(five(), at("2026-11-30T04:00+00:00"), (), since=at("2026-11-29T12:00+00:00"))
        assert late is not None
        assert late.day == date(2026, 11, 30)

    def test_what_was_due_before_it_was_expected(self) -> None:
        now = at("2026-11-30T09:00+00:00")
        assert overdue(five(), now, (), since=at("2026-11-30T08:00+00:00")) is None
        assert overdue(five(), now, (), since=None) is None

    @pytest.mark.parametrize(
        ("end", "is_late"),
        [
            (done("2026-11-30T01:00+00:00"), False),
            # Taken the evening before: nearer to this day's time than to that of the day before.
            (done("2026-11-29T23:30+00:00"), False),
            # Hours late for the day before, and none of this day.
            (done("2026-11-29T09:00+00:00"), True),
            # It comes late: from then on it is not overdue.
            (done("2026-11-30T08:59+00:00"), False),
            # It lost rows, which is told by itself; it has come.
            (done("2026-11-30T01:00+00:00", state="incomplete"), False),
            (done("2026-11-30T01:00+00:00", state="failed"), True),
        ],
    )
    def test_what_has_come(self, end: JobEnd, is_late: bool) -> None:
        found = overdue(five(), at("2026-11-30T09:00+00:00"), [end], since=LONG_AGO)
        assert (found is not None) == is_late

    def test_a_weekend_is_not_waited_through(self) -> None:
        """Friday's export counts on Monday morning only if it was taken after the middle of the weekend."""
        monday = at("2026-11-30T04:00+00:00")
        assert overdue(five(WORKDAYS), monday, [done("2026-11-28T10:00+00:00")], since=LONG_AGO) is not None
        assert overdue(five(WORKDAYS), monday, [done("2026-11-29T03:00+00:00")], since=LONG_AGO) is None

    @given(EXPECTATIONS, MOMENTS, st.timedeltas(timedelta(0), timedelta(days=3)))
    def test_what_came_for_a_later_day_ends_it(
        self, expectation: Expectation, now: datetime, passed: timedelta
    ) -> None:
        late = overdue(expectation, now, (), since=LONG_AGO)
        assert late is not None
        end = JobEnd(late.begins + passed, late.begins + passed, "done")
        assert overdue(expectation, now, [end], since=LONG_AGO) is None

    @given(EXPECTATIONS, MOMENTS, st.timedeltas(timedelta(microseconds=1), timedelta(days=3)))
    def test_what_came_for_an_earlier_day_does_not(
        self, expectation: Expectation, now: datetime, passed: timedelta
    ) -> None:
        late = expectation.latest_due(now)
        end = JobEnd(late.begins - passed, now, "done")
        assert overdue(expectation, now, [end], since=LONG_AGO) == late
