"""The one gate before a POST. It asks, in this order:

1. the end of the job (`Ending`): is the batch still to be sent?
2. pause: has somebody asked to send nothing, or does a time window say so?
3. doubt (`Probing`): while Target may refuse everything, batches are tried one at a time
4. an upload slot, of `[upload] concurrency`
5. the status window (`StatusGate`): does Target still keep the statuses of all unsettled batches?
6. the budget of calls (`CallQueue`)

Slots 3 and 4 are kept over all attempts of a batch, the others are asked for at each. Waiting takes time, so 2 and 1
are asked once more at the end. A job that comes to its end (`NO_ATTEMPTS` and beyond) waits nowhere: the gate lets go.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from math import inf

from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.model import Batch
from pipeline.edges.target.endpoint import SendBatch, Target
from pipeline.jobs.job import Job
from pipeline.jobs.probing import Probing
from pipeline.jobs.send_limits import SendLimits


@dataclass(slots=True)
class Passage:
    """Leave to make one POST: `send` makes it. Without `is_accepted` nobody will ask for its status."""

    post_number: int
    send: SendBatch
    is_accepted: bool = False


class SendGate:
    """The gate for the batches of one job; its `limits` are shared with all jobs of the client code."""

    def __init__(self, job: Job, limits: SendLimits, probing: Probing, target: Target) -> None:
        self._job = job
        self._limits = limits
        self._probing = probing
        self._target = target

    @asynccontextmanager
    async def slot(self, batch: Batch) -> AsyncIterator[None]:
        """Wait for what a batch keeps over its attempts (2 to 4); where the job ends meanwhile, it has nothing."""
        async with AsyncExitStack() as kept:
            with self._job.ending.changed.unless(self._is_over):
                # What waits for a pause to end is in nobody's way.
                await self._until_resumed()
                await kept.enter_async_context(self._probing.turn(batch))
                await kept.enter_async_context(self._limits.uploaders)
            yield

    @asynccontextmanager
    async def passage(self, batch: Batch) -> AsyncIterator[Passage | None]:
        """Wait until one POST may begin (5, 6, 2); None where the job ends meanwhile.

        As long as the passage lasts, a POST of the job is under way.
        """
        async with AsyncExitStack() as kept:
            passage: Passage | None = None
            with self._job.ending.changed.unless(self._is_over):
                post_number = await self._limits.window.begin_post()
                kept.callback(lambda: self._forget_unless_accepted(passage, post_number))
                await self._until_resumed()
                body = self._job.spool.body(batch.batch_id)
                send = await kept.enter_async_context(self._target.turn_to_post(batch, body))
                await self._until_resumed()
                passage = Passage(post_number, send)
            if passage is None:
                yield None
                return
            self._job.progress.posts_under_way += 1
            try:
                yield passage
            finally:
                self._job.progress.posts_under_way -= 1
                self._job.ending.changed.tell()

    def _is_over(self) -> bool:
        return self._job.ending.stage >= EndStage.NO_ATTEMPTS

    async def _until_resumed(self) -> None:
        changed = self._job.ending.changed
        while pause_s := self._pause_s:
            await changed.next(within_s=pause_s)

    @property
    def _pause_s(self) -> float:
        """Seconds after which to look again if sending still pauses; 0 if it does not."""
        return inf if self._job.state.is_paused else self._limits.calls.windows.pause_s

    def _forget_unless_accepted(self, passage: Passage | None, post_number: int) -> None:
        if passage is None or not passage.is_accepted:
            self._limits.window.forget(post_number)
