"""The bounds that the simulation of pacing is there to show, and that it notices where they are not kept."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from statistics import fmean

import pytest

from pipeline.core.target.replies import Complete, StatusLost, StatusOutcome
from pipeline.edges.clock import Clock
from pipeline.edges.target.status_poller import StatusPoller
from tests.simulation.loop import run_virtually
from tests.tools.bench.pacing import (
    DEADLINE_S,
    SEEDS,
    WIDEST,
    Case,
    FollowerOf,
    Outcome,
    cases,
    real_follower,
    send,
    simulate,
)

#: Time taken over the least possible, at most.
UNLIMITED, TEN_KEPT = 1.15, 1.25


def ratio_of(case: Case, seeds: int, follower_of: FollowerOf = real_follower) -> tuple[float, list[Outcome]]:
    """Of so many seeds the mean, as the table shows it."""
    runs = [simulate(replace(case, seed=seed), follower_of) for seed in range(seeds)]
    return fmean(outcome.seconds / least for outcome, least in runs), [outcome for outcome, _ in runs]


#: So many batches stand for the 1,000 of the benchmark: the pace is steady long before.
MANY = 500


def selected() -> Iterator[object]:
    """All but those with many batches that take an hour each, which take long here too."""
    for name, case in cases():
        is_long = case.batches == 1_000
        if "still to learn" in name or (is_long and case.median_s > 300.0):
            continue
        shorter = replace(case, batches=min(case.batches, MANY))
        yield pytest.param(shorter, 1 if is_long else SEEDS, id=f"{' '.join(name.split())} {shorter.batches}")


@pytest.mark.parametrize(("case", "seeds"), [*selected()])
def test_the_time_taken_is_near_the_least_possible(case: Case, seeds: int) -> None:
    ratio, outcomes = ratio_of(case, seeds)
    assert ratio <= (UNLIMITED if case.kept is None else TEN_KEPT)
    assert {outcome.lost for outcome in outcomes} == {0}
    assert {outcome.window for outcome in outcomes} == {case.kept or WIDEST}, "what was learned stays"


def test_learning_loses_nothing_and_pays() -> None:
    """With 100 batches of five minutes: from ten at a time to eighty."""
    outcome = run_virtually(send(Case(100, 300.0)))
    assert outcome.window == 80
    assert outcome.lost == 0
    assert outcome.seconds < run_virtually(send(Case(100, 300.0, kept=10))).seconds / 1.8


# That it notices.


class Fixed(StatusPoller):
    """Asks after `first_s`, and then after waits that grow by `growth` up to five minutes, whatever is known."""

    def __init__(self, clock: Clock, *, first_s: float, growth: float) -> None:
        self._time = clock
        self._first_s = first_s
        self._growth = growth

    async def follow(
        self, posted_at: float, ask: Callable[[], Awaitable[StatusOutcome]], *, is_age_known: bool = True
    ) -> StatusOutcome | None:
        wait_s = self._first_s
        while (now := self._time.monotonic()) < posted_at + DEADLINE_S:
            await self._time.sleep(min(wait_s, posted_at + DEADLINE_S - now))
            if isinstance(outcome := await ask(), Complete | StatusLost):
                return outcome
            wait_s = min(self._growth * wait_s, 300.0)
        return None


@pytest.mark.parametrize("case", [Case(100, 300.0, learned=WIDEST), Case(100, 300.0, kept=10)], ids=["all", "ten"])
def test_polls_whose_waits_double(case: Case) -> None:
    """Long waits find batches complete too late."""
    worse, _ = ratio_of(case, SEEDS, lambda _plan, _calls, clock: Fixed(clock, first_s=5.0, growth=2.0))
    assert worse > (UNLIMITED if case.kept is None else TEN_KEPT)


def test_polls_that_pile_up() -> None:
    """Asking every five seconds finds them in time, at the cost of all the calls there are."""
    case = Case(1_000, 300.0, learned=WIDEST)
    hasty = run_virtually(send(case, follower_of=lambda _plan, _calls, clock: Fixed(clock, first_s=5.0, growth=1.0)))
    planned = run_virtually(send(case))
    assert planned.seconds < 1.05 * hasty.seconds
    assert planned.calls < 3.5 * case.batches
    assert hasty.calls > 1.5 * planned.calls


def test_lost_statuses() -> None:
    """If more was thought to be kept than is."""
    outcome = run_virtually(send(Case(100, 300.0, kept=10, learned=40)))
    assert outcome.lost > 0
    assert outcome.window == 10, "and then not any more"
