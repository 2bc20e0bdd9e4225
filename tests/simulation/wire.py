"""The way to a Target that answers here: what the HTTP client does around a call, without HTTP.

Each call waits for its turn and for its place in the budget, counts, and tells whether Target gave a sign of life.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from pipeline.core.model import Batch
from pipeline.core.target.replies import (
    Ambiguous,
    PostOutcome,
    StatusOutcome,
    StatusUnavailable,
    Throttled,
    Unreachable,
)
from pipeline.edges.clock import Clock
from pipeline.edges.durable import Version
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import SendBatch


class Answers(Protocol):
    """What stands at the other end."""

    async def post(self, batch: Batch, body: Path) -> PostOutcome:
        """The first byte of a batch has left."""

    async def status(self, url: str) -> StatusOutcome:
        """The status of a batch is asked for."""


class Wire:
    """A `Target` whose answers are made in this process."""

    def __init__(self, answers: Answers, calls: CallQueue, clock: Clock) -> None:
        self.calls_made = 0
        self.is_sandbox: bool | None = None
        self._answers = answers
        self._calls = calls
        self._clock = clock
        self._silent_since: float | None = None

    @property
    def silent_s(self) -> float:
        """For how long every call has been without a usable answer, pauses not counted."""
        since = self._silent_since
        return 0.0 if since is None else self._clock.monotonic() - since - self._calls.windows.paused_s(since)

    @asynccontextmanager
    async def turn_to_post(self, batch: Batch, body: Path, _: Version | None = None) -> AsyncIterator[SendBatch]:
        """Wait for the turn of a POST, see `Target`."""
        async with self._calls.call():
            yield partial(self._send, batch, body)

    async def _send(self, batch: Batch, body: Path) -> PostOutcome:
        self.calls_made += 1
        outcome = await self._answers.post(batch, body)
        self._hear(outcome)
        return outcome

    async def status(self, url: str) -> StatusOutcome:
        """Ask for the status of an accepted batch."""
        async with self._calls.call(can_wait=True):
            self.calls_made += 1
            outcome = await self._answers.status(url)
            self._hear(outcome)
            return outcome

    def _hear(self, outcome: PostOutcome | StatusOutcome) -> None:
        if isinstance(outcome, Throttled):
            self._calls.exhaust(outcome.retry_after_s)
        if not isinstance(outcome, Ambiguous | Throttled | Unreachable | StatusUnavailable):
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = self._clock.monotonic()
