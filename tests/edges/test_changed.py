"""Waiting for what other tasks do: nobody is woken too seldom, and a body is left as soon as it is to be."""

from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint

from pipeline.edges.changed import Changed
from tests.tools.bench.pacing import run_virtually


async def settle_down() -> None:
    for _ in range(10):
        await checkpoint()


class Flag:
    """What tasks look at, and how often they did."""

    def __init__(self) -> None:
        self.changed = Changed()
        self.is_set = False
        self.looks = 0

    def holds(self) -> bool:
        self.looks += 1
        return self.is_set

    def set(self, *, to: bool = True) -> None:
        self.is_set = to
        self.changed.tell()


class TestUntil:
    async def test_what_holds_already_is_not_waited_for(self) -> None:
        flag = Flag()
        flag.is_set = True
        assert await flag.changed.until(flag.holds)

    async def test_it_looks_again_whenever_something_changed(self) -> None:
        flag = Flag()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flag.changed.until, flag.holds)
            await settle_down()
            for looks in (1, 2, 3):
                assert flag.looks == looks
                flag.changed.tell()
                await settle_down()
            await settle_down()
            assert flag.looks == 4, "nobody looks where nothing changed"
            flag.set()

    async def test_what_changes_while_nobody_waits_is_not_lost(self) -> None:
        """A task that is busy between two waits looks before it waits."""
        changed = Changed()
        count = 0
        seen: list[int] = []

        def has_grown(since: int) -> bool:
            return count > since

        async def watch() -> None:
            while count < 50:
                before = count
                await checkpoint()
                await changed.until(partial(has_grown, before))
                seen.append(count)
                await checkpoint()

        async def grow() -> None:
            nonlocal count
            while count < 50:
                count += 1
                changed.tell()
                if count % 3 == 0:
                    await checkpoint()

        with anyio.fail_after(5.0):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                tasks.start_soon(grow)
        assert seen, "and nobody hangs"

    async def test_all_that_wait_are_woken(self) -> None:
        flag = Flag()
        woken: list[int] = []

        async def wait(number: int) -> None:
            await flag.changed.until(flag.holds)
            woken.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(wait, number)
            await settle_down()
            flag.set()
        assert sorted(woken) == [0, 1, 2]

    async def test_one_that_holds_for_a_moment_only_may_be_missed(self) -> None:
        flag = Flag()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flag.changed.until, flag.holds)
            await settle_down()
            flag.set()
            flag.set(to=False)
            await settle_down()
            assert flag.looks == 2, "it looked, and waits on"
            tasks.cancel_scope.cancel()

    def test_within_a_time(self) -> None:
        async def run() -> tuple[bool, float, bool, float]:
            flag = Flag()
            in_vain = await flag.changed.until(flag.holds, within_s=30.0)
            until = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(set_after, flag, 10.0)
                in_time = await flag.changed.until(flag.holds, within_s=30.0)
            return in_vain, round(until, 3), in_time, round(anyio.current_time() - until, 3)

        assert run_virtually(run()) == (False, 30.0, True, 10.0)

    def test_what_holds_when_the_time_is_up_holds(self) -> None:
        """Though nobody told of it: a condition of the clock, say."""

        async def run() -> bool:
            return await Changed().until(lambda: anyio.current_time() >= 10.0, within_s=10.0)

        assert run_virtually(run()) is True

    async def test_no_time_at_all_is_a_look(self) -> None:
        flag = Flag()
        assert await flag.changed.until(flag.holds, within_s=0.0) is False
        flag.is_set = True
        assert await flag.changed.until(flag.holds, within_s=0.0) is True


class TestNext:
    def test_it_returns_when_something_changes_or_the_time_is_up(self) -> None:
        async def run() -> list[float]:
            flag = Flag()
            at: list[float] = []
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(set_after, flag, 10.0)
                for _ in range(2):
                    await flag.changed.next(within_s=30.0)
                    at.append(round(anyio.current_time(), 3))
            return at

        assert run_virtually(run()) == [10.0, 40.0]

    def test_what_changed_before_is_not_the_next(self) -> None:
        async def run() -> float:
            flag = Flag()
            flag.changed.tell()
            await flag.changed.next(within_s=5.0)
            return round(anyio.current_time(), 3)

        assert run_virtually(run()) == 5.0


class TestUnless:
    async def test_a_body_that_nothing_ends_runs_through(self) -> None:
        flag = Flag()
        with flag.changed.unless(flag.holds):
            await settle_down()
            flag.changed.tell()
            await settle_down()
            flag.looks = 100
        assert flag.looks == 100
        flag.set()
        assert flag.looks == 100, "nobody asks for a body that was left"

    async def test_it_is_left_as_soon_as_the_condition_holds(self) -> None:
        flag = Flag()
        reached: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.leave, flag, reached)
            await settle_down()
            flag.changed.tell()
            await settle_down()
            assert reached == ["in"]
            flag.set()
            await settle_down()
            assert reached == ["in", "cleaned up", "behind"]

    async def leave(self, flag: Flag, reached: list[str]) -> None:
        with flag.changed.unless(flag.holds):
            try:
                reached.append("in")
                await anyio.sleep_forever()
            finally:
                reached.append("cleaned up")
        reached.append("behind")

    async def test_that_it_held_for_a_moment_is_enough(self) -> None:
        """Whoever waits in the body may be busy then."""
        flag = Flag()
        reached: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.leave, flag, reached)
            await settle_down()
            flag.set()
            flag.set(to=False)
        assert reached == ["in", "cleaned up", "behind"]

    async def test_what_holds_at_the_start_leaves_it_at_the_first_wait(self) -> None:
        flag = Flag()
        flag.is_set = True
        reached: list[str] = []
        with flag.changed.unless(flag.holds):
            reached.append("in")
            await anyio.sleep_forever()
        assert reached == ["in"]

    async def test_one_in_another_is_left_alone(self) -> None:
        inner, outer = Flag(), Flag()
        reached: list[str] = []

        async def run() -> None:
            with outer.changed.unless(outer.holds):
                await self.leave(inner, reached)
                await anyio.sleep_forever()
            reached.append("outside")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await settle_down()
            inner.set()
            await settle_down()
            assert reached == ["in", "cleaned up", "behind"]
            outer.set()
        assert reached[-1] == "outside"

    async def test_of_two_that_wait_for_different_things_one_is_left(self) -> None:
        changed = Changed()
        has_ended = {1: False, 2: False}
        left: list[int] = []

        async def run(number: int) -> None:
            with changed.unless(lambda: has_ended[number]):
                await anyio.sleep_forever()
            left.append(number)

        async with anyio.create_task_group() as tasks:
            for number in has_ended:
                tasks.start_soon(run, number)
            await settle_down()
            has_ended[2] = True
            changed.tell()
            await settle_down()
            assert left == [2]
            has_ended[1] = True
            changed.tell()
        assert left == [2, 1]

    async def test_an_error_passes_through_as_it_is(self) -> None:
        flag = Flag()
        error = ValueError("on its way")
        with pytest.raises(ValueError, match="on its way") as caught, flag.changed.unless(flag.holds):
            raise error
        assert caught.value is error
        flag.set()
        assert flag.looks == 1, "nobody asks for it any more"

    async def test_an_error_while_it_is_left_passes_through_too(self) -> None:
        flag = Flag()

        async def fail_on_the_way_out() -> None:
            with flag.changed.unless(flag.holds):
                try:
                    flag.set()
                    await checkpoint()
                finally:
                    raise ValueError("not cleaned up")

        with pytest.raises(ValueError, match="not cleaned up"):
            await fail_on_the_way_out()

    async def test_whoever_cancels_from_outside_is_not_kept_in(self) -> None:
        flag = Flag()
        reached: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.leave, flag, reached)
            await settle_down()
            tasks.cancel_scope.cancel()
        assert reached == ["in", "cleaned up"]


async def set_after(flag: Flag, seconds: float) -> None:
    await anyio.sleep(seconds)
    flag.set()
