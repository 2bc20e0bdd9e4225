"""The virtual loop: time passes from timer to timer, and only as far as it was let."""

import asyncio
import time

import pytest

from tests.simulation.loop import DeadlockError, run_virtually, virtual_loop


def test_hours_pass_at_once() -> None:
    async def sleep() -> float:
        await asyncio.sleep(86_400 * 3)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run_virtually(sleep()) >= 86_400 * 3
    assert time.monotonic() - began < 5.0


def test_time_passes_from_timer_to_timer_and_no_further_than_it_was_let() -> None:
    woken: list[float] = []

    async def wake(after_s: float) -> None:
        await asyncio.sleep(after_s)
        woken.append(after_s)

    with virtual_loop() as loop:
        tasks = [loop.create_task(wake(after_s)) for after_s in (0, 3, 1, 2)]
        loop.settle()
        assert woken == [0]
        loop.advance(2)
        assert woken == [0, 1, 2]
        assert loop.time() == pytest.approx(2, abs=0.001)
        loop.advance(0.5)
        assert woken == [0, 1, 2]
        loop.advance(0.5)
        assert all(task.done() for task in tasks)


def test_functions_run_at_once_instead_of_in_a_thread() -> None:
    async def call() -> str:
        return await asyncio.get_running_loop().run_in_executor(None, "a".upper)

    assert run_virtually(call()) == "A"


def test_what_waits_for_ever_is_a_deadlock() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with virtual_loop() as loop:
        with pytest.raises(DeadlockError):
            loop.run(waiting := wait())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.settle()
        waiting.close()


def test_a_task_that_spins_is_found() -> None:
    async def spin() -> None:
        while True:  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(0)

    with virtual_loop() as loop:
        task = loop.create_task(spin())
        with pytest.raises(AssertionError, match="spins"):
            loop.settle()
        task.cancel()
        loop.settle()


def test_who_sleeps_for_less_than_the_clock_can_tell_apart_wakes_later_all_the_same() -> None:
    async def sleep_until(at: float) -> None:
        time = asyncio.get_running_loop().time
        while time() < at:  # noqa: ASYNC110 - as one does who waits for a time
            await asyncio.sleep(at - time())

    run_virtually(sleep_until(1_000_000.1))
