"""The one gate of all calls, on a clock that moves only while somebody sleeps."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pipeline.core.target.pacing import MINUTE_S, SHARED_FOR_S, CallBudget
from pipeline.edges.clock import Clock
from pipeline.edges.target.call_queue import CallQueue
from tests.simulation.loop import run_virtually


class Time:
    """A clock; `watching` is called at every sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.watching: list[Any] = []

    async def sleep(self, seconds: float) -> None:
        for watch in self.watching:
            watch()
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep)


def queue_of(calls_per_minute: int) -> tuple[CallQueue, Time]:
    time = Time()
    return CallQueue(CallBudget(calls_per_minute), time.clock()), time


async def test_a_budget_of_three() -> None:
    queue, time = queue_of(3)
    began = []
    for _ in range(7):
        async with queue.call():
            began.append(time.now)
            time.now += 1.0
    # Each keeps its place for a minute after its end.
    assert began == [0.0, 1.0, 2.0, 61.0, 62.0, 63.0, 122.0]
    assert queue.made == 7


async def test_calls_at_once_take_their_turns() -> None:
    queue, time = queue_of(2)
    order: list[tuple[int, float]] = []

    async def call(number: int) -> None:
        async with queue.call():
            order.append((number, time.now))

    async with asyncio.TaskGroup() as tasks:
        for number in range(6):
            tasks.create_task(call(number))
    assert [number for number, _ in order] == list(range(6))
    assert [began for _, began in order] == [0.0, 0.0, 60.0, 60.0, 120.0, 120.0]


async def test_a_larger_budget_is_there_for_whoever_waits_for_a_call_to_end() -> None:
    queue, _ = queue_of(1)
    may_end, has_begun = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with queue.call():
            await may_end.wait()

    async def second() -> None:
        async with queue.call():
            has_begun.set()

    async with asyncio.TaskGroup() as tasks, asyncio.timeout(20):
        tasks.create_task(first())
        tasks.create_task(second())
        for _ in range(5):
            await asyncio.sleep(0)
        assert queue.pressure == 1
        assert not has_begun.is_set()
        queue.allow(2)
        await has_begun.wait()
        may_end.set()


async def test_a_call_under_way_has_its_place() -> None:
    """With a budget of one the next waits for its end, then for a minute."""
    queue, time = queue_of(1)
    may_end, has_begun = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with queue.call():
            has_begun.set()
            await may_end.wait()
            time.now = 100.0

    async def second() -> float:
        async with queue.call():
            return time.now

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(first())
        await has_begun.wait()
        later = tasks.create_task(second())
        await asyncio.sleep(0)
        assert time.slept == []
        may_end.set()
    assert later.result() == 100.0 + MINUTE_S


@pytest.mark.parametrize(("retry_after_s", "wait_s"), [(None, 60.0), (5.0, 5.0), (90.0, 90.0)])
async def test_exhausted(retry_after_s: float | None, wait_s: float) -> None:
    queue, time = queue_of(1_000)
    async with queue.call():
        queue.exhaust(retry_after_s)
    async with queue.call():
        assert time.now == wait_s


async def test_somebody_else_uses_the_budget() -> None:
    """A second refusal below our share halves it; the log says so, and those who wait know why."""
    queue, time = queue_of(4)
    with capture_logs() as logged:
        for _ in range(2):
            async with queue.call():
                queue.exhaust()
    assert queue.refused_below_share == 1
    assert [(line["event"], line["calls"], line["calls_per_minute"], line["share"]) for line in logged] == [
        ("budget_shared", 1, 4, 2)
    ]
    assert queue.is_shared
    began = []
    for _ in range(4):
        async with queue.call():
            began.append(time.now)
    assert began == [120.0, 120.0, 180.0, 180.0]
    time.now += SHARED_FOR_S
    assert not queue.is_shared


async def test_exhausted_while_others_wait() -> None:
    """Those who wait for a place already wait for the new minute as well."""
    queue, time = queue_of(1)
    async with queue.call():
        pass

    def interrupt() -> None:
        time.watching.clear()
        time.now = 30.0
        queue.exhaust()

    time.watching.append(interrupt)
    async with queue.call():
        assert time.now >= 90.0


async def test_when_it_goes_on() -> None:
    queue, time = queue_of(1)
    seen: list[float | None] = []
    time.watching.append(lambda: seen.append(queue.resumes_at))
    async with queue.call():
        assert queue.resumes_at is None
        time.now = 10.0
    async with queue.call():
        assert queue.resumes_at is None
    assert seen == [70.0]


async def test_a_call_that_fails_costs_as_much() -> None:
    queue, time = queue_of(1)
    with pytest.raises(OSError, match="gone"):
        async with queue.call():
            raise OSError("gone")
    async with queue.call():
        assert time.now == 60.0
    assert queue.made == 2


async def test_who_gives_up_waiting_leaves_the_turn_to_others() -> None:
    queue, time = queue_of(1)
    blocked = asyncio.Event()

    async def never(_seconds: float) -> None:
        blocked.set()
        await asyncio.Event().wait()

    stuck = CallQueue(CallBudget(1), Clock(monotonic=lambda: time.now, sleep=never))
    async with stuck.call():
        pass

    async def call() -> None:
        async with stuck.call():
            pass

    waiting = asyncio.create_task(call())
    await blocked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert stuck.resumes_at is None
    assert stuck.pressure == 1.0, "the call before still counts"
    time.now = 100.0
    assert stuck.pressure == 0.0
    await call()
    assert stuck.made == 2
    assert queue.made == 0


def loop_queue(calls_per_minute: int) -> CallQueue:
    """A queue on the clock of the running loop."""
    loop = asyncio.get_running_loop()
    return CallQueue(CallBudget(calls_per_minute), Clock(monotonic=loop.time, sleep=asyncio.sleep))


class Calls:
    """Calls through a queue, and in which order and when they began."""

    def __init__(self, calls_per_minute: int) -> None:
        self.queue = loop_queue(calls_per_minute)
        self.began: list[tuple[str, int]] = []

    async def make(self, name: str, *, after_s: float = 0.0, takes_s: float = 0.0, can_wait: bool = False) -> None:
        await asyncio.sleep(after_s)
        async with self.queue.call(can_wait=can_wait):
            self.began.append((name, round(asyncio.get_running_loop().time())))
            await asyncio.sleep(takes_s)

    async def poll(self, name: str, *, after_s: float = 0.0) -> None:
        await self.make(name, after_s=after_s, can_wait=True)


class TestWhoGoesFirst:
    def test_posts_before_polls_and_each_in_the_order_of_asking(self) -> None:
        async def run() -> list[tuple[str, int]]:
            calls = Calls(2)
            await calls.make("first")
            await calls.make("second")
            async with asyncio.TaskGroup() as tasks:
                for after_s, number in ((1.0, 1), (2.0, 2), (3.0, 3)):
                    tasks.create_task(calls.poll(f"poll {number}", after_s=after_s))
                    tasks.create_task(calls.make(f"post {number}", after_s=after_s + 0.5))
            return calls.began

        assert run_virtually(run())[2:] == [
            *[("post 1", 60), ("post 2", 60)],
            *[("post 3", 120), ("poll 1", 120)],
            *[("poll 2", 180), ("poll 3", 180)],
        ]

    def test_a_post_that_comes_while_a_poll_sleeps_goes_first(self) -> None:
        async def run() -> list[tuple[str, int]]:
            calls = Calls(1)
            await calls.make("first")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(calls.poll("poll", after_s=1.0))
                tasks.create_task(calls.make("post", after_s=59.0))
            return calls.began

        assert run_virtually(run()) == [("first", 0), ("post", 60), ("poll", 120)]

    def test_a_poll_has_its_turn_when_the_post_before_it_is_called_off(self) -> None:
        async def run() -> list[tuple[str, int]]:
            calls = Calls(1)
            await calls.make("first")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(calls.poll("poll", after_s=1.0))
                post = tasks.create_task(calls.make("post", after_s=2.0))
                await asyncio.sleep(30.0)
                post.cancel()
            return calls.began

        assert run_virtually(run()) == [("first", 0), ("poll", 60)]

    def test_one_that_gives_up_before_a_call_under_way_ends(self) -> None:
        async def run() -> list[tuple[str, int]]:
            calls = Calls(1)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(calls.make("long", takes_s=100.0))
                waiting = tasks.create_task(calls.make("called off", after_s=1.0))
                tasks.create_task(calls.poll("poll", after_s=2.0))
                await asyncio.sleep(50.0)
                waiting.cancel()
            return calls.began

        assert run_virtually(run()) == [("long", 0), ("poll", 160)]

    def test_polls_get_what_posts_leave(self) -> None:
        """They wait for no more than the posts that wait with them."""

        async def run() -> dict[str, int]:
            calls = Calls(10)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(calls.poll("poll", after_s=0.5))
                for number in range(25):
                    tasks.create_task(calls.make(f"post {number}"))
            return dict(calls.began)

        began = run_virtually(run())
        assert began["post 24"] == began["poll"] == 120


class TestPressure:
    def test_it_is_the_share_that_is_used(self) -> None:
        async def run() -> list[float]:
            queue = loop_queue(4)
            seen = [queue.pressure]
            async with queue.call():
                seen.append(queue.pressure)
            async with queue.call():
                pass
            seen.append(queue.pressure)
            await asyncio.sleep(60.0)
            return [*seen, queue.pressure]

        assert run_virtually(run()) == [0.0, 0.25, 0.5, 0.0]

    def test_while_a_call_waits_for_one_under_way(self) -> None:
        async def run() -> None:
            calls = Calls(1)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(calls.make("under way", takes_s=100.0))
                tasks.create_task(calls.make("waits", after_s=1.0))
                await asyncio.sleep(2.0)
                assert calls.queue.pressure == 1.0
                assert calls.queue.resumes_at is None, "how long the call under way takes is not known"
                await asyncio.sleep(100.0)
                assert calls.queue.resumes_at == pytest.approx(160.0, abs=1.0)

        run_virtually(run())

    async def test_a_call_that_is_about_to_wake_counts(self) -> None:
        """The budget is free again, but not to spare."""
        time = Time()
        may_wake = asyncio.Event()

        async def sleep(seconds: float) -> None:
            await may_wake.wait()

        queue = CallQueue(CallBudget(1), Clock(monotonic=lambda: time.now, sleep=sleep))
        async with queue.call():
            pass

        async def call() -> None:
            async with queue.call():
                pass

        waiting = asyncio.create_task(call())
        await asyncio.sleep(0)
        time.now = 60.0
        assert queue.pressure == 1.0
        may_wake.set()
        await waiting
        assert queue.pressure == 1.0
        time.now = 120.0
        assert queue.pressure == 0.0


def test_it_stays_known_when_it_goes_on_although_one_that_waits_gives_up() -> None:
    async def run() -> float | None:
        calls = Calls(1)
        await calls.make("first")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(calls.make("second"))
            third = tasks.create_task(calls.make("third"))
            await asyncio.sleep(1.0)
            third.cancel()
            await asyncio.sleep(1.0)
            return calls.queue.resumes_at

    assert run_virtually(run()) == pytest.approx(60.0, abs=0.01)


@settings(max_examples=40)
@given(st.integers(1, 8), st.integers(0, 2**32))
def test_never_more_calls_in_any_minute_and_nobody_waits_for_ever(calls_per_minute: int, seed: int) -> None:
    """Wherever between its begin and its end Target counts a call; some are called off, some are throttled."""
    draw = random.Random(seed)
    spans: list[tuple[float, float]] = []
    blocked: list[float] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        queue = loop_queue(calls_per_minute)

        async def call(number: int) -> None:
            await asyncio.sleep(draw.choice((0.0, 1.0, 59.0, 60.0, draw.uniform(0.0, 300.0))))
            async with queue.call(can_wait=number % 2 == 0):
                began = loop.time()
                assert all(not at < began < at + MINUTE_S - 1e-3 for at in blocked), "it was throttled"
                try:
                    await asyncio.sleep(draw.choice((0.0, 0.2, 3.0, 70.0)))
                finally:
                    spans.append((began, loop.time()))
                if draw.random() < 0.03:
                    blocked.append(loop.time())
                    queue.exhaust()

        async with asyncio.TaskGroup() as tasks:
            made = [tasks.create_task(call(number)) for number in range(60)]
            for task in made[::7]:
                await asyncio.sleep(draw.uniform(0.0, 20.0))
                task.cancel()
        assert queue.made == len(spans)
        assert queue.resumes_at is None

    run_virtually(run())
    assert len(spans) >= 51, "all but those that were called off"
    for window in {moment for span in spans for moment in span}:
        # A thousandth, since adding a wait to the time rounds.
        assert sum(begin < window + MINUTE_S - 1e-3 and end >= window for begin, end in spans) <= calls_per_minute
