"""Lets calls to Target begin as the budget allows: POSTs first, since statuses can wait, and in the order of asking."""

from bisect import insort
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import anyio

from pipeline.core.target.pacing import CallBudget
from pipeline.core.target.time_windows import Schedule
from pipeline.edges.clock import Clock
from pipeline.edges.target.time_windows import Windows


@dataclass(order=True, slots=True)
class _Place:
    """The place of a call in the queue: whether it may wait for others, and when it asked.

    `moved` is set when it may have come to be its turn.
    """

    can_wait: bool
    asked: int
    moved: anyio.Event = field(default_factory=anyio.Event, compare=False)


class CallQueue:
    """The one gate through which every POST and status GET of a client code goes.

    `made` counts the calls. `windows` say when fewer calls, fewer POSTs at once or none of either may begin.
    """

    def __init__(self, budget: CallBudget, clock: Clock, windows: Windows | None = None) -> None:
        self.made = 0
        self.windows = windows or Windows(Schedule(), clock)
        self._budget = budget
        self._calls_per_minute = budget.calls_per_minute
        self._posts = 0
        self._clock = clock
        self._waiting: list[_Place] = []
        self._asked = count()

    @asynccontextmanager
    async def call(self, *, can_wait: bool = False) -> AsyncIterator[None]:
        """One call: waits for its turn and its place in the budget, which it keeps for a minute after its end.

        One that `can_wait` lets all others go first.
        """
        await self._until_its_turn(_Place(can_wait, next(self._asked)))
        try:
            yield
        finally:
            self._budget.end(self._clock.monotonic())
            self._posts -= not can_wait
            self.look_again()

    @property
    def pressure(self) -> float:
        """What share of the budget is used, from 0 to 1."""
        return 1.0 if self._waiting else self._budget_now().used(self._clock.monotonic())

    @property
    def resumes_at(self) -> float | None:
        """The monotonic time until which all wait, None while nothing does."""
        now = self._clock.monotonic()
        wait_s = self._budget_now().wait_s(now) if self._waiting else None
        return now + wait_s if wait_s else None

    def allow(self, calls_per_minute: int) -> None:
        """Change the budget; what was used of it stays so."""
        self._calls_per_minute = calls_per_minute
        self.look_again()

    def exhaust(self, retry_after_s: float | None = None) -> None:
        """Target said that there were too many calls."""
        self._budget.exhaust(self._clock.monotonic(), retry_after_s)

    async def _until_its_turn(self, place: _Place) -> None:
        insort(self._waiting, place)
        try:
            while (wait_s := self._wait_s(place)) != 0:
                if wait_s is None:
                    place.moved = anyio.Event()
                    if self._next() is not place:
                        # Whose turn it is may not know it: a window can begin at any time.
                        self.look_again()
                    await place.moved.wait()
                else:
                    await self._clock.sleep(wait_s)
            self._budget.begin()
            self._posts += not place.can_wait
            self.made += 1
        finally:
            self._waiting.remove(place)
            self.look_again()

    def _wait_s(self, place: _Place) -> float | None:
        """Seconds until a call may begin, 0 if now; None if another call has to begin or to end first."""
        if self._next() is not place:
            return None
        return self.windows.pause_s or self._budget_now().wait_s(self._clock.monotonic())

    def look_again(self) -> None:
        """Wake whose turn it is; whoever is behind it has to wait for it anyway."""
        if (place := self._next()) is not None:
            place.moved.set()

    def _next(self) -> _Place | None:
        """Whose turn it is: the first that waits, or the first status where a window allows no other POST."""
        may_post = self.windows.may_post(self._posts)
        return next((place for place in self._waiting if may_post or place.can_wait), None)

    def _budget_now(self) -> CallBudget:
        self._budget.calls_per_minute = self.windows.calls_per_minute(self._calls_per_minute)
        return self._budget
