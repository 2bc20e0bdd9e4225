"""What hangs is named, with the line in which it waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import takewhile

import pytest

from tests.simulation.loop import run_virtually
from tests.tools.hanging import in_time


@asynccontextmanager
async def never_entered() -> AsyncIterator[None]:
    await asyncio.Event().wait()
    yield


async def enter() -> None:
    async with never_entered():
        pass


def test_where_a_task_waits_that_hangs() -> None:
    async def run() -> None:
        async with in_time(1_800.0, lambda: "the log"):
            await asyncio.create_task(enter(), name="the one")

    with pytest.raises(AssertionError) as failed:
        run_virtually(run())
    told = str(failed.value)
    assert told.startswith("it hangs:\nthe log\n")
    task = told.partition("the one\n")[2]
    lines = takewhile(lambda line: line.startswith(" "), task.splitlines())
    functions = [line.split()[-1] for line in lines if "test_hanging.py" in line]
    assert functions == ["enter", "never_entered"]


def test_what_ends_in_time_is_left_alone() -> None:
    async def run() -> float:
        async with in_time(1_800.0, lambda: "the log"):
            await asyncio.sleep(1_799.0)
        return asyncio.get_running_loop().time()

    assert run_virtually(run()) == pytest.approx(1_799.0, abs=0.1)


def test_an_error_of_its_own_is_raised_as_it_is() -> None:
    async def run() -> None:
        async with in_time(1_800.0, lambda: "the log"):
            raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        run_virtually(run())
