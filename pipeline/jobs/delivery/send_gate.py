"""The one gate before a POST. It asks, in this order:

1. the end of the job (`Ending`): is the batch still to be sent?
2. pause: has somebody asked to send nothing, or does a time window say so?
3. doubt (`Probing`): while Target may refuse everything, batches are tried one at a time
4. an upload slot, of `[upload] concurrency`
5. the status window (`StatusGate`): does Target still keep the statuses of all unsettled batches?
6. the budget of calls (`CallQueue`)

A batch keeps 3 and 4 over all its attempts; the others are asked at each. Waiting takes time, so 2 and 1 are asked once
more at the end. When the job is to end (`NO_ATTEMPTS` and beyond), nobody waits here any longer.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from math import inf

from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.model import Batch
from pipeline.edges.target.endpoint import SendBatch, Target
from pipeline.jobs.delivery.probing import Probing
from pipeline.jobs.delivery.send_limits import SendLimits
from pipeline.jobs.job import Job


@dataclass(slots=True)
class Passage:
    """The permission to make one POST, by `send`. `is_accepted` is set if it is: then its status is waited for."""

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
        """Wait for 2, 3 and 4, and keep 3 and 4 for the body; without them if the job ends meanwhile."""
        async with AsyncExitStack() as kept:
            with self._job.ending.changed.unless(self._is_over):
                # Before the rest: a batch that waits for a pause to end must not keep a slot.
                await self._until_resumed()
                await kept.enter_async_context(self._probing.turn(batch))
                await kept.enter_async_context(self._limits.uploaders)
            yield

    @asynccontextmanager
    async def passage(self, batch: Batch) -> AsyncIterator[Passage | None]:
        """Wait until one POST may begin (5 and 6, with 2 before and after 6); None if the job ends meanwhile.

        As long as the passage lasts, a POST of the job counts as under way.
        """
        async with AsyncExitStack() as kept:
            passage: Passage | None = None
            with self._job.ending.changed.unless(self._is_over):
                post_number = await self._limits.window.begin_post()
                kept.callback(lambda: self._forget_unless_accepted(passage, post_number))
                await self._until_resumed()
                # What was altered is noticed before the attempt counts, as far as it can be.
                checked = await self._job.host.run_blocking(self._job.spool.checked_body, batch.batch_id)
                body = self._job.spool.body(batch.batch_id)
                send = await kept.enter_async_context(self._target.turn_to_post(batch, body, checked))
                await self._until_resumed()
                passage = Passage(post_number, send)
            if passage is None:
                yield None
                return
            self._job.progress.posts_under_way += 1
            self._job.progress.time_spent.note_posts(1, self._job.clock.monotonic())
            try:
                yield passage
            finally:
                self._job.progress.posts_under_way -= 1
                self._job.progress.time_spent.note_posts(-1, self._job.clock.monotonic())
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
