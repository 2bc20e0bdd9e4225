"""The last days of a route: what each of them is, as a picture and in words."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.edges.views.days import days_in_words, days_of, drawing

TODAY = date(2026, 11, 30)


def test_the_days_of_a_route() -> None:
    ended = [(date(2026, 11, 29), "done"), (date(2026, 11, 29), "failed"), (date(2026, 11, 28), "done")]
    days = days_of([*ended, (date(2026, 10, 1), "failed")], TODAY, [date(2026, 11, 27), date(2026, 11, 28)])
    assert len(days) == 30
    assert [(day.state, day.jobs) for day in days[-4:]] == [("missing", 0), ("done", 1), ("failed", 2), ("none", 0)]
    assert days_in_words(days) == "1 day of 30 done. Not so: 27 Nov missing; 29 Nov failed."
    assert days_in_words(days_of([], TODAY)) == "0 days of 30 done."


def test_a_state_that_is_not_known_is_no_reason_to_fail() -> None:
    (*_, day) = days_of([(TODAY, "new")], TODAY)
    assert day.state == "new"


def test_a_long_list_of_days_is_cut() -> None:
    days = days_of([(TODAY - timedelta(days=back), "failed") for back in range(30)], TODAY)
    assert days_in_words(days).endswith("(and 22 before).")


@given(st.sampled_from([30, 15]), st.dates(date(2026, 1, 1), date(2027, 12, 31)))
def test_the_calendar(in_a_line: int, today: date) -> None:
    drawn = drawing(days_of([(today, "done")], today), in_a_line=in_a_line)
    assert len(drawn.cells) == 30
    assert len({(cell.x, cell.y) for cell in drawn.cells}) == 30
    for cell in drawn.cells:
        assert 0 <= cell.x <= cell.x + drawn.size <= drawn.width
        assert cell.y + drawn.size <= drawn.height
    assert drawn.cells[-1].told.endswith(": done, 1 job")
    assert 4 <= sum(bool(cell.label) for cell in drawn.cells) <= 5, "Mondays"
