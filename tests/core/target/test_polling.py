"""When to ask for a status: early while calls are free, when it is worth one otherwise, and never in a rush."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.target.polling import PollPlan

FREE, USED_UP = 0.0, 1.0


def plan_of(*ages: float, first_s: float = 5.0, max_s: float = 300.0) -> PollPlan:
    """A plan that has seen batches complete at these ages, each not yet just before."""
    plan = PollPlan(first_s=first_s, max_s=max_s)
    for age in ages:
        plan.note_complete(age, age)
    return plan


def test_where_nothing_is_known() -> None:
    plan = plan_of()
    assert plan.next_age(None, FREE) == plan.next_age(None, USED_UP) == 5.0


def test_one_batch_that_is_not_complete_speaks_for_the_others_where_calls_are_scarce() -> None:
    plan = plan_of()
    plan.note_incomplete(40.0)
    plan.note_incomplete(10.0)
    assert plan.next_age(None, FREE) == 5.0
    assert plan.next_age(None, USED_UP) == 60.0


def test_with_other_bounds_it_still_knows_how_long_batches_took() -> None:
    plan = plan_of(*range(100, 200, 10))
    plan.take(first_s=7.0, max_s=120.0)
    assert plan.next_age(None, FREE) == 110.0
    plan.take(first_s=150.0, max_s=300.0)
    assert plan.next_age(None, FREE) == 150.0


def test_the_first_time_is_planned_by_how_long_batches_took() -> None:
    """Free calls: when one in ten is complete; none to spare: when nine in ten are."""
    plan = plan_of(*range(100, 200, 10))
    assert plan.next_age(None, FREE) == 110.0
    assert plan.next_age(None, USED_UP) == 190.0
    assert plan.next_age(None, 0.5) == 130.0


@pytest.mark.parametrize(
    ("asked_at", "pressure", "age"),
    [
        (100.0, FREE, 106.0),
        (100.0, USED_UP, 150.0),
        (100.0, 0.5, 117.0),
        # 6 % of little is less than a tenth of what the first wait is.
        (1.0, FREE, 1.5),
        (0.0, FREE, 0.5),
        (0.0, USED_UP, 0.5),
    ],
)
def test_later_times_grow(asked_at: float, pressure: float, age: float) -> None:
    assert plan_of().next_age(asked_at, pressure) == pytest.approx(age)


def test_where_calls_are_scarce_those_that_took_longer_tell_when_to_ask_again() -> None:
    plan = plan_of(10.0, 20.0, *range(400, 500, 10))
    assert plan.next_age(30.0, USED_UP) == 490.0
    assert plan.next_age(30.0, FREE) == 31.8
    assert plan.next_age(485.0, USED_UP) == 727.5
    assert plan.next_age(490.0, USED_UP) == 735.0


def test_the_longest_wait_is_kept_while_calls_are_free() -> None:
    plan = plan_of()
    assert plan.next_age(50_000.0, FREE) == 50_300.0
    assert plan.next_age(50_000.0, USED_UP) == 75_000.0
    assert plan_of(5_000.0).next_age(None, FREE) == 300.0


def test_what_was_seen_late_is_taken_for_earlier() -> None:
    """Complete at first sight: it took less. Complete at second: it took something in between."""
    at_once = PollPlan(first_s=5.0, max_s=300.0)
    at_once.note_complete(None, 100.0)
    assert at_once.next_age(None, FREE) == 90.0
    between = PollPlan(first_s=5.0, max_s=300.0)
    between.note_complete(60.0, 100.0)
    assert between.next_age(None, FREE) == 80.0


def test_a_target_that_becomes_faster_is_followed() -> None:
    """Each is complete when it is first asked for, after 10 s."""
    plan = plan_of(*[1_000.0] * 50, max_s=3_600.0)
    asked = []
    for _ in range(300):
        asked.append(plan.next_age(None, FREE))
        plan.note_complete(None, max(asked[-1], 10.0))
    assert asked[0] == 1_000.0
    assert asked[-1] <= 12.0


def test_only_the_latest_are_remembered() -> None:
    plan = plan_of(*[10.0] * 50, *[100.0] * 50)
    assert plan.next_age(None, FREE) == 100.0


AGES = st.floats(0.0, 1e6)
PRESSURES = st.floats(0.0, 1.0)


@given(st.lists(st.tuples(st.none() | AGES, AGES), max_size=60), AGES, PRESSURES, PRESSURES)
def test_it_is_always_later_and_the_later_the_scarcer_calls_are(
    seen: list[tuple[float | None, float]], asked_at: float, one: float, other: float
) -> None:
    plan = PollPlan(first_s=5.0, max_s=300.0)
    for before, age in seen:
        plan.note_complete(before, age)
        plan.note_incomplete(age)
    less, more = sorted((one, other))
    assert plan.next_age(asked_at, less) >= asked_at + 0.49, "no busy loop"
    assert plan.next_age(asked_at, less) <= plan.next_age(asked_at, more) * (1 + 1e-9)
    assert plan.next_age(None, less) <= plan.next_age(None, more) * (1 + 1e-9)
    assert plan.next_age(asked_at, FREE) <= asked_at + 300.0
    assert plan.next_age(None, FREE) <= 300.0
