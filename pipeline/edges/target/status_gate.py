"""Lets POSTs begin while the statuses of all unsettled batches are still safe with Target, and learns how many are."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import anyio

from pipeline.core.target.pacing import StatusWindow
from pipeline.core.target.replies import Complete, Incomplete, StatusLost, StatusOutcome, Stuck
from pipeline.core.target.status_memory import Learned, StatusMemory


@dataclass(slots=True)
class _Door:
    """Where POSTs wait: one after the other, until the window has `moved`."""

    turn: anyio.Lock = field(default_factory=anyio.Lock)
    moved: anyio.Event = field(default_factory=anyio.Event)


class StatusGate:
    """The status window of a client code; with `memory` it grows with what is learned."""

    def __init__(self, window: StatusWindow, memory: StatusMemory | None = None) -> None:
        self._memory = memory
        self._window = window
        self._door = _Door()
        self._looking: anyio.CancelScope | None = None
        self._may_look = True

    def for_job(self) -> "StatusGate":
        """The same gate for one of several jobs: `stop_looking` ends its own looks only."""
        gate = StatusGate(self._window, self._memory)
        gate._door = self._door
        return gate

    async def begin_post(self) -> int:
        """Wait, in the order of asking, until a POST may begin; its number."""
        async with self._door.turn:
            while not self._window.is_open:
                await self._door.moved.wait()
            return self._window.begin_post()

    def note_accepted(self, post_number: int, now: datetime) -> None:
        """This POST was accepted."""
        self._window.end_post(post_number)
        if self._memory:
            self._memory.note_accepted(post_number, self._window.under_way, now)

    def note_complete(self, post_number: int, status_url: str) -> None:
        """The batch of this POST is complete."""
        if self._memory:
            self._memory.note_complete(post_number, status_url)

    async def look_again(
        self, ask: Callable[[str], Awaitable[StatusOutcome]], utc_now: Callable[[], datetime]
    ) -> Learned | None:
        """Look at a settled batch, if there is anything to learn from one now; what was learned."""
        memory = self._memory
        look = memory.take_look(utc_now()) if memory and self._may_look else None
        if memory is None or look is None:
            return None
        is_kept: bool | None = None
        has_learned = False
        try:
            with anyio.CancelScope() as self._looking:
                is_kept = _is_kept(await ask(look.status_url))
        finally:
            self._looking = None
            has_learned = memory.note_look(look, is_kept=is_kept, now=utc_now())
        return self._resized(memory) if has_learned else None

    def stop_looking(self) -> None:
        """No other POST of this job will come: no look is begun any more, and one under way is not waited for."""
        self._may_look = False
        if self._looking:
            self._looking.cancel()

    def note_lost(self, age: timedelta, now: datetime) -> Learned | None:
        """A status that was waited for is gone; what is known now, if more was thought to be."""
        if self._memory is None or not self._memory.note_lost(age, now):
            return None
        return self._resized(self._memory)

    def forget(self, post_number: int) -> None:
        """The status of this POST is not waited for any more."""
        self._window.forget(post_number)
        if self._memory:
            self._memory.forget(post_number)
        self._move()

    def _resized(self, memory: StatusMemory) -> Learned:
        self._window.size = memory.learned.size
        self._move()
        return memory.learned

    def _move(self) -> None:
        self._door.moved.set()
        self._door.moved = anyio.Event()


def _is_kept(outcome: StatusOutcome) -> bool | None:
    """What the status of a batch that was complete says now: only the same again proves that it is kept."""
    match outcome:
        case Complete():
            return True
        case StatusLost() | Incomplete() | Stuck():
            return False
    return None
