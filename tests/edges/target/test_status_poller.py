"""Batches are followed to their final answer, asked for when it is worth a call, on a clock that jumps."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from pipeline.core.target.pacing import CallBudget
from pipeline.core.target.polling import PollPlan
from pipeline.core.target.replies import (
    Complete,
    Incomplete,
    StatusLost,
    StatusOutcome,
    StatusUnavailable,
    Stuck,
    Throttled,
    Unauthorized,
)
from pipeline.core.target.time_windows import Limits, Schedule, Window
from pipeline.edges.clock import Clock
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.status_poller import NOT_YET_S, StatusPoller
from pipeline.edges.target.window_limits import Windows
from tests.simulation.loop import run_virtually


class Following:
    """A follower on the clock of the running loop, and at which ages a batch was asked for."""

    def __init__(self, plan: PollPlan | None = None, *, deadline_s: float = 1_000.0) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time
        clock = Clock(monotonic=loop.time, sleep=asyncio.sleep)
        self.plan = plan or PollPlan(first_s=5.0, max_s=300.0)
        self.calls = CallQueue(CallBudget(1_000), clock)
        self.asked: list[float] = []
        self.status_poller = StatusPoller(self.plan, self.calls, clock, deadline_s=deadline_s)

    async def follow(
        self, *answers: StatusOutcome, age_s: float = 0.0, takes_s: float = 0.0, is_age_known: bool = True
    ) -> StatusOutcome | None:
        """A batch accepted so long ago; the last of the answers is given again and again."""
        posted_at = self.now() - age_s
        coming = self._one_after_the_other(answers)

        async def ask() -> StatusOutcome:
            self.asked.append(round(self.now() - posted_at, 1))
            await asyncio.sleep(takes_s)
            return next(coming)

        return await self.status_poller.follow(posted_at, ask, is_age_known=is_age_known)

    @staticmethod
    def _one_after_the_other(answers: tuple[StatusOutcome, ...]) -> Iterator[StatusOutcome]:
        yield from answers
        while True:
            yield answers[-1]


def learned_from(*ages: float) -> PollPlan:
    plan = PollPlan(first_s=5.0, max_s=300.0)
    for age in ages:
        plan.note_complete(age, age)
    return plan


@pytest.mark.parametrize(
    "final", [Complete(7, 7), Stuck(), StatusLost("gone"), Unauthorized(401), Unauthorized(403, is_final=True)]
)
def test_the_final_answer(final: StatusOutcome) -> None:
    async def run() -> tuple[StatusOutcome | None, list[float]]:
        following = Following()
        return await following.follow(Incomplete(), final), following.asked

    assert run_virtually(run()) == (final, [5.0, 5.5])


@pytest.mark.parametrize(
    "no_answer", [StatusUnavailable("HTTP 500"), Throttled(), Unauthorized(401, is_final=False), Incomplete()]
)
def test_other_answers_are_not(no_answer: StatusOutcome) -> None:
    async def run() -> tuple[StatusOutcome | None, list[float]]:
        following = Following()
        return await following.follow(no_answer, no_answer, Complete()), following.asked

    outcome, asked = run_virtually(run())
    assert outcome == Complete()
    assert len(asked) == 3


UNKNOWN = StatusLost("HTTP 404", is_unknown=True)


@pytest.mark.parametrize(
    ("answers", "age_s", "final", "asked"),
    [
        # One host accepts, another tells: it may not know yet.
        ((UNKNOWN, UNKNOWN, Complete()), 0.0, Complete(), [5.0, 10.0, 20.0]),
        ((UNKNOWN, Incomplete(), Complete()), 0.0, Complete(), [5.0, 10.0, 10.6]),
        # Only an answer makes it wait for twice the age.
        ((UNKNOWN, StatusUnavailable("HTTP 500"), Complete()), 0.0, Complete(), [5.0, 10.0, 10.6]),
        ((UNKNOWN, Throttled(), UNKNOWN, Complete()), 0.0, Complete(), [5.0, 10.0, 10.6, 21.2]),
        ((UNKNOWN,), 0.0, UNKNOWN, [5.0, 10.0, 20.0, 40.0, 80.0]),
        # It knew, or had the time to.
        ((Incomplete(), UNKNOWN), 0.0, UNKNOWN, [5.0, 5.5]),
        ((UNKNOWN, Incomplete(), UNKNOWN), 0.0, UNKNOWN, [5.0, 10.0, 10.6]),
        ((UNKNOWN,), NOT_YET_S, UNKNOWN, [NOT_YET_S]),
        ((UNKNOWN,), 100.0, UNKNOWN, [100.0, 200.0]),
    ],
)
def test_a_batch_that_is_not_known_yet(
    answers: tuple[StatusOutcome, ...], age_s: float, final: StatusOutcome, asked: list[float]
) -> None:
    async def run() -> tuple[StatusOutcome | None, list[float]]:
        following = Following()
        return await following.follow(*answers, age_s=age_s), following.asked

    assert run_virtually(run()) == (final, asked)


def test_one_that_is_not_known_yet_is_asked_for_soon_after_an_outage() -> None:
    """However often there is no answer: the status window stays closed to all others until its outcome is known."""

    async def run() -> tuple[StatusOutcome | None, float]:
        following = Following(PollPlan(first_s=5.0, max_s=30.0), deadline_s=86_400.0)

        async def ask() -> StatusOutcome:
            return StatusUnavailable("no answer") if 15.0 < following.now() < 7_200.0 else UNKNOWN

        return await following.status_poller.follow(0.0, ask), following.now()

    outcome, ended = run_virtually(run())
    assert outcome == UNKNOWN
    assert 7_200.0 <= ended < 7_260.0


def test_no_answer_in_time() -> None:
    """The last time of asking is the deadline."""

    async def run() -> tuple[StatusOutcome | None, list[float], float]:
        following = Following(deadline_s=100.0)
        return await following.follow(Incomplete()), following.asked, following.now()

    outcome, asked, ended = run_virtually(run())
    assert outcome is None
    assert asked[-1] == 100.0
    assert ended == pytest.approx(100.0, abs=0.1)
    assert max(asked[:-1]) < 100.0


def test_a_batch_past_its_deadline_is_asked_for_once_more() -> None:
    async def run(last: StatusOutcome) -> tuple[StatusOutcome | None, int]:
        following = Following(deadline_s=100.0)
        return await following.follow(last, age_s=500.0), len(following.asked)

    assert run_virtually(run(Incomplete())) == (None, 1)
    assert run_virtually(run(Complete())) == (Complete(), 1)


def test_calls_do_not_pile_up_however_long_it_takes() -> None:
    """The wait grows with the age, up to five minutes."""

    async def run() -> list[float]:
        following = Following(deadline_s=86_400.0)
        await following.follow(Incomplete())
        return following.asked

    asked = run_virtually(run())
    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert all(wait <= 301.0 for wait in waits)
    assert min(waits[:-1]) >= 0.4
    assert sum(at > 10_000.0 for at in asked) < 280
    assert len(asked) < 400


def test_it_does_not_hurry_where_batches_are_complete_in_no_time() -> None:
    async def run() -> list[float]:
        following = Following(learned_from(0.01), deadline_s=15.0)
        await following.follow(Incomplete())
        return following.asked

    asked = run_virtually(run())
    assert asked[0] == 5.0
    assert len(asked) <= 20


def test_the_next_batch_is_asked_for_when_the_last_ones_were_complete() -> None:
    async def run() -> list[float]:
        following = Following()
        for _ in range(3):
            await following.follow(Incomplete(), Incomplete(), Complete())
        following.asked.clear()
        await following.follow(Complete())
        return following.asked

    (asked,) = run_virtually(run())
    assert 5.4 <= asked <= 6.1


def test_what_a_call_is_worth_changes_while_it_waits() -> None:
    """Calls were scarce when the batch was accepted: it would wait for 800 s. Then they are free."""

    async def run() -> list[float]:
        following = Following(learned_from(*range(100, 1_100, 100)))
        for _ in range(1_000):
            async with following.calls.call():
                pass
        await following.follow(Complete())
        return following.asked

    (asked,) = run_virtually(run())
    assert 200.0 <= asked <= 211.0


def test_while_calls_are_scarce_it_waits_longer() -> None:
    async def run() -> list[float]:
        following = Following(learned_from(*range(100, 1_100, 100)), deadline_s=5_000.0)
        loop = asyncio.get_running_loop()
        following.calls.exhaust(3_000.0)
        await following.follow(Complete())
        assert loop.time() < 1_100.0
        return following.asked

    (asked,) = run_virtually(run())
    assert asked == pytest.approx(1_000.0, abs=1.0)


class TestAnotherPlan:
    @pytest.mark.parametrize(("deadline_s", "ended"), [(200.0, 200.0), (50.0, 100.0), (3_000.0, 3_000.0)])
    def test_its_deadline_counts_for_what_is_followed_already(self, deadline_s: float, ended: float) -> None:
        """Half-way through: longer or shorter than it was, and one that has passed by then ends it at once."""

        async def run() -> tuple[StatusOutcome | None, float, list[float]]:
            following = Following(deadline_s=1_000.0)
            task = asyncio.create_task(following.follow(Incomplete()))
            await asyncio.sleep(100.0)
            following.status_poller.take(first_s=5.0, max_s=300.0, deadline_s=deadline_s)
            return await task, following.now(), following.asked

        outcome, now, asked = run_virtually(run())
        assert outcome is None
        assert now == pytest.approx(ended, abs=6.0)
        assert asked[-1] == pytest.approx(ended, abs=6.0)

    def test_it_says_when_to_ask(self) -> None:
        async def run() -> list[float]:
            following = Following(PollPlan(first_s=500.0, max_s=500.0))
            task = asyncio.create_task(following.follow(Complete()))
            await asyncio.sleep(50.0)
            following.status_poller.take(first_s=80.0, max_s=300.0, deadline_s=1_000.0)
            await task
            await following.follow(Complete())
            return following.asked

        first, second = run_virtually(run())
        assert first == pytest.approx(80.0, abs=6.0)
        assert second <= 80.0


class TestWhatIsLearned:
    def first_asked(self, *answers: StatusOutcome, age_s: float = 0.0, is_age_known: bool = True) -> float:
        """When the next batch is first asked for, after one that was answered so."""

        async def run() -> float:
            following = Following()
            await following.follow(*answers, age_s=age_s, is_age_known=is_age_known)
            return following.plan.next_age(None, 0.0)

        return float(run_virtually(run()))

    def test_of_one_complete_at_first_sight(self) -> None:
        assert self.first_asked(Complete(), age_s=100.0) == pytest.approx(90.0, abs=0.1)

    def test_of_one_that_was_not_yet(self) -> None:
        assert self.first_asked(Incomplete(), Complete(), age_s=100.0) == pytest.approx(103.0, abs=0.1)

    def test_not_of_one_of_which_nothing_was_heard_in_between(self) -> None:
        """It may have been complete long before."""
        assert self.first_asked(Incomplete(), StatusUnavailable("no answer"), Complete(), age_s=100.0) == 5.0
        assert self.first_asked(Throttled(), Complete(), age_s=100.0) == 5.0

    def test_after_an_answer_it_is_known_again(self) -> None:
        assert self.first_asked(StatusUnavailable("no answer"), Incomplete(), Complete(), age_s=100.0) > 105.0

    def test_not_of_one_that_is_older_than_anybody_knows(self) -> None:
        assert self.first_asked(Complete(), is_age_known=False) == 5.0
        assert self.first_asked(Incomplete(), Complete(), is_age_known=False) == 5.0

    def test_of_one_that_is_not_complete_for_batches_where_calls_are_scarce(self) -> None:
        async def run() -> float:
            following = Following(deadline_s=200.0)
            await following.follow(Incomplete())
            return following.plan.next_age(None, 1.0)

        assert run_virtually(run()) == pytest.approx(300.0, abs=1.0)

    def test_no_answer_does_not_tell_that_it_was_not_complete(self) -> None:
        async def run() -> float:
            following = Following(deadline_s=200.0)
            await following.follow(Throttled())
            return following.plan.next_age(None, 1.0)

        assert run_virtually(run()) == 5.0


# Pauses of windows: nobody asks in them.


class Paused(Following):
    """A follower that begins an hour before a pause of nine hours."""

    def __init__(self, plan: PollPlan | None = None, *, deadline_s: float) -> None:
        super().__init__(plan, deadline_s=deadline_s)
        begun = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
        clock = Clock(monotonic=self.now, utc_now=lambda: begun + timedelta(seconds=self.now()), sleep=asyncio.sleep)
        pause = Window(frozenset([0]), 9 * 60, 18 * 60, UTC, Limits(is_paused=True))
        self.calls = CallQueue(CallBudget(1_000), clock, Windows(Schedule([pause]), clock))
        self.status_poller = StatusPoller(self.plan, self.calls, clock, deadline_s=deadline_s)

    async def follow_gated(self, *, complete_at: float | None = None) -> StatusOutcome | None:
        """As a batch accepted now is followed, with every call through the gate."""

        async def ask() -> StatusOutcome:
            async with self.calls.call(can_wait=True):
                self.asked.append(round(self.now(), 1))
                return Complete() if complete_at is not None and self.now() >= complete_at else Incomplete()

        return await self.status_poller.follow(0.0, ask)


def test_a_pause_does_not_bring_the_deadline_nearer() -> None:
    async def run() -> tuple[StatusOutcome | None, list[float]]:
        following = Paused(deadline_s=2 * 3_600.0)
        return await following.follow_gated(), following.asked

    outcome, asked = run_virtually(run())
    assert outcome is None
    assert not [at for at in asked if 3_600.0 <= at < 10 * 3_600.0]
    assert len([at for at in asked if at >= 10 * 3_600.0]) > 5, "an hour is left behind the pause"
    assert asked[-1] == 11 * 3_600.0


def test_what_was_complete_somewhen_in_a_pause_teaches_nothing() -> None:
    """Else the next batches would be asked for after hours."""

    async def run() -> tuple[StatusOutcome | None, float, float]:
        following = Paused(learned_from(*[100.0] * 50), deadline_s=86_400.0)
        before = following.plan.next_age(None, 1.0)
        outcome = await following.follow_gated(complete_at=4_000.0)
        for _ in range(30):
            await following.follow_gated(complete_at=4_000.0)
        return outcome, before, following.plan.next_age(None, 1.0)

    outcome, before, after = run_virtually(run())
    assert outcome == Complete()
    assert before == after == 100.0
