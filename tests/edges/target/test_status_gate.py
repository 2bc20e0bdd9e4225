"""The gate of POSTs: in the order of asking, as wide as what was learned, and looks that can go wrong in any way."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from pipeline.core.target.pacing import StatusWindow
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
from pipeline.core.target.status_memory import Learned, StatusMemory
from pipeline.edges.changed import Changed
from pipeline.edges.target.status_gate import StatusGate

Result = TypeVar("Result")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def now() -> datetime:
    return NOW


def answering(outcome: StatusOutcome) -> Callable[[str], Awaitable[StatusOutcome]]:
    async def ask(status_url: str) -> StatusOutcome:
        return outcome

    return ask


async def gate_with_a_look(learned: Learned | None = None) -> tuple[StatusGate, StatusMemory, StatusWindow]:
    """A gate for which it is time to look at `status 0`, the first of many batches, all complete."""
    memory = StatusMemory(learned or Learned())
    window = StatusWindow(memory.learned.size)
    gate = StatusGate(window, memory)
    for _ in range(2 * memory.learned.size + 1):
        number = await gate.begin_post()
        gate.note_accepted(number, NOW)
        if number == 0:
            gate.note_complete(number, "status 0")
        gate.forget(number)
    return gate, memory, window


async def is_open(gate: StatusGate) -> bool:
    """Whether a POST may begin now; it is not waited for."""
    beginning = asyncio.create_task(gate.begin_post())
    await settle_down()
    if beginning.done():
        gate.forget(beginning.result())
        return True
    beginning.cancel()
    await settle_down()
    return False


async def soon(task: asyncio.Task[Result]) -> Result:
    """The result of a task that nothing keeps from ending any more; fails the test if it hangs."""
    async with asyncio.timeout(5.0):
        return await task


async def settle_down() -> None:
    """Let all others come to where they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


class TestTheGate:
    async def test_posts_begin_in_the_order_of_asking(self) -> None:
        gate = StatusGate(StatusWindow(1))
        began: list[str] = []

        async def post(name: str) -> None:
            number = await gate.begin_post()
            began.append(name)
            gate.forget(number)

        first = await gate.begin_post()
        async with asyncio.timeout(5.0), asyncio.TaskGroup() as tasks:
            for name in "abc":
                tasks.create_task(post(name))
            await settle_down()
            assert began == []
            gate.forget(first)
            await post("d")
        assert began == ["a", "b", "c", "d"], "nobody slips in before those that wait have woken"

    async def test_an_answer_alone_lets_no_post_begin(self) -> None:
        gate = StatusGate(StatusWindow(1))
        number = await gate.begin_post()
        gate.note_accepted(number, NOW)
        gate.note_complete(number, "status")
        assert not await is_open(gate)
        gate.forget(number)
        assert await is_open(gate)

    async def test_who_gives_up_waiting_leaves_the_turn_to_others(self) -> None:
        gate = StatusGate(StatusWindow(1))
        first = await gate.begin_post()
        waiting = [asyncio.create_task(gate.begin_post()) for _ in range(3)]
        await settle_down()
        for given_up in waiting[:2]:
            given_up.cancel()
        await settle_down()
        gate.forget(first)
        assert await soon(waiting[2]) == 1, "no number was taken by those that gave up"

    async def test_a_fixed_window_learns_nothing(self) -> None:
        window = StatusWindow(20)
        gate = StatusGate(window)
        for _ in range(100):
            number = await gate.begin_post()
            gate.note_accepted(number, NOW)
            gate.note_complete(number, "status")
            gate.forget(number)
        ask = answering(Complete())
        assert await gate.look_again(ask, now) is None
        assert gate.note_lost(HOUR, NOW) is None
        assert window.size == 20


class TestLooks:
    async def test_kept(self) -> None:
        gate, memory, window = await gate_with_a_look()
        assert await gate.look_again(answering(Complete()), now) == Learned(20)
        assert memory.learned == Learned(20)
        assert window.size == 20

    async def test_the_batch_looked_at_is_the_one_that_is_complete(self) -> None:
        gate, _, _ = await gate_with_a_look()
        asked: list[str] = []

        async def ask(status_url: str) -> StatusOutcome:
            asked.append(status_url)
            return Complete()

        await gate.look_again(ask, now)
        assert asked == ["status 0"]
        await gate.look_again(ask, now)
        assert asked == ["status 0"], "there is nothing to learn for 40 yet"

    @pytest.mark.parametrize("outcome", [StatusLost("gone"), Incomplete(), Stuck()])
    async def test_what_was_complete_and_is_not_any_more_is_not_kept(self, outcome: StatusOutcome) -> None:
        """A status word that nobody knows is `Incomplete`; it may mean that it is forgotten."""
        gate, _, window = await gate_with_a_look(Learned(20))
        assert await gate.look_again(answering(outcome), now) == Learned(20, failed_at=NOW)
        assert window.size == 20
        assert await gate.look_again(answering(Complete()), now) is None, "not the same day"

    @pytest.mark.parametrize(
        "outcome",
        [StatusUnavailable("HTTP 500"), Throttled(), Unauthorized(401), Unauthorized(403, is_final=False)],
    )
    async def test_no_answer_is_no_news(self, outcome: StatusOutcome) -> None:
        gate, memory, window = await gate_with_a_look()
        assert await gate.look_again(answering(outcome), now) is None
        assert memory.learned == Learned()
        assert window.size == 10

    async def test_posts_that_wait_begin_as_soon_as_more_is_known(self) -> None:
        gate, _, _ = await gate_with_a_look()
        begun = [await gate.begin_post() for _ in range(10)]
        waiting = asyncio.create_task(gate.begin_post())
        await settle_down()
        assert not waiting.done()
        await gate.look_again(answering(Complete()), now)
        assert await soon(waiting) == begun[-1] + 1

    async def test_what_goes_wrong_meanwhile_does_not_end_looking_for_good(self) -> None:
        gate, memory, _ = await gate_with_a_look()

        async def ask(status_url: str) -> StatusOutcome:
            raise OSError("no token")

        with pytest.raises(OSError, match="no token"):
            await gate.look_again(ask, now)
        await accept_twenty(gate)
        assert await gate.look_again(answering(Complete()), now) == Learned(20)
        assert memory.learned == Learned(20)

    async def test_nor_does_a_cancelled_one(self) -> None:
        gate, _, _ = await gate_with_a_look()
        looking = asyncio.create_task(gate.look_again(never, now))
        await settle_down()
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        await accept_twenty(gate)
        assert await gate.look_again(answering(Complete()), now) == Learned(20)

    async def test_not_at_a_batch_that_is_not_followed_any_more(self) -> None:
        memory = StatusMemory(Learned())
        gate = StatusGate(StatusWindow(10), memory)
        for number in range(21):
            assert await gate.begin_post() == number
            gate.note_accepted(number, NOW)
            gate.forget(number)
        gate.note_complete(0, "status 0")
        assert memory.take_look(NOW) is None

    async def test_the_end_of_one_job_calls_off_its_own_look_only(self) -> None:
        gate, _, window = await gate_with_a_look()
        changed = Changed()
        has_ended = False

        async def look() -> None:
            with changed.unless(lambda: has_ended):
                await gate.look_again(never, now)

        one = asyncio.create_task(look())
        await settle_down()
        has_ended = True
        changed.tell()
        await soon(one)
        await accept_twenty(gate)
        assert await gate.look_again(answering(Complete()), now) == Learned(20)
        assert window.size == 20

    async def test_what_is_called_off_teaches_nothing(self) -> None:
        gate, memory, _ = await gate_with_a_look()
        changed = Changed()
        has_ended = False
        learned: list[Learned | None] = []

        async def look() -> None:
            with changed.unless(lambda: has_ended):
                learned.append(await gate.look_again(never, now))

        looking = asyncio.create_task(look())
        await settle_down()
        assert not looking.done()
        has_ended = True
        changed.tell()
        await soon(looking)
        assert (learned, memory.learned) == ([], Learned())

    async def test_the_jobs_of_a_gate_wait_at_one_door(self) -> None:
        gate = StatusGate(StatusWindow(1))
        number = await gate.begin_post()
        beginning = asyncio.create_task(gate.begin_post())
        await settle_down()
        assert not beginning.done()
        gate.forget(number)
        await settle_down()
        assert (beginning.done(), beginning.result()) == (True, number + 1)

    async def test_one_at_a_time(self) -> None:
        gate, _, _ = await gate_with_a_look()
        looking = asyncio.create_task(gate.look_again(never, now))
        await settle_down()
        assert await gate.look_again(answering(Complete()), now) is None
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking


class TestALostStatus:
    async def test_the_window_becomes_as_narrow_as_it_was(self) -> None:
        gate, memory, window = await gate_with_a_look(Learned(40))
        assert gate.note_lost(HOUR, NOW) == Learned(10, failed_at=NOW)
        assert memory.learned == Learned(10, failed_at=NOW)
        assert window.size == 10
        assert gate.note_lost(HOUR, NOW) is None

    async def test_of_an_old_batch_it_tells_nothing(self) -> None:
        gate, _, window = await gate_with_a_look(Learned(40))
        assert gate.note_lost(24 * HOUR, NOW) is None
        assert window.size == 40

    async def test_what_a_look_shows_afterwards_does_not_widen_it(self) -> None:
        gate, memory, window = await gate_with_a_look(Learned(20))

        async def ask(status_url: str) -> StatusOutcome:
            gate.note_lost(HOUR, NOW)
            return Complete()

        assert await gate.look_again(ask, now) is None
        assert memory.learned == Learned(10, failed_at=NOW)
        assert window.size == 10

    async def test_none_begins_until_so_few_are_unsettled(self) -> None:
        memory = StatusMemory(Learned(20))
        gate = StatusGate(StatusWindow(20), memory)
        begun = []
        for _ in range(15):
            begun.append(await gate.begin_post())
            gate.note_accepted(begun[-1], NOW)
        gate.note_lost(HOUR, NOW)
        for number in begun[:5]:
            assert not await is_open(gate)
            gate.forget(number)
        assert not await is_open(gate)
        gate.forget(begun[5])
        assert await is_open(gate)


async def never(status_url: str) -> StatusOutcome:
    await asyncio.Event().wait()
    raise AssertionError


async def accept_twenty(gate: StatusGate) -> None:
    for _ in range(20):
        number = await soon(asyncio.create_task(gate.begin_post()))
        gate.note_accepted(number, NOW)
        gate.forget(number)
