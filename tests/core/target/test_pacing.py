"""Never more calls in a minute than Target allows, and no status forgotten before it was seen."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.target.pacing import (
    MINUTE_S,
    SHARED_FOR_S,
    SHARED_WITHIN_S,
    CallBudget,
    Shared,
    StatusWindow,
    retry_after_s,
)
from pipeline.core.target.status_memory import STATUSES_KEPT

# The budget of calls.


def call(budget: CallBudget, begin: float, end: float) -> None:
    assert budget.wait_s(begin) == 0
    budget.begin()
    budget.end(end)


def test_calls_may_begin_at_once_up_to_the_budget() -> None:
    budget = CallBudget(2)
    call(budget, 100.0, 101.0)
    call(budget, 100.5, 103.0)
    assert budget.wait_s(103.0) == 58.0
    assert budget.wait_s(160.75) == 0.25
    assert budget.wait_s(161.0) == 0.0


def test_a_call_counts_until_a_minute_after_its_end() -> None:
    budget = CallBudget(1)
    call(budget, 0.0, 50.0)
    assert budget.wait_s(100.0) == 10.0
    call(budget, 110.0, 111.0)
    assert budget.wait_s(112.0) == 59.0


def test_a_call_under_way_has_to_end_first() -> None:
    budget = CallBudget(1)
    budget.begin()
    assert budget.wait_s(0.0) is None
    assert budget.wait_s(500.0) is None
    budget.end(500.0)
    assert budget.wait_s(500.0) == MINUTE_S


def test_calls_under_way_count_with_those_that_ended() -> None:
    budget = CallBudget(2)
    budget.begin()
    call(budget, 1.0, 2.0)
    assert budget.wait_s(3.0) == 59.0
    assert budget.wait_s(62.0) == 0.0
    budget.begin()
    assert budget.wait_s(62.0) is None


def test_a_budget_that_changes() -> None:
    budget = CallBudget(3)
    for ended in (1.0, 2.0, 3.0):
        call(budget, ended, ended)
    assert budget.wait_s(4.0) == 57.0
    budget.calls_per_minute = 1
    assert budget.wait_s(4.0) == 59.0, "all three have to be over"
    budget.calls_per_minute = 4
    assert budget.wait_s(4.0) == 0.0
    budget.begin()
    budget.calls_per_minute = 1
    assert budget.wait_s(4.0) is None, "and so has the one under way"
    assert budget.used(4.0) == 1.0


@pytest.mark.parametrize(
    ("asked_s", "wait_s"),
    [(None, 60.0), (1.0, 1.0), (59.0, 59.0), (61.0, 61.0), (3_600.0, 3_600.0), (3_601.0, 3_600.0), (1e9, 3_600.0)],
)
def test_after_a_503_calls_wait_as_told_or_for_a_whole_minute(asked_s: float | None, wait_s: float) -> None:
    budget = CallBudget(10)
    budget.exhaust(100.0, asked_s)
    assert budget.wait_s(100.0) == wait_s
    assert budget.wait_s(100.0 + wait_s - 1.0) == 1.0
    assert budget.wait_s(100.0 + wait_s) == 0.0


def test_told_to_wait_for_nothing() -> None:
    budget = CallBudget(10)
    budget.exhaust(100.0, 0.0)
    assert budget.wait_s(100.0) == 0.0


NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)
RETRY_AFTER = {
    "0": 0.0,
    "5": 5.0,
    " 120 ": 120.0,
    "999999999": 999_999_999.0,
    "Sun, 29 Nov 2026 12:01:30 GMT": 90.0,
    "Sunday, 29-Nov-26 12:01:30 GMT": 90.0,
    "Sun Nov 29 12:01:30 2026": 90.0,
    "Sun, 29 Nov 2026 13:01:30 +0100": 90.0,
    "Sun, 29 Nov 2026 11:59:00 GMT": 0.0,
    "Sun, 29 Nov 2037 11:59:00 GMT": pytest.approx(347_155_140.0, abs=1e7),
    "": None,
    "soon": None,
    "-5": None,
    "1.5": None,
    "1e3": None,
    "5 s": None,
    "١٢": None,
    "9" * 10: 9_999_999_999.0,
    "9" * 40: pytest.approx(1e40),
    "Sun, 99 Nov 2026 12:00:00 GMT": None,
    "2026-11-29T12:01:30Z": None,
}


@pytest.mark.parametrize(("text", "seconds"), RETRY_AFTER.items())
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after_s(text, NOW) == seconds


@given(st.text(max_size=40))
def test_whatever_retry_after_says(text: str) -> None:
    seconds = retry_after_s(text, NOW)
    assert seconds is None or seconds >= 0.0


def refuse(budget: CallBudget, *moments: float, wait_s: float | None = None) -> list[Shared | None]:
    """Calls that are refused at these moments, one each."""
    found = []
    for now in moments:
        budget.begin()
        found.append(budget.exhaust(now, wait_s))
        budget.end(now)
    return found


def test_one_refusal_below_the_share_says_nothing() -> None:
    budget = CallBudget(8)
    assert refuse(budget, 0.0) == [None]
    assert (budget.share(1.0), budget.is_shared(1.0)) == (8, False)


def test_the_share_is_halved_with_each_more_and_not_to_nothing() -> None:
    budget = CallBudget(45)
    found = refuse(budget, *(100.0 * n for n in range(6)))
    assert [None if each is None else each.share for each in found] == [None, 22, 11, 5, 5, 5]
    assert budget.wait_s(600.0) == 0.0
    assert refuse(CallBudget(2), 0.0, 100.0, 200.0)[1:] == [Shared(1, 1), Shared(1, 1)]


def test_the_share_grows_back() -> None:
    budget = CallBudget(8)
    refuse(budget, 0.0, 100.0, 200.0)
    grows_at = 200.0 + MINUTE_S + SHARED_FOR_S
    assert [budget.share(at) for at in (201.0, grows_at - 1, grows_at, grows_at + SHARED_FOR_S)] == [2, 2, 4, 8]
    assert not budget.is_shared(grows_at + SHARED_FOR_S)


def test_refusals_far_apart_say_nothing() -> None:
    apart = SHARED_WITHIN_S + MINUTE_S + 1.0
    assert refuse(CallBudget(8), 0.0, apart, 2 * apart) == [None, None, None]


def test_refusals_at_once_are_one() -> None:
    assert refuse(CallBudget(8), 0.0, 0.1, 0.2, 59.0) == [None] * 4


def test_a_refusal_of_the_whole_share_says_nothing_of_others() -> None:
    """Who makes all the calls that he may is refused for his own."""
    budget = CallBudget(1)
    assert refuse(budget, 0.0, 100.0, 200.0) == [None] * 3
    busy = CallBudget(3)
    for start in (0.0, 100.0, 200.0):
        for _ in range(2):
            call(busy, start, start)
        assert refuse(busy, start) == [None]


def test_a_share_counts_the_calls_made_already() -> None:
    budget = CallBudget(4)
    refuse(budget, 0.0, 100.0, wait_s=1.0)
    call(budget, 101.0, 102.0)
    assert budget.wait_s(103.0) == 57.0


def test_a_later_503_never_shortens_the_wait() -> None:
    budget = CallBudget(10)
    budget.exhaust(100.0, 300.0)
    budget.exhaust(110.0)
    assert budget.wait_s(110.0) == 290.0


def test_a_503_does_not_free_the_budget() -> None:
    budget = CallBudget(1)
    call(budget, 0.0, 90.0)
    budget.exhaust(20.0)
    assert budget.wait_s(90.0) == MINUTE_S


def test_what_share_of_the_budget_is_used() -> None:
    budget = CallBudget(4)
    assert budget.used(0.0) == 0.0
    budget.begin()
    call(budget, 0.0, 5.0)
    assert budget.used(5.0) == 0.5
    budget.end(10.0)
    assert budget.used(65.0) == 0.25
    assert budget.used(70.0) == 0.0
    for _ in range(4):
        budget.begin()
    assert budget.used(70.0) == 1.0


def test_another_budget_counts_the_calls_made_already() -> None:
    budget = CallBudget(2)
    call(budget, 0.0, 1.0)
    call(budget, 0.0, 2.0)
    budget.calls_per_minute = 3
    call(budget, 3.0, 4.0)
    assert budget.wait_s(5.0) == 56.0
    budget.calls_per_minute = 1
    assert (budget.wait_s(61.0), budget.used(61.0)) == (3.0, 1.0)
    assert budget.wait_s(64.0) == 0.0


def test_after_a_503_all_of_it_is_used() -> None:
    budget = CallBudget(4)
    budget.exhaust(10.0)
    assert budget.used(69.0) == 1.0
    assert budget.used(70.0) == 0.0


#: Quarters of a second that pass, or None: the oldest call under way ends (False: the newest).
HAPPENINGS = st.lists(
    st.one_of(st.integers(0, 80).map(lambda quarters: quarters / 4), st.booleans(), st.none()), max_size=120
)


@given(st.integers(1, 6), HAPPENINGS)
def test_never_more_calls_in_a_minute_wherever_they_were_counted(
    limit: int, happenings: list[float | bool | None]
) -> None:
    """None begins a call if it may, True and False end the oldest and the newest, a number lets time pass."""
    budget = CallBudget(limit)
    now = 0.0
    calls: list[list[float]] = []
    under_way: list[list[float]] = []
    for happening in happenings:
        if happening is None:
            if budget.wait_s(now) == 0:
                budget.begin()
                under_way.append([now, float("inf")])
                calls.append(under_way[-1])
        elif isinstance(happening, bool):
            if under_way:
                budget.end(now)
                under_way.pop(0 if happening else -1)[1] = now
        else:
            now += happening
        might_count = [end for _, end in calls if end > now - MINUTE_S]
        wait_s = budget.wait_s(now)
        if len(might_count) < limit:
            assert wait_s == 0.0, "no call waits longer than it must"
        elif len(under_way) == len(might_count):
            assert wait_s is None
        else:
            assert wait_s == min(might_count) + MINUTE_S - now
    # A window is half open, and the fullest ones begin where a call ends or the first is counted.
    for window in {moment for each in calls for moment in each if moment < float("inf")}:
        assert sum(begin < window + MINUTE_S and end >= window for begin, end in calls) <= limit


@given(st.floats(0, 1e7), st.floats(0, 60, exclude_max=True))
def test_who_waits_as_told_may_begin_soon(ended: float, later: float) -> None:
    """Adding a wait to the time may fall short by a rounding error, but never for ever."""
    budget = CallBudget(1)
    call(budget, ended, ended)
    now = ended + later
    for _ in range(3):
        now += budget.wait_s(now) or 0.0
    assert budget.wait_s(now) == 0.0


# The window of statuses.


def posted(window: StatusWindow) -> int:
    """A POST that is over before another begins."""
    number = window.begin_post()
    window.end_post(number)
    return number


def test_the_window_counts_from_the_oldest_unsettled_post() -> None:
    window = StatusWindow(3)
    assert window.is_open
    assert [posted(window) for _ in range(3)] == [0, 1, 2]
    assert not window.is_open
    window.forget(1)
    assert not window.is_open
    window.forget(0)
    assert window.is_open
    assert [posted(window), posted(window)] == [3, 4]
    assert not window.is_open


def test_posts_under_way_count_as_if_they_came_later() -> None:
    window = StatusWindow(4)
    first, second = window.begin_post(), window.begin_post()
    assert window.is_open
    window.end_post(second)
    window.forget(first)
    # The first may have been submitted behind the second: it counts until the second is seen.
    assert [window.begin_post(), window.begin_post()] == [2, 3]
    assert not window.is_open
    window.forget(second)
    assert window.is_open


def test_posts_that_are_over_do_not_count_against_later_ones() -> None:
    window = StatusWindow(3)
    window.forget(posted(window))
    refused = window.begin_post()
    window.forget(refused)
    for _ in range(3):
        assert window.is_open
        posted(window)
    assert not window.is_open


def test_an_answer_alone_does_not_open_the_window() -> None:
    window = StatusWindow(1)
    number = window.begin_post()
    assert not window.is_open
    window.end_post(number)
    assert not window.is_open
    window.forget(number)
    assert window.is_open


def test_forgetting_twice_changes_nothing() -> None:
    window = StatusWindow(1)
    first = window.begin_post()
    window.forget(first)
    window.forget(first)
    window.end_post(first)
    window.begin_post()
    assert not window.is_open
    window.forget(first)
    assert not window.is_open


def test_a_new_process_counts_on() -> None:
    window = StatusWindow(5, next_number=9, unsettled=[6, 7])
    assert [posted(window), posted(window)] == [9, 10]
    assert not window.is_open
    window.forget(6)
    assert posted(window) == 11
    assert not window.is_open
    window.forget(7)
    assert window.is_open
    assert StatusWindow(1, next_number=100).is_open


def test_a_window_that_grows_opens() -> None:
    window = StatusWindow(2)
    for _ in range(2):
        posted(window)
    assert not window.is_open
    window.size = 3
    assert window.is_open
    posted(window)
    assert not window.is_open


def test_a_window_that_shrinks_stays_shut_until_so_few_are_unsettled() -> None:
    window = StatusWindow(5)
    numbers = [posted(window) for _ in range(5)]
    window.size = 2
    for number in numbers[:3]:
        window.forget(number)
        assert not window.is_open
    window.forget(numbers[3])
    assert window.is_open


def test_how_many_posts_are_under_way() -> None:
    window = StatusWindow(5)
    first, second, third = window.begin_post(), window.begin_post(), window.begin_post()
    assert window.under_way == 3
    window.end_post(first)
    assert window.under_way == 2
    window.forget(second)
    assert window.under_way == 1
    window.end_post(third)
    window.forget(third)
    assert window.under_way == 0


@dataclass
class TargetsMemory:
    """Target keeps the statuses of the last batches submitted, in the order in which they reach it."""

    window: StatusWindow
    under_way: list[int] = field(default_factory=list)
    unanswered: list[int] = field(default_factory=list)
    submitted: list[int] = field(default_factory=list)
    unseen: list[int] = field(default_factory=list)
    begun: int = 0
    overlap: int = 0

    def begin(self, place: int) -> None:
        if self.window.is_open:
            self.under_way.append(self.window.begin_post())
            self.begun += 1

    def submit(self, place: int) -> None:
        """One of the POSTs under way reaches Target; the answer takes its time."""
        if self.under_way:
            number = self.under_way.pop(place % len(self.under_way))
            self.submitted.append(number)
            self.unanswered.append(number)

    def answer(self, place: int) -> None:
        """The answer to one of the submitted POSTs comes."""
        if self.unanswered:
            number = self.unanswered.pop(place % len(self.unanswered))
            self.window.end_post(number)
            self.unseen.append(number)

    def refuse(self, place: int) -> None:
        """One of the POSTs under way ends without a status to see."""
        if self.under_way:
            self.window.forget(self.under_way.pop(place % len(self.under_way)))

    def see(self, place: int) -> None:
        """The status of one of the accepted batches is asked for."""
        if self.unseen:
            self.window.forget(self.unseen.pop(place % len(self.unseen)))

    def restart(self, place: int) -> None:
        """Our process ends and begins anew; nobody waits for the POSTs that were under way."""
        self.window = StatusWindow(STATUSES_KEPT, next_number=self.begun, unsettled=self.unseen, overlap=self.overlap)
        self.under_way, self.unanswered = [], []

    def run(self, steps: list[tuple[str, int]]) -> None:
        for what, place in steps:
            getattr(self, what)(place)
            assert set(self.unseen) <= set(self.submitted[-STATUSES_KEPT:]), "a status is forgotten"


WHAT = st.sampled_from([*["begin"] * 3, *["submit"] * 2, *["answer"] * 2, "see", "refuse"])


@example(
    [
        *[("begin", 0), ("begin", 0), ("submit", 1), ("answer", 0), ("submit", 0), ("answer", 0), ("see", 1)],
        *[("begin", 0), ("submit", 0)] * 9,
    ]
)
@given(st.lists(st.tuples(WHAT, st.integers(0, 9)), max_size=150))
def test_no_status_is_forgotten_in_whatever_order_posts_are_submitted(steps: list[tuple[str, int]]) -> None:
    TargetsMemory(StatusWindow(STATUSES_KEPT)).run(steps)


@given(st.lists(st.tuples(WHAT | st.just("restart"), st.just(0)), max_size=150))
def test_no_status_is_forgotten_over_a_restart_if_posts_are_submitted_in_order(steps: list[tuple[str, int]]) -> None:
    TargetsMemory(StatusWindow(STATUSES_KEPT)).run(steps)


def test_no_status_is_forgotten_over_a_restart() -> None:
    overlapping = [*[("begin", 0)] * 2, ("submit", 1), ("answer", 0), ("submit", 0), ("answer", 0), ("see", 1)]
    TargetsMemory(StatusWindow(STATUSES_KEPT), overlap=1).run(
        [*overlapping, ("restart", 0), *[("begin", 0), ("submit", 0), ("answer", 0)] * 9]
    )


def test_the_window_lets_as_many_begin_as_target_keeps() -> None:
    window = StatusWindow(STATUSES_KEPT)
    begun = 0
    while window.is_open:
        posted(window)
        begun += 1
    assert begun == STATUSES_KEPT == 10
