"""How the service comes to its end: no new claims, no new POSTs, time for those that run; the ledger has the rest."""

import signal
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

import anyio
import structlog

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.clock import Clock
from pipeline.edges.store.state import State
from pipeline.edges.target.call_queue import CallQueue
from pipeline.jobs.job import Job

log = structlog.get_logger()

#: How often it is looked whether a POST still runs (seconds).
_LOOK_EVERY_S = 0.1


class Stop:
    """How the process comes to its end: SIGTERM or SIGINT, then running POSTs get `grace_s`; a second one ends it.

    `states` are told that no POST is to begin any more.
    """

    def __init__(self, clock: Clock, grace_s: float) -> None:
        self.is_asked = anyio.Event()
        self.states: list[State] = []
        self.grace_s = grace_s
        self._at_once = anyio.Event()
        self._clock = clock

    @staticmethod
    def signals() -> AbstractContextManager[AsyncIterator[signal.Signals]]:
        """The signals to `listen` to, from now on."""
        return anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT)

    async def listen(self, signals: AsyncIterator[signal.Signals]) -> None:
        """Wait for signals, until cancelled."""
        async for number in signals:
            log.info("service_stopping", signal=signal.Signals(number).name, at_once=self.is_asked.is_set())
            (self._at_once if self.is_asked.is_set() else self.is_asked).set()
            for state in self.states:
                state.is_stopping = True

    async def end_job(self, job: Job, _: CallQueue) -> None:
        """Run beside a job: ends it with `FatalError` (75) when the process is to stop and no POST runs any more."""
        await self.is_asked.wait()
        ends_at = self._clock.monotonic() + self.grace_s
        while job.progress.posting and not self._at_once.is_set() and self._clock.monotonic() < ends_at:
            await self._clock.sleep(_LOOK_EVERY_S)
        raise FatalError("stopped by a signal; the next start goes on.", exit_code=ExitCode.UNFINISHED)

    async def sleep(self, seconds: float, *until: anyio.Event) -> None:
        """Sleep, but not beyond the wish to stop, or any of these events."""
        async with anyio.create_task_group() as tasks:

            async def wake(event: anyio.Event) -> None:
                await event.wait()
                tasks.cancel_scope.cancel()

            for event in (self.is_asked, *until):
                tasks.start_soon(wake, event)
            await self._clock.sleep(seconds)
            tasks.cancel_scope.cancel()
