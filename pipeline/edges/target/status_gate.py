"""Lets a POST begin while Target still keeps the statuses of all unsettled batches, and learns how many it keeps."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import anyio

from pipeline.core.target.pacing import StatusWindow
from pipeline.core.target.replies import Complete, Incomplete, StatusLost, StatusOutcome, Stuck
from pipeline.core.target.status_memory import Learned, StatusMemory
from pipeline.edges.changed import Changed


class StatusGate:
    """The gate by the status window of a client code. With `memory`, the window grows with what is learned."""

    def __init__(self, window: StatusWindow, memory: StatusMemory | None = None) -> None:
        self._memory = memory
        self._window = window
        # One POST at a time waits for the window to move; the others wait for the lock.
        self._turn = anyio.Lock()
        self._moved = Changed()

    @property
    def size(self) -> int:
        """The number of statuses that Target keeps, as far as is known."""
        return self._window.size

    @property
    def awaited(self) -> int:
        """The number of POSTs that are under way, or of which the status is awaited."""
        return self._window.awaited

    async def begin_post(self) -> int:
        """Wait, in the order of asking, until a POST may begin; return its number."""
        async with self._turn:
            await self._moved.until(lambda: self._window.is_open)
            return self._window.begin_post()

    def note_accepted(self, post_number: int, now: datetime) -> None:
        """Note that this POST was accepted."""
        self._window.end_post(post_number)
        if self._memory:
            self._memory.note_accepted(post_number, self._window.under_way, now)

    def note_complete(self, post_number: int, status_url: str) -> None:
        """Note that the batch of this POST is complete."""
        if self._memory:
            self._memory.note_complete(post_number, status_url)

    async def look_again(
        self, ask: Callable[[str], Awaitable[StatusOutcome]], utc_now: Callable[[], datetime]
    ) -> Learned | None:
        """Probe the status of a settled batch, if that would teach something now; return what was learned, or None."""
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
        """Note that a status was lost that was waited for; return what is known now, or None if that did not change."""
        if self._memory is None or not self._memory.note_lost(age, now):
            return None
        return self._resized(self._memory)

    def forget(self, post_number: int) -> None:
        """Stop waiting for the status of this POST."""
        self._window.forget(post_number)
        if self._memory:
            self._memory.forget(post_number)
        self._moved.tell()

    def _resized(self, memory: StatusMemory) -> Learned:
        self._window.size = memory.learned.size
        self._moved.tell()
        return memory.learned


def _is_kept(outcome: StatusOutcome) -> bool | None:
    """True if Target still keeps the status of a completed batch, which only a second `complete` proves.

    None if there was no answer.
    """
    match outcome:
        case Complete():
            return True
        case StatusLost() | Incomplete() | Stuck():
            return False
    return None
