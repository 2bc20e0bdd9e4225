"""The last days of a route: what each of them is, as a picture and in words."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.expectations.calendar import CALENDAR_DAYS, CalendarDay, DayState
from pipeline.edges.views.days import days_in_words, drawing

TODAY = date(2026, 11, 30)


def days(*latest: DayState, today: date = TODAY, others: DayState = "none") -> tuple[CalendarDay, ...]:
    """The days of a calendar, the last of which are these."""
    states = [others] * (CALENDAR_DAYS - len(latest)) + [*latest]
    return tuple(
        CalendarDay(today - timedelta(days=CALENDAR_DAYS - 1 - number), state) for number, state in enumerate(states)
    )


def test_days_that_did_not_go_well_are_named() -> None:
    told = days_in_words(days("missing", "done", "failed", "none"))
    assert told == "1 day of 30 done. Not so: 27 Nov missing; 29 Nov failed."
    assert days_in_words(days()) == "0 days of 30 done."
    assert days_in_words(days(others="done")) == "30 days of 30 done."


def test_a_long_list_of_days_is_cut() -> None:
    told = days_in_words(days(others="failed"))
    assert told.startswith("0 days of 30 done. Not so: 23 Nov failed;")
    assert told.endswith("30 Nov failed (and 22 before).")


@given(st.sampled_from([30, 15]), st.dates(date(2026, 1, 1), date(2027, 12, 31)))
def test_the_calendar(in_a_line: int, today: date) -> None:
    drawn = drawing(days("done", today=today), in_a_line=in_a_line)
    assert len(drawn.cells) == 30
    assert len({(cell.x, cell.y) for cell in drawn.cells}) == 30
    for cell in drawn.cells:
        assert 0 <= cell.x <= cell.x + drawn.size <= drawn.width
        assert cell.y + drawn.size <= drawn.height
    assert drawn.cells[-1].told == f"{today.day} {today:%B}: done"
    assert 4 <= sum(bool(cell.label) for cell in drawn.cells) <= 5, "Mondays"
