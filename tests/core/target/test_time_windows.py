"""When windows hold, on days of 23, 24 and 25 hours, against a second reading of what local times mean."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.core.target.time_windows import InForce, Limits, Schedule, Window

BERLIN = ZoneInfo("Europe/Berlin")
PAUSE = Limits(is_paused=True)
EVERY_DAY = frozenset(range(7))
STEP = timedelta(minutes=5)
#: Days around which clocks are set: by an hour, half an hour, at midnight, over midnight, by a whole day.
CHANGES = [
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("America/Sao_Paulo", date(2018, 11, 4)),
    ("America/Sao_Paulo", date(2018, 2, 18)),
    ("Atlantic/Azores", date(2026, 10, 25)),
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Asia/Kolkata", date(2026, 7, 1)),
]


def minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def window(begins: str, ends: str, limits: Limits = PAUSE, *, days: frozenset[int] = EVERY_DAY) -> Window:
    return Window(days, minutes(begins), minutes(ends), BERLIN, limits)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class TestClockChanges:
    """Berlin skips 02:00 to 03:00 on 29 March 2026 (at 01:00 UTC), and has it twice on 25 October (from 00:00 UTC)."""

    @pytest.mark.parametrize(
        ("begins", "ends", "in_utc"),
        [
            ("09:00", "18:00", ["29 07:00", "29 16:00"]),
            ("00:00", "24:00", ["28 23:00", "29 22:00"]),
            ("01:00", "04:00", ["29 00:00", "29 02:00"]),
            ("02:30", "04:00", ["29 01:00", "29 02:00"]),
            ("01:00", "02:30", ["29 00:00", "29 01:00"]),
            ("22:00", "06:00", ["29 20:00", "30 04:00"]),
        ],
    )
    def test_a_day_of_23_hours(self, begins: str, ends: str, in_utc: list[str]) -> None:
        of_sundays = window(begins, ends, days=frozenset([6]))
        (span,) = of_sundays.spans(utc("2026-03-28T12:00"), utc("2026-03-30T12:00"))
        assert [f"{moment:%d %H:%M}" for moment in span] == in_utc

    def test_one_that_is_jumped_over(self) -> None:
        of_sundays = window("02:15", "02:45", days=frozenset([6]))
        assert [*of_sundays.spans(utc("2026-03-28T12:00"), utc("2026-03-30T12:00"))] == []
        assert Schedule([of_sundays]).at(utc("2026-03-28T12:00")).until == datetime(2026, 4, 5, 2, 15, tzinfo=BERLIN)

    @pytest.mark.parametrize(
        ("begins", "ends", "in_utc"),
        [
            ("09:00", "18:00", ["25 08:00", "25 17:00"]),
            ("00:00", "24:00", ["24 22:00", "25 23:00"]),
            ("01:00", "04:00", ["24 23:00", "25 03:00"]),
            ("02:30", "04:00", ["25 00:30", "25 03:00"]),
            ("01:00", "02:30", ["24 23:00", "25 01:30"]),
            ("02:15", "02:45", ["25 00:15", "25 01:45"]),
            ("01:00", "02:00", ["24 23:00", "25 00:00"]),
            ("03:00", "24:00", ["25 02:00", "25 23:00"]),
        ],
    )
    def test_a_day_of_25_hours(self, begins: str, ends: str, in_utc: list[str]) -> None:
        """In one piece: from the first showing on, to where nothing earlier is shown again."""
        of_sundays = window(begins, ends, days=frozenset([6]))
        (span,) = of_sundays.spans(utc("2026-10-24T12:00"), utc("2026-10-26T12:00"))
        assert [f"{moment:%d %H:%M}" for moment in span] == in_utc

    def test_over_midnight_into_the_change(self) -> None:
        of_saturdays = window("22:00", "06:00", days=frozenset([5]))
        for day, hours in (("2026-03-28", 7), ("2026-10-24", 9), ("2026-11-21", 8)):
            ((begun, over),) = of_saturdays.spans(utc(f"{day}T12:00"), utc(f"{day}T12:00") + timedelta(days=1))
            assert over - begun == timedelta(hours=hours)


class TestWhatHolds:
    def test_until_when_in_local_time(self) -> None:
        schedule = Schedule([window("09:00", "18:00", days=frozenset(range(5)))])
        monday, evening = schedule.at(utc("2026-11-23T08:30")), schedule.at(utc("2026-11-27T17:00"))
        assert (monday.limits, str(monday.until)) == (PAUSE, "2026-11-23 18:00:00+01:00")
        assert (evening.limits, str(evening.until)) == (Limits(), "2026-11-30 09:00:00+01:00")

    def test_the_strictest_of_each_kind_where_they_overlap(self) -> None:
        schedule = Schedule(
            [
                window("09:00", "18:00", Limits(calls_per_minute=20, concurrency=2)),
                window("10:00", "12:00", Limits(calls_per_minute=30)),
                window("11:00", "13:00", Limits(concurrency=1)),
                window("11:30", "11:45"),
            ]
        )
        told = [
            (f"{held.since.astimezone(BERLIN):%H:%M}", held.limits)
            for held in schedule.within(utc("2026-11-23T07:00"), utc("2026-11-23T18:00"))
        ]
        assert told == [
            ("08:00", Limits()),
            ("09:00", Limits(calls_per_minute=20, concurrency=2)),
            ("11:00", Limits(calls_per_minute=20, concurrency=1)),
            ("11:30", Limits(is_paused=True, calls_per_minute=20, concurrency=1)),
            ("11:45", Limits(calls_per_minute=20, concurrency=1)),
            ("13:00", Limits(calls_per_minute=20, concurrency=2)),
            ("18:00", Limits()),
        ]

    def test_one_that_begins_as_the_other_ends_changes_nothing(self) -> None:
        schedule = Schedule([window("09:00", "12:00"), window("12:00", "18:00")])
        assert str(schedule.at(utc("2026-11-23T09:00")).until) == "2026-11-23 18:00:00+01:00"

    def test_always_and_never(self) -> None:
        assert Schedule([window("00:00", "24:00")]).at(utc("2026-03-29T00:00")).until is None
        assert Schedule().at(utc("2026-03-29T00:00")).limits == Limits()
        assert not Schedule()

    def test_a_clock_that_is_set_back(self) -> None:
        schedule = Schedule([window("09:00", "18:00")])
        for text, is_paused in (("T12:00", True), ("T20:00", False), ("T12:00", True), ("T04:00", False)):
            assert schedule.at(utc(f"2026-11-23{text}")).limits.is_paused is is_paused

    def test_local_times_in_the_hour_that_there_is_twice(self) -> None:
        """Asked with a local time, as `until` is one."""
        schedule = Schedule([window("01:00", "02:30")])
        first, second = (datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=fold) for fold in (0, 1))
        assert schedule.at(second).limits == PAUSE
        until = schedule.at(first).until
        assert until is not None
        assert (until.astimezone(UTC), until.fold) == (utc("2026-10-25T01:30"), 1)
        assert schedule.at(until).limits == Limits()

    def test_in_words(self) -> None:
        assert Limits(calls_per_minute=20, concurrency=2).in_words() == (
            "at most 20 calls per minute and 2 POSTs at once"
        )
        assert Limits(concurrency=1).in_words() == "at most 1 POST at once"
        assert Limits(is_paused=True, concurrency=1).in_words() == "sending pauses"
        assert Limits().in_words() == "nothing is held back"


class TestPauses:
    def test_seconds_counted_once_where_pauses_overlap(self) -> None:
        schedule = Schedule(
            [
                window("09:00", "12:00"),
                window("10:00", "11:00"),
                window("11:00", "14:00"),
                window("00:00", "24:00", Limits(concurrency=1)),
            ]
        )
        day = utc("2026-11-22T23:00")
        assert schedule.paused_s(day, day + timedelta(days=1)) == 5 * 3_600
        assert schedule.paused_s(day + timedelta(hours=9.5), day + timedelta(hours=9.75)) == 900
        assert schedule.paused_s(day + timedelta(hours=14), day + timedelta(hours=20)) == 0
        assert schedule.paused_s(day, day + timedelta(days=7)) == 7 * 5 * 3_600

    def test_the_longest_on_end(self) -> None:
        saturday, sunday = (window("00:00", "24:00", days=frozenset([day])) for day in (5, 6))
        week = [window("09:00", "18:00"), saturday, sunday, window("22:00", "24:00", days=frozenset([4]))]
        monday = utc("2026-11-23T10:00")
        assert Schedule(week).longest_pause_s(monday) == 50 * 3_600
        assert Schedule(week[:1]).longest_pause_s(monday) == 9 * 3_600
        assert Schedule([saturday, sunday]).longest_pause_s(utc("2026-11-22T20:00")) == 48 * 3_600
        assert Schedule([window("09:00", "18:00", Limits(concurrency=1))]).longest_pause_s(monday) == 0

    def test_when_so_many_seconds_have_passed_without_them(self) -> None:
        schedule = Schedule([window("09:00", "18:00")])
        begun = utc("2026-11-23T07:00")
        assert schedule.after(begun, 3_599) == begun + timedelta(seconds=3_599)
        assert schedule.after(begun, 3_601) == begun + timedelta(hours=10, seconds=1)
        assert schedule.after(begun, 86_400) == begun + timedelta(hours=24 + 2 * 9)
        assert Schedule([window("00:00", "24:00")]).after(begun, 1.0) == begun + timedelta(seconds=1)


# Against a second reading: a window begins when clocks first show its time or later, and ends when they do so for good.


def read_again(one: Window, day: date, grid: list[tuple[datetime, datetime]]) -> tuple[datetime, datetime]:
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - local by definition
    after = one.ends if one.ends > one.begins else one.ends + 1_440
    begins, ends = (midnight + timedelta(minutes=shown) for shown in (one.begins, after))
    return (
        min(moment for moment, shown in grid if shown >= begins),
        max(moment for moment, shown in grid if shown < ends) + STEP,
    )


def limits_by_step(windows: list[Window], around: date) -> Iterator[tuple[datetime, Limits]]:
    """What holds every five minutes of two days and a half around a day, in UTC."""
    noon = datetime(around.year, around.month, around.day, 12, tzinfo=UTC)
    moments = [noon + count * STEP for count in range(-5 * 288, 5 * 288)]
    found = []
    for one in windows:
        grid = [(moment, moment.astimezone(one.zone).replace(tzinfo=None)) for moment in moments]
        days = [around + timedelta(days=count) for count in range(-3, 4)]
        found += [(read_again(one, day, grid), one.limits) for day in days if day.weekday() in one.days]
    for moment in moments:
        if abs(moment - noon) < timedelta(hours=30):
            held = [limits for (begun, over), limits in found if begun <= moment < over]
            yield (
                moment,
                Limits(
                    any(each.is_paused for each in held),
                    min((each.calls_per_minute for each in held if each.calls_per_minute), default=None),
                    min((each.concurrency for each in held if each.concurrency), default=None),
                ),
            )


LIMITS = st.sampled_from([PAUSE, Limits(calls_per_minute=5), Limits(concurrency=2), Limits(False, 7, 1)])
TIMES = st.one_of(st.integers(0, 287), st.integers(0, 40)).map(lambda steps: steps * 5)


@st.composite
def windows_near_changes(draw: st.DrawFn) -> tuple[list[Window], date]:
    name, day = draw(st.sampled_from(CHANGES))
    return [
        Window(
            frozenset(draw(st.sets(st.integers(0, 6), min_size=1))),
            begins := draw(TIMES),
            draw(st.one_of(st.just(1_440), TIMES.filter(lambda ends: ends != begins))),
            ZoneInfo(name),
            draw(LIMITS),
        )
        for _ in range(draw(st.integers(1, 2)))
    ], day


@given(windows_near_changes())
@settings(max_examples=40, deadline=None)
@example(([Window(EVERY_DAY, 135, 165, BERLIN, PAUSE)], date(2026, 10, 25)))
@example(([Window(EVERY_DAY, 0, 1_440, ZoneInfo("Pacific/Apia"), PAUSE)], date(2011, 12, 30)))
@example(([Window(EVERY_DAY, 1_380, 30, ZoneInfo("America/Sao_Paulo"), PAUSE)], date(2018, 11, 4)))
def test_all_the_time_around_a_clock_change(drawn: tuple[list[Window], date]) -> None:
    windows, day = drawn
    by_step = [*limits_by_step(windows, day)]
    schedule = Schedule(windows)
    changes: list[datetime] = []
    for (_, before), (moment, limits) in pairwise(by_step):
        assert schedule.at(moment).limits == limits, moment
        if before != limits:
            changes.append(moment)
    told: list[InForce] = [*schedule.within(by_step[0][0], by_step[-1][0] + STEP)]
    assert [held.until.astimezone(UTC) for held in told[:-1] if held.until] == changes
    paused = sum(limits.is_paused for _, limits in by_step)
    assert schedule.paused_s(by_step[0][0], by_step[-1][0] + STEP) == paused * STEP.total_seconds()
