"""The queue of calls to Target: they begin as the budget allows, POSTs before statuses, else in the order of asking."""

from bisect import insort
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import anyio
import structlog

from pipeline.core.target.pacing import CallBudget
from pipeline.core.target.silence import Silence
from pipeline.core.target.time_windows import Schedule
from pipeline.edges.clock import Clock
from pipeline.edges.target.window_limits import Windows

log = structlog.get_logger()


@dataclass(order=True, slots=True)
class _Place:
    """The place of a call in the queue.

    `can_wait`: the call lets all others go first.
    `asked`: its number in the order of asking.
    `moved`: set when its turn may have come.
    """

    can_wait: bool
    asked: int
    moved: anyio.Event = field(default_factory=anyio.Event, compare=False)


class CallQueue:
    """The one gate through which every POST and status GET of a client code goes.

    `made`: the number of calls so far.
    `refused_below_share`: how often Target refused one of them though we had made few: others use the budget too.
    `windows`: the time windows, in which fewer calls or POSTs, or none, may begin.
    `silence`: since when no call has had a usable answer.
    """

    def __init__(self, budget: CallBudget, clock: Clock, windows: Windows | None = None) -> None:
        self.made = 0
        self.silence = Silence()
        self.refused_below_share = 0
        self.windows = windows or Windows(Schedule(), clock)
        self._budget = budget
        self._calls_per_minute = budget.calls_per_minute
        self._posts = 0
        self._clock = clock
        self._waiting: list[_Place] = []
        self._asked = count()

    @asynccontextmanager
    async def call(self, *, can_wait: bool = False) -> AsyncIterator[None]:
        """Make one call in this context: wait for its turn and for the budget.

        The call uses the budget until a minute after its end. With `can_wait`, calls without it go first.
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
        """The share of the budget that is used, from 0 to 1; 1 while a call waits."""
        return 1.0 if self._waiting else self._budget_now().used(self._clock.monotonic())

    @property
    def used(self) -> tuple[int, int]:
        """The calls that count against the budget now, and how many a minute may be made."""
        budget, now = self._budget_now(), self._clock.monotonic()
        return budget.calls(now), budget.share(now)

    @property
    def is_shared(self) -> bool:
        """True while fewer calls are made because somebody else uses the budget of the account."""
        return self._budget_now().is_shared(self._clock.monotonic())

    @property
    def is_refused(self) -> bool:
        """True while calls wait because Target said that there were too many."""
        return self._budget_now().is_refused(self._clock.monotonic())

    @property
    def calls_per_minute(self) -> int:
        """The calls that may be made in a minute now: fewer than configured in a window, or while it is shared."""
        return self._budget_now().share(self._clock.monotonic())

    @property
    def resumes_at(self) -> float | None:
        """The monotonic time until which the budget makes all calls wait; None if it makes none wait."""
        now = self._clock.monotonic()
        wait_s = self._budget_now().wait_s(now) if self._waiting else None
        return now + wait_s if wait_s else None

    def allow(self, calls_per_minute: int) -> None:
        """Change the budget; calls made before still count."""
        self._calls_per_minute = calls_per_minute
        self.look_again()

    def exhaust(self, retry_after_s: float | None = None) -> None:
        """Note that Target said there were too many calls, and for how long to wait, if it did."""
        shared = self._budget_now().exhaust(self._clock.monotonic(), retry_after_s)
        if shared is not None:
            self.refused_below_share += 1
            log.warning(
                "budget_shared", calls=shared.calls, calls_per_minute=self._calls_per_minute, share=shared.share
            )

    async def _until_its_turn(self, place: _Place) -> None:
        insort(self._waiting, place)
        try:
            while (wait_s := self._wait_s(place)) != 0:
                if wait_s is None:
                    place.moved = anyio.Event()
                    if self._next() is not place:
                        # The call whose turn it is may sleep: a window can begin at any time, and change the turns.
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
        """Seconds until a call may begin, 0 if it may now; None if another call must begin or end first."""
        if self._next() is not place:
            return None
        return self.windows.pause_s or self._budget_now().wait_s(self._clock.monotonic())

    def look_again(self) -> None:
        """Wake the call whose turn it is; the calls behind it wait for it anyway."""
        if (place := self._next()) is not None:
            place.moved.set()

    def _next(self) -> _Place | None:
        """The call whose turn it is: the first that waits, or the first status GET if a window allows no more POSTs."""
        may_post = self.windows.may_post(self._posts)
        return next((place for place in self._waiting if may_post or place.can_wait), None)

    def _budget_now(self) -> CallBudget:
        self._budget.calls_per_minute = self.windows.calls_per_minute(self._calls_per_minute)
        return self._budget
