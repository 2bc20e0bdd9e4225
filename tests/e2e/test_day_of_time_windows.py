"""A day with a clock change under windows, from the first POST to the last status, with the real pacing code."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.core.target.pacing import CallBudget, StatusWindow
from pipeline.core.target.polling import PollPlan
from pipeline.core.target.replies import Complete, StatusOutcome
from pipeline.core.target.time_windows import Limits, Schedule, Window
from pipeline.edges.clock import Clock
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.status_gate import StatusGate
from pipeline.edges.target.status_poller import StatusPoller
from pipeline.edges.target.window_limits import Windows
from tests.edges.target.test_window_limits import most_in_a_minute
from tests.tools.bench.pacing import Case, ModelTarget, run_virtually

BERLIN = ZoneInfo("Europe/Berlin")
SUNDAY = frozenset([6])
CALLS_PER_MINUTE, FEWER = 3, 2
POST_S, GET_S = 20.0, 0.2
DEADLINE_S = 7_200.0
SCHEDULE = Schedule(
    [
        Window(SUNDAY, 60, 6 * 60, BERLIN, Limits(calls_per_minute=FEWER, concurrency=1)),
        Window(SUNDAY, 2 * 60 + 30, 3 * 60 + 30, BERLIN, Limits(is_paused=True)),
        Window(SUNDAY, 9 * 60, 18 * 60, BERLIN, Limits(is_paused=True)),
    ]
)


@dataclass
class Day:
    """What was sent: when each call began and ended, in seconds since `started`, and how each batch ended."""

    started: datetime
    posts: list[list[float]] = field(default_factory=list)
    polls: list[list[float]] = field(default_factory=list)
    complete: int = 0
    given_up_after_s: list[float] = field(default_factory=list)
    ended: float = 0.0

    def at(self, local: str) -> float:
        """Seconds since `started` until clocks in Berlin first show this."""
        return (datetime.fromisoformat(local).replace(tzinfo=BERLIN) - self.started).total_seconds()


async def send(started: datetime, batches: int, *, schedule: Schedule = SCHEDULE) -> Day:
    """Send so many batches, one of which is never complete, as a load does."""
    loop = asyncio.get_running_loop()
    clock = Clock(monotonic=loop.time, utc_now=lambda: started + timedelta(seconds=loop.time()), sleep=asyncio.sleep)
    windows = Windows(schedule, clock)
    calls = CallQueue(CallBudget(CALLS_PER_MINUTE), clock, windows)
    gate = StatusGate(StatusWindow(10))
    status_poller = StatusPoller(PollPlan(first_s=5.0, max_s=300.0), calls, clock, deadline_s=DEADLINE_S)
    target = ModelTarget(Case(batches, 60.0, never_completes=True), loop.time)
    uploaders = asyncio.Semaphore(4)
    day = Day(started)

    async def deliver() -> None:
        async with uploaders:
            number = await gate.begin_post()
            async with calls.call():
                url = await timed(day.posts, POST_S, target.accept)
            gate.note_accepted(number, clock.utc_now())
        posted_at = loop.time()

        async def ask() -> StatusOutcome:
            async with calls.call(can_wait=True):
                outcome: StatusOutcome = await timed(day.polls, GET_S, lambda: target.status(url))
                return outcome

        outcome = await status_poller.follow(posted_at, ask)
        gate.forget(number)
        day.complete += isinstance(outcome, Complete)
        if outcome is None:
            day.given_up_after_s.append(loop.time() - posted_at)

    async def timed(made: list[list[float]], takes_s: float, answer: Callable[[], Any]) -> Any:
        made.append([loop.time(), float("inf")])
        call = made[-1]
        await asyncio.sleep(takes_s)
        call[1] = loop.time()
        return answer()

    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(windows.watch(calls.look_again))
        sending: list[Awaitable[None]] = [tasks.create_task(deliver()) for _ in range(batches)]
        await asyncio.gather(*sending)
        watch.cancel()
    day.ended = loop.time()
    return day


@pytest.mark.parametrize(
    ("sunday", "night_s", "pause_after_s", "pause_s"),
    [
        pytest.param("2026-10-25", 6 * 3_600.0, 5_400.0, 7_200.0, id="25 hours"),
        pytest.param("2026-03-29", 4 * 3_600.0, 3_600.0, 1_800.0, id="23 hours"),
        pytest.param("2026-11-22", 5 * 3_600.0, 5_400.0, 3_600.0, id="24 hours"),
    ],
)
def test_a_sunday(sunday: str, night_s: float, pause_after_s: float, pause_s: float) -> None:
    """The window of the night begins at one; `pause_after_s` later the pause in it, at half past two or as if."""
    saturday = datetime.fromisoformat(sunday).replace(tzinfo=BERLIN) - timedelta(hours=1)
    day: Day = run_virtually(send(saturday.astimezone(UTC), 700))
    assert day.ended > day.at(f"{sunday}T18:30"), "it takes longer than the windows last"
    assert (day.complete, len(day.given_up_after_s)) == (699, 1)
    made = [*day.posts, *day.polls]
    night = day.at(f"{sunday}T01:00")
    assert day.at(f"{sunday}T06:00") - night == night_s

    pauses = [
        (night + pause_after_s, night + pause_after_s + pause_s),
        (day.at(f"{sunday}T09:00"), day.at(f"{sunday}T18:00")),
    ]
    for begins, ends in pauses:
        assert not [begin for begin, _ in made if begins <= begin < ends]
        assert [begin for begin, _ in made if begins - 120 <= begin < begins], "but until it begins"
        assert [begin for begin, _ in made if ends <= begin < ends + 120], "and as soon as it ends"

    assert most_in_a_minute(made, night, night + night_s) == FEWER
    assert most_in_a_minute(made, 0.0, day.ended) == CALLS_PER_MINUTE
    at_night = [post for post in day.posts if night <= post[0] < night + night_s]
    assert not [begin for begin, _ in at_night if sum(other <= begin < end for other, end in day.posts) > 1]

    # The one that is never complete was accepted long before the pause that it was not asked for in.
    (given_up_after_s,) = day.given_up_after_s
    assert given_up_after_s >= DEADLINE_S


def test_without_windows_it_would_be_noticed() -> None:
    day: Day = run_virtually(send(datetime(2026, 11, 21, 22, 0, tzinfo=UTC), 700, schedule=Schedule()))
    made = [*day.posts, *day.polls]
    night = day.at("2026-11-22T01:00")
    assert most_in_a_minute(made, night, night + 3_600) > FEWER
    assert [begin for begin, _ in made if night + 5_400 <= begin < night + 9_000]
