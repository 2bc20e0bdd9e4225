"""The one gate of all calls, on a clock that moves only while somebody sleeps."""

import asyncio
from typing import Any

import pytest

from pipeline.core.pacing import MINUTE_S, CallBudget
from pipeline.edges.calls import CallQueue
from pipeline.edges.clock import Clock


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


@pytest.mark.parametrize(("retry_after_s", "wait_s"), [(None, 60.0), (5.0, 60.0), (90.0, 90.0)])
async def test_exhausted(retry_after_s: float | None, wait_s: float) -> None:
    queue, time = queue_of(1_000)
    async with queue.call():
        queue.exhaust(retry_after_s)
    async with queue.call():
        assert time.now == wait_s


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
    time.now = 100.0
    await call()
    assert stuck.made == 2
    assert queue.made == 0
