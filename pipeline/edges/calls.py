"""Lets calls to Target begin as the budget allows, in the order in which they asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from pipeline.core.pacing import CallBudget
from pipeline.edges.clock import Clock


class CallQueue:
    """The one gate through which every POST and status GET of a client code goes.

    `made` counts the calls; `resumes_at` is the monotonic time until which all wait, None while nothing waits.
    """

    def __init__(self, budget: CallBudget, clock: Clock) -> None:
        self.made = 0
        self.resumes_at: float | None = None
        self._budget = budget
        self._clock = clock
        self._turn = anyio.Lock()
        self._ended = anyio.Event()

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """One call: waits for its turn and its place in the budget, which it keeps for a minute after its end."""
        async with self._turn:
            await self._wait()
            self._budget.begin()
            self.made += 1
        try:
            yield
        finally:
            self._budget.end(self._clock.monotonic())
            self._ended.set()
            self._ended = anyio.Event()

    def exhaust(self, retry_after_s: float | None = None) -> None:
        """Target said that there were too many calls."""
        self._budget.exhaust(self._clock.monotonic(), retry_after_s)

    async def _wait(self) -> None:
        try:
            while (wait_s := self._budget.wait_s(self._clock.monotonic())) != 0:
                if wait_s is None:
                    await self._ended.wait()
                else:
                    self.resumes_at = self._clock.monotonic() + wait_s
                    await self._clock.sleep(wait_s)
        finally:
            self.resumes_at = None
