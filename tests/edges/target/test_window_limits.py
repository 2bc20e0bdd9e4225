"""What windows do to the one gate of all calls, on a clock that jumps from event to event."""

import asyncio
import random
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from pipeline.core.target.pacing import MINUTE_S, CallBudget
from pipeline.core.target.time_windows import Limits, Schedule, Window
from pipeline.edges.clock import Clock
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.window_limits import Windows
from tests.simulation.loop import run_virtually

BERLIN = ZoneInfo("Europe/Berlin")
#: A Monday, seven in the morning in Berlin.
SEVEN = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
HOUR_S = 3_600.0


def from_eight_to_nine(limits: Limits) -> Window:
    return Window(frozenset([0]), 8 * 60, 9 * 60, BERLIN, limits)


class Calls:
    """A queue under windows from seven o'clock on, and when its calls began and ended."""

    def __init__(self, calls_per_minute: int, *limits: Limits) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time
        clock = Clock(monotonic=loop.time, utc_now=lambda: SEVEN + timedelta(seconds=loop.time()), sleep=asyncio.sleep)
        self.windows = Windows(Schedule([from_eight_to_nine(each) for each in limits]), clock)
        self.queue = CallQueue(CallBudget(calls_per_minute), clock, self.windows)
        self.posts: list[list[float]] = []
        self.polls: list[list[float]] = []

    async def make(self, *, takes_s: float = 0.0, can_wait: bool = False) -> None:
        async with self.queue.call(can_wait=can_wait):
            made = [self.now(), float("inf")]
            (self.polls if can_wait else self.posts).append(made)
            await asyncio.sleep(takes_s)
            made[1] = self.now()

    async def keep_posting(self, *, until_s: float, takes_s: Callable[[], float] = lambda: 1.0) -> None:
        while self.now() < until_s:
            await self.make(takes_s=takes_s())

    async def keep_polling(self, *, until_s: float) -> None:
        while self.now() < until_s:
            await self.make(can_wait=True)
            await asyncio.sleep(1.0)

    def run(self, *tasks: Awaitable[None]) -> "Awaitable[None]":
        async def all_of_them() -> None:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self.windows.watch(self.queue.look_again))
                await asyncio.gather(*tasks)
                watch.cancel()

        return all_of_them()


def most_in_a_minute(calls: list[list[float]], start_s: float, end_s: float) -> int:
    """The most calls that can have been counted in any minute that touches these times."""
    begins, ends = sorted(begin for begin, _ in calls), sorted(end for _, end in calls)
    edges = [start_s - MINUTE_S, *(edge for edge in (*begins, *ends) if start_s - MINUTE_S < edge < end_s)]
    return max(bisect_left(begins, minute + MINUTE_S) - bisect_left(ends, minute) for minute in edges)


class TestPause:
    def test_nothing_begins_in_it_and_all_goes_on_behind_it(self) -> None:
        async def run() -> Calls:
            calls = Calls(45, Limits(is_paused=True))
            until_s = 3 * HOUR_S
            await calls.run(
                *(calls.keep_posting(until_s=until_s) for _ in range(4)), calls.keep_polling(until_s=until_s)
            )
            return calls

        calls = run_virtually(run())
        for kind in (calls.posts, calls.polls):
            began = [begin for begin, _ in kind]
            assert not [begin for begin in began if HOUR_S <= begin < 2 * HOUR_S]
            assert max(begin for begin in began if begin < HOUR_S) > HOUR_S - MINUTE_S
            assert min(begin for begin in began if begin > HOUR_S) < 2 * HOUR_S + MINUTE_S

    def test_a_running_post_ends_in_it(self) -> None:
        async def run() -> Calls:
            calls = Calls(45, Limits(is_paused=True))
            await asyncio.sleep(HOUR_S - 1.0)
            await calls.run(calls.make(takes_s=300.0))
            return calls

        ((_, end),) = run_virtually(run()).posts
        assert end == pytest.approx(HOUR_S + 299.0, abs=1.0)

    def test_how_long_it_was(self) -> None:
        async def run() -> list[float]:
            calls = Calls(45, Limits(is_paused=True))
            paused = []
            for _ in range(5):
                paused.append(calls.windows.paused_s(600.0) if calls.now() > 600.0 else 0.0)
                await asyncio.sleep(HOUR_S * 0.75)
            return paused

        assert [round(paused) for paused in run_virtually(run())] == [0, 0, 1_800, 3_600, 3_600]

    def test_a_clock_that_is_set_is_noticed(self) -> None:
        """Nobody sleeps until six in the evening because it was thought to be eight in the morning."""

        async def run() -> float:
            loop = asyncio.get_running_loop()
            shift = timedelta(0)
            clock = Clock(
                monotonic=loop.time,
                utc_now=lambda: SEVEN + timedelta(hours=1, seconds=loop.time()) + shift,
                sleep=asyncio.sleep,
            )
            windows = Windows(Schedule([from_eight_to_nine(Limits(is_paused=True))]), clock)
            queue = CallQueue(CallBudget(45), clock, windows)

            async def post() -> float:
                async with queue.call():
                    return loop.time()

            async with asyncio.TaskGroup() as tasks:
                posted = tasks.create_task(post())
                await asyncio.sleep(100.0)
                shift = timedelta(hours=2)
            return posted.result()

        assert 100.0 < run_virtually(run()) <= 160.0


class TestFewerCalls:
    def test_no_minute_that_touches_it_has_more(self) -> None:
        async def run(*limits: Limits) -> Calls:
            calls = Calls(45, *limits)
            draw = random.Random(1)
            posting = [calls.keep_posting(until_s=2.5 * HOUR_S, takes_s=lambda: draw.uniform(0, 5)) for _ in range(6)]
            await calls.run(*posting, calls.keep_polling(until_s=2.5 * HOUR_S))
            return calls

        calls = run_virtually(run(Limits(calls_per_minute=20), Limits(calls_per_minute=30)))
        made = [*calls.posts, *calls.polls]
        assert most_in_a_minute(made, HOUR_S, 2 * HOUR_S) == 20, "not more, and no fewer than may be"
        assert most_in_a_minute(made, 0.0, 2.5 * HOUR_S) == 45, "outside of it as many as ever"
        free = run_virtually(run(Limits(concurrency=6)))
        assert most_in_a_minute([*free.posts, *free.polls], HOUR_S, 2 * HOUR_S) == 45, "and that it would be noticed"

    def test_a_window_never_allows_more(self) -> None:
        async def run() -> int:
            return Calls(7, Limits(calls_per_minute=50)).windows.calls_per_minute(7)

        assert run_virtually(run()) == 7

    def test_the_smaller_limit_holds_a_minute_longer_on_either_side(self) -> None:
        async def run() -> list[int]:
            calls = Calls(45, Limits(calls_per_minute=20))
            seen = []
            for moment in (HOUR_S - 61, HOUR_S - 59, HOUR_S, 2 * HOUR_S + 59, 2 * HOUR_S + 61):
                await asyncio.sleep(moment - calls.now())
                seen.append(calls.windows.calls_per_minute(45))
            return seen

        assert run_virtually(run()) == [45, 20, 20, 20, 45]


class TestFewerAtOnce:
    def test_never_more_posts_at_once_than_it_allows(self) -> None:
        async def run() -> tuple[Calls, list[tuple[float, int]]]:
            calls = Calls(1_000, Limits(concurrency=2))
            seen: list[tuple[float, int]] = []

            async def look() -> None:
                while calls.now() < 3 * HOUR_S:
                    await asyncio.sleep(10.0)
                    under_way = sum(begin <= calls.now() < end for begin, end in calls.posts)
                    seen.append((calls.now(), under_way))

            posting = (calls.keep_posting(until_s=3 * HOUR_S, takes_s=lambda: 300.0) for _ in range(4))
            await calls.run(*posting, look(), calls.keep_polling(until_s=3 * HOUR_S))
            return calls, seen

        calls, seen = run_virtually(run())
        assert max(count for at, count in seen if at < HOUR_S) == 4
        assert {count for at, count in seen if HOUR_S + 300.0 < at < 2 * HOUR_S} == {2}
        # Those under way when it began ended in their own time; and it is noticed at once that it is over.
        assert {count for at, count in seen if 2 * HOUR_S + 20.0 < at < 3 * HOUR_S - 20.0} == {4}
        polled = sorted(begin for begin, _ in calls.polls)
        assert max(later - begin for begin, later in pairwise(polled)) < MINUTE_S, (
            "statuses are asked for though a post waits for its turn"
        )

    def test_a_post_that_waits_begins_when_it_is_over(self) -> None:
        async def run() -> Calls:
            calls = Calls(1_000, Limits(concurrency=1))
            await asyncio.sleep(HOUR_S)
            await calls.run(calls.make(takes_s=2 * HOUR_S), calls.make())
            return calls

        _, (began, _) = run_virtually(run()).posts
        assert began == pytest.approx(2 * HOUR_S, abs=1.0)

    def test_a_poll_that_waits_behind_posts_when_it_begins(self) -> None:
        """The first of the posts has to wait for those under way, and the poll for nobody any more."""

        async def run() -> tuple[list[list[float]], list[list[float]]]:
            calls = Calls(3, Limits(concurrency=1))
            await asyncio.sleep(HOUR_S - 5.0)
            await calls.run(
                calls.make(takes_s=1_000.0),
                calls.make(),
                calls.make(),
                calls.make(),
                calls.make(),
                calls.make(can_wait=True),
            )
            return calls.posts, calls.polls

        posts, ((polled, _),) = run_virtually(run())
        assert polled == pytest.approx(HOUR_S + 55.0, abs=2.0)
        assert sum(begin < HOUR_S for begin, _ in posts) == 3
        assert sum(begin > HOUR_S + 990.0 for begin, _ in posts) == 2


def test_the_log() -> None:
    async def run() -> None:
        calls = Calls(45, Limits(calls_per_minute=20, concurrency=2))
        await calls.run(asyncio.sleep(3 * HOUR_S))
        await Calls(45).run(asyncio.sleep(1.0))

    with capture_logs() as logs:
        run_virtually(run())
    began, over = logs
    assert began == {
        "event": "window_began",
        "log_level": "info",
        "pause": False,
        "calls_per_minute": 20,
        "concurrency": 2,
        "until": "2026-11-23T09:00+01:00",
        "time_zone": "Europe/Berlin",
    }
    assert (over["event"], over["until"]) == ("window_ended", "2026-11-30T08:00+01:00")


def test_the_log_goes_on_where_it_was() -> None:
    """Watched anew, again and again: each change is told of once."""

    async def run() -> None:
        calls = Calls(45, Limits(is_paused=True))
        for _ in range(40):
            await calls.run(asyncio.sleep(HOUR_S / 10))

    with capture_logs() as logs:
        run_virtually(run())
    assert [line["event"] for line in logs] == ["window_began", "window_ended"]
