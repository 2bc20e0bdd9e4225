"""An event loop whose time is a number: nothing waits, nothing runs in a thread, and a test says how time passes."""

import asyncio
import gc
import math
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

#: A turn of the loop takes so long (seconds): no two moments are the same, and who sleeps for less than a clock can
#: tell apart does not sleep for ever.
_TURN_S = 1e-6
#: Turns of the loop without a rest. Whoever needs more spins.
_MOST_TURNS = 100_000


class DeadlockError(Exception):
    """Everything waits, and nothing is going to happen."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Stops as soon as nothing can run before the time up to which it was let go on."""

    def __init__(self) -> None:
        self._now = 0.0
        self._until = 0.0
        self._turns = 0
        super().__init__(_Still(self._idle))

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now

    def settle(self) -> None:
        """Run all that can run without waiting."""
        self.advance(0.0)

    def advance(self, seconds: float) -> None:
        """Let time pass, from timer to timer."""
        self._until = self._now + seconds
        self._turns = 0
        self.run_forever()
        self._now = max(self._now, self._until)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, in as much time as it takes. Raises `DeadlockError` where it waits for ever."""
        task = self.create_task(coroutine)
        task.add_done_callback(lambda _: self.stop())
        self._until = math.inf
        self._turns = 0
        self.run_forever()
        if not task.done():
            raise DeadlockError("everything waits, and nothing is going to happen")
        self._until = self._now
        return task.result()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Arguments]], T], *args: *Arguments
    ) -> asyncio.Future[T]:
        """Run a function at once, where another loop has threads for it."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is the one who awaits the future who gets it
            future.set_exception(error)
        return future

    def _idle(self, timeout: float | None) -> None:
        """Nothing can run for so many seconds; None: nothing waits for time."""
        if timeout is None or (timeout and self._now + timeout > self._until):
            self.stop()
            return
        self._turns = 0 if timeout else self._turns + 1
        if self._turns > _MOST_TURNS:
            raise AssertionError("a task spins: the loop does not come to rest")
        self._now += max(timeout, _TURN_S)


class _Still(selectors.SelectSelector):
    """Waits for nothing outside; `idle` is told instead for how long the loop would wait."""

    def __init__(self, idle: Callable[[float | None], None]) -> None:
        super().__init__()
        self._idle = idle

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._idle(timeout)
        # Who has something to do does not look for what comes from outside: signals.
        return [] if timeout == 0 else super().select(0)


@cache
def freeze_what_was_imported() -> None:
    """Once: a job collects garbage at its end, which need not look through all modules each time."""
    gc.collect()
    gc.freeze()


@contextmanager
def virtual_loop() -> Iterator[VirtualLoop]:
    """A virtual loop, closed at the end."""
    freeze_what_was_imported()
    loop = VirtualLoop()
    try:
        yield loop
    finally:
        loop.close()


def run_virtually(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a virtual loop of its own, as fast as it can be computed."""
    with virtual_loop() as loop:
        result = loop.run(coroutine)
        loop.run(loop.shutdown_asyncgens())
        return result
