"""Lets POSTs begin while the statuses of all unsettled batches are still safe with Target, and learns how many are."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import anyio

from pipeline.core.pacing import StatusWindow
from pipeline.core.reply import Complete, Incomplete, StatusLost, StatusOutcome, Stuck
from pipeline.core.status_memory import STATUSES_KEPT, Learned, StatusMemory


class WindowGate:
    """The status window of a job; with `memory` it grows with what is learned."""

    def __init__(self, window: StatusWindow, memory: StatusMemory | None = None) -> None:
        self._memory = memory
        self._window = window
        self._turn = anyio.Lock()
        self._moved = anyio.Event()

    async def begin_post(self) -> int:
        """Wait, in the order of asking, until a POST may begin; its number."""
        async with self._turn:
            while not self._window.is_open:
                await self._moved.wait()
            return self._window.begin_post()

    def note_accepted(self, post_number: int) -> None:
        """This POST was accepted."""
        self._window.end_post(post_number)
        if self._memory:
            self._memory.note_accepted(post_number, self._window.under_way)

    def note_complete(self, post_number: int, status_url: str) -> None:
        """The batch of this POST is complete."""
        if self._memory:
            self._memory.note_complete(post_number, status_url)

    async def look_again(
        self, ask: Callable[[str], Awaitable[StatusOutcome]], utc_now: Callable[[], datetime]
    ) -> Learned | None:
        """Look at a settled batch, if there is anything to learn from one now; what was learned."""
        look = self._memory.take_look() if self._memory else None
        if self._memory is None or look is None:
            return None
        is_kept: bool | None = None
        match await ask(look.status_url):
            case Complete() | Incomplete() | Stuck():
                is_kept = True
            case StatusLost():
                is_kept = False
        if not self._memory.note_look(look, is_kept=is_kept, now=utc_now()):
            return None
        self._resize(self._memory.learned.size)
        return self._memory.learned

    def note_lost(self, now: datetime) -> Learned | None:
        """A status that was waited for is gone; what is known now, if more was thought to be."""
        if self._memory is None or self._memory.learned.size <= STATUSES_KEPT:
            return None
        self._memory.note_lost(now)
        self._resize(self._memory.learned.size)
        return self._memory.learned

    def forget(self, post_number: int) -> None:
        """The status of this POST is not waited for any more."""
        self._window.forget(post_number)
        self._move()

    def _resize(self, size: int) -> None:
        self._window.size = size
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()
