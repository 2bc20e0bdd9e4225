"""How well calls, statuses and the status window are used: the real pacing code against a model of Target.

`python -m tests.tools.bench.pacing` or `make bench-pacing`. A clock that jumps from event to event makes hours take
seconds. Printed is the time from the first POST to the last batch settled over the least possible: that of a sender
which knows when each batch will be complete and asks for it just then, under the same limits: `CALLS_PER_MINUTE`, the
statuses that Target keeps (at most `WIDEST`, the most that is ever learned), and `CONCURRENCY`. Where statuses are
unlimited, that they are was learned before.
"""

import asyncio
import math
import random
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import fmean

from pipeline.core.target.pacing import CallBudget, StatusWindow
from pipeline.core.target.polling import PollPlan
from pipeline.core.target.replies import Complete, Incomplete, StatusLost, StatusOutcome
from pipeline.core.target.status_memory import SIZES_TRIED, STATUSES_KEPT, Learned, StatusMemory
from pipeline.edges.clock import Clock
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.status_gate import StatusGate
from pipeline.edges.target.status_poller import StatusPoller
from tests.simulation.loop import run_virtually as run_virtually

CALLS_PER_MINUTE = 45
CONCURRENCY = 4
WIDEST = SIZES_TRIED[-1]
#: Seconds that a POST of a full batch and a status GET take.
POST_S = 3.0
GET_S = 0.2
DEADLINE_S = 86_400.0
#: Target forgets a status at this age, if not before.
KEPT_S = 86_400.0
#: What batches take, in seconds: the median, and the spread of a log-normal distribution (one in twelve takes more than
#: twice as long as the median, one in a hundred more than three times).
MEDIANS_S = (5.0, 300.0, 3_600.0)
SPREAD = 0.5
BATCHES = (10, 100, 1_000)
SEEDS = 3


@dataclass(frozen=True, slots=True)
class Case:
    """What is simulated; `kept` statuses are kept, None: all of them."""

    batches: int
    median_s: float
    kept: int | None = None
    never_completes: bool = False
    learned: int = STATUSES_KEPT
    seed: int = 0

    def durations(self) -> list[float]:
        """What each batch takes, in the order in which they are accepted."""
        draw = random.Random(f"{self.seed} {self.batches} {self.median_s}")
        durations = [self.median_s * draw.lognormvariate(0.0, SPREAD) for _ in range(self.batches)]
        if self.never_completes:
            durations[self.batches // 3] = float("inf")
        return durations


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds until all was settled, calls made, statuses lost, and what was learned."""

    seconds: float
    calls: int
    lost: int
    window: int


class ModelTarget:
    """Target's statuses: complete after its time, forgotten after so many newer batches."""

    def __init__(self, case: Case, now: Callable[[], float]) -> None:
        self._durations = case.durations()
        self._kept = case.kept
        self._now = now
        self._accepted_at: list[float] = []
        self._complete_at: list[float] = []

    def accept(self) -> str:
        """A batch is accepted; its status URL."""
        self._accepted_at.append(self._now())
        self._complete_at.append(self._now() + self._durations[len(self._complete_at)])
        return str(len(self._complete_at) - 1)

    def complete_at(self, status_url: str) -> float:
        return self._complete_at[int(status_url)]

    def status(self, status_url: str) -> StatusOutcome:
        number = int(status_url)
        if self._kept is not None and number < len(self._complete_at) - self._kept:
            return StatusLost("forgotten")
        if self._now() - self._accepted_at[number] > KEPT_S:
            return StatusLost("too old")
        if self._complete_at[number] <= self._now():
            return Complete(1, 1)
        return Incomplete()


class BeginBudget(CallBudget):
    """The budget as Target may count at best: each call for a minute from its begin."""

    def __init__(self, calls_per_minute: int, now: Callable[[], float]) -> None:
        super().__init__(calls_per_minute)
        self._now = now

    def begin(self) -> None:
        super().begin()
        super().end(self._now())

    def end(self, now: float) -> None:
        """It was counted when it began."""


class Clairvoyant(StatusPoller):
    """Asks for each batch when it is complete."""

    def __init__(self, target: ModelTarget, clock: Clock) -> None:
        self._of = target
        self._time = clock

    async def follow_to(self, status_url: str, posted_at: float, ask: Callable[[], Awaitable[StatusOutcome]]) -> None:
        at = min(self._of.complete_at(status_url), posted_at + DEADLINE_S)
        await self._time.sleep(max(0.0, at - self._time.monotonic()))
        await ask()


FollowerOf = Callable[[PollPlan, CallQueue, Clock], StatusPoller]


def real_follower(plan: PollPlan, calls: CallQueue, clock: Clock) -> StatusPoller:
    """The one that loads use."""
    return StatusPoller(plan, calls, clock, deadline_s=DEADLINE_S)


async def send(
    case: Case, *, clairvoyant: bool = False, polls_wait: bool = True, follower_of: FollowerOf = real_follower
) -> Outcome:
    """Send all batches of a case on the running loop."""
    loop = asyncio.get_running_loop()
    draw = random.Random(case.seed)
    started = datetime(2026, 1, 1, tzinfo=UTC)
    clock = Clock(
        monotonic=loop.time,
        utc_now=lambda: started + timedelta(seconds=loop.time()),
        sleep=asyncio.sleep,
        random=draw.random,
    )
    target = ModelTarget(case, loop.time)
    budget = BeginBudget(CALLS_PER_MINUTE, loop.time) if clairvoyant else CallBudget(CALLS_PER_MINUTE)
    calls = CallQueue(budget, clock)
    best = WIDEST if case.kept is None else case.kept
    memory = None if clairvoyant else StatusMemory(Learned(case.learned))
    window = StatusWindow(best if memory is None else memory.learned.size)
    gate = StatusGate(window, memory)
    status_poller = follower_of(PollPlan(first_s=5.0, max_s=300.0), calls, clock)
    oracle = Clairvoyant(target, clock)
    uploaders = asyncio.Semaphore(CONCURRENCY)
    lost = 0

    async def ask(status_url: str) -> StatusOutcome:
        async with calls.call(can_wait=polls_wait):
            await asyncio.sleep(GET_S)
            return target.status(status_url)

    async def deliver() -> None:
        nonlocal lost
        async with uploaders:
            number = await gate.begin_post()
            async with calls.call():
                await asyncio.sleep(POST_S)
                url = target.accept()
            gate.note_accepted(number, clock.utc_now())
        posted_at = loop.time()
        if clairvoyant:
            await oracle.follow_to(url, posted_at, lambda: ask(url))
        else:
            outcome = await status_poller.follow(posted_at, lambda: ask(url))
            if isinstance(outcome, Complete):
                gate.note_complete(number, url)
            elif isinstance(outcome, StatusLost):
                # The one that never completes is lost however it is followed.
                lost += target.complete_at(url) < math.inf
                gate.note_lost(timedelta(seconds=loop.time() - posted_at), clock.utc_now())
        gate.forget(number)
        if memory is not None:
            await gate.look_again(ask, clock.utc_now)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(case.batches):
            tasks.create_task(deliver())
    return Outcome(loop.time(), calls.made, lost, window.size)


def simulate(case: Case, follower_of: FollowerOf = real_follower) -> tuple[Outcome, float]:
    """What becomes of a case, and the least seconds possible."""
    least = min(
        run_virtually(send(case, clairvoyant=True, polls_wait=polls_wait)).seconds for polls_wait in (True, False)
    )
    return run_virtually(send(case, follower_of=follower_of)), least


def cases() -> Iterator[tuple[str, Case]]:
    """Every case with its name but for its seed."""
    for kept, learned in ((None, WIDEST), (STATUSES_KEPT, STATUSES_KEPT), (None, STATUSES_KEPT)):
        name = f"{kept} kept" if kept else ("unlimited" if learned == WIDEST else "unlimited, still to learn")
        for median_s in MEDIANS_S:
            for never_completes in (False, True):
                for batches in BATCHES:
                    told = f"{name:<26} {median_s:>5,.0f} s{', one never' if never_completes else '':<11}"
                    yield told, Case(batches, median_s, kept, never_completes, learned)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", default="", help="cases with this in their names")
    seeds, only = (options := parser.parse_args()).seeds, options.only
    print(f"{'statuses':<26} {'completes after':<18} {'batches':>7} {'hours':>7} {'over least':>10} {'calls':>6} lost")
    for name, case in cases():
        if only not in name:
            continue
        runs = []
        for seed in range(seeds):
            outcome, least = simulate(replace(case, seed=seed))
            runs.append((outcome, outcome.seconds / least))
        ratio = fmean(ratio for _, ratio in runs)
        hours = fmean(outcome.seconds for outcome, _ in runs) / 3_600
        calls = fmean(outcome.calls for outcome, _ in runs) / case.batches
        lost = sum(outcome.lost for outcome, _ in runs)
        print(f"{name} {case.batches:>7,} {hours:>7.2f} {ratio:>10.2f} {calls:>6.1f} {lost:>4}", flush=True)


if __name__ == "__main__":
    main()
