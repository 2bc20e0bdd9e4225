"""Lets POSTs begin while the statuses of all unsettled batches are still safe with Target, and learns how many are."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import anyio

from pipeline.core.target.pacing import StatusWindow
from pipeline.core.target.replies import Complete, Incomplete, StatusLost, StatusOutcome, Stuck
from pipeline.core.target.status_memory import Learned, StatusMemory
from pipeline.edges.changed import Changed


class StatusGate:
    """The status window of a client code; with `memory` it grows with what is learned."""

    def __init__(self, window: StatusWindow, memory: StatusMemory | None = None) -> None:
        self._memory = memory
        self._window = window
        # POSTs wait one after the other, until the window has moved.
        self._turn = anyio.Lock()
        self._moved = Changed()

    async def begin_post(self) -> int:
        """Wait, in the order of asking, until a POST may begin; its number."""
        async with self._turn:
            await self._moved.until(lambda: self._window.is_open)
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
        look = memory.take_look(utc_now()) if memory else None
        if memory is None or look is None:
            return None
        is_kept: bool | None = None
        has_learned = False
        try:
            is_kept = _is_kept(await ask(look.status_url))
        finally:
            has_learned = memory.note_look(look, is_kept=is_kept, now=utc_now())
        return self._resized(memory) if has_learned else None

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
        self._moved.tell()

    def _resized(self, memory: StatusMemory) -> Learned:
        self._window.size = memory.learned.size
        self._moved.tell()
        return memory.learned


def _is_kept(outcome: StatusOutcome) -> bool | None:
    """What the status of a batch that was complete says now: only the same again proves that it is kept."""
    match outcome:
        case Complete():
            return True
        case StatusLost() | Incomplete() | Stuck():
            return False
    return None
