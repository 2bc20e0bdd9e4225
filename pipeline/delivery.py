"""Carries a sealed batch through to its final outcome: upload it, then follow its status until it is settled."""

from dataclasses import dataclass

import anyio
import structlog
from anyio.streams.memory import MemoryObjectSendStream
from anyio.to_thread import run_sync

from pipeline.core.encoding import encode
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch, BatchState, FailedRow, Settled
from pipeline.core.pacing import StatusWindow
from pipeline.core.reply import (
    Accepted,
    Complete,
    PostOutcome,
    Refused,
    RowOutcomes,
    StatusLost,
    Stuck,
    Unauthorized,
    count_rows,
)
from pipeline.core.retry import RetryPolicy, Stop, Upload
from pipeline.edges.target import Target
from pipeline.job import Job

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Posted:
    """An accepted attempt: the number of its POST, its status URL, and when it ended (monotonic seconds)."""

    post_number: int
    status_url: str
    ended_at: float


class WindowGate:
    """Lets POSTs begin while the statuses of all unsettled batches are still safe with Target."""

    def __init__(self, window: StatusWindow) -> None:
        self._window = window
        self._turn = anyio.Lock()
        self._moved = anyio.Event()

    @property
    def is_open(self) -> bool:
        """Whether another POST may begin."""
        return self._window.is_open

    async def begin_post(self) -> int:
        """Wait, in the order of asking, until a POST may begin; its number."""
        async with self._turn:
            while not self._window.is_open:
                await self._moved.wait()
            return self._window.begin_post()

    def forget(self, post_number: int) -> None:
        """The status of this POST is not waited for any more."""
        self._window.forget(post_number)
        self._moved.set()
        self._moved = anyio.Event()


class Courier:
    """Delivers the batches of one job: `deliver` is run once for each, many at a time.

    At most `[upload] concurrency` of them upload at once, and as many more may be sealed and wait unsent.
    """

    def __init__(self, job: Job, target: Target, settled: MemoryObjectSendStream[Settled]) -> None:
        upload, settle = job.settings.upload, job.settings.settle
        self._job = job
        self._target = target
        self._settled = settled
        self._policy = RetryPolicy(
            attempts=upload.attempts,
            backoff_s=upload.backoff_s,
            backoff_max_s=upload.backoff_max_s,
            give_up_after_s=upload.give_up_after_s,
        )
        self._uploaders = anyio.CapacityLimiter(upload.concurrency)
        self._window = WindowGate(StatusWindow(settle.status_window))
        self._unsent = anyio.Semaphore(upload.concurrency)
        self._never_begun: set[int] = set()
        self._is_stopped = False

    @property
    def waits_for_statuses(self) -> bool:
        """Whether no batch may be posted until an earlier one is settled."""
        return not self._window.is_open

    def stop_sending(self) -> None:
        """Begin no first attempt any more; what Target may have is followed to its end."""
        self._is_stopped = True

    async def make_room(self) -> None:
        """Wait until one more batch may be sealed; every call is followed by one `deliver`."""
        await self._unsent.acquire()

    async def deliver(self, batch: Batch) -> None:
        """Carry a batch through and tell `settled` of its outcome; a batch never sent is left as it is.

        Raises `FatalError` where Target refuses the token (77) or stays away for too long (69).
        """
        self._never_begun.add(batch.number)
        try:
            settled = await self._carry_through(batch)
        finally:
            self._has_begun(batch)
        if settled is None:
            return
        if settled.failed_ids:
            await self._name_failed_rows(settled)
        self._job.progress.settle(settled)
        log.info(
            "batch_settled",
            batch=batch.number,
            state=settled.state.value,
            confirmed=settled.confirmed,
            failed=settled.failed,
            unconfirmed=settled.unconfirmed,
            why=settled.why,
        )
        await self._settled.send(settled)

    async def _carry_through(self, batch: Batch) -> Settled | None:
        upload = Upload(self._policy)
        has_been_repeated = False
        while True:
            posted = await self._upload(batch, upload)
            if not isinstance(posted, _Posted):
                return posted
            self._job.progress.accepted.add(batch.number)
            try:
                outcome = await self._follow(posted)
            finally:
                self._window.forget(posted.post_number)
            if isinstance(outcome, Complete):
                return self._completed(batch, upload, outcome)
            # Target may still apply this copy, as long as it may apply any late one.
            upload.open_since.append(posted.ended_at)
            if isinstance(outcome, StatusLost):
                return self._ended(batch, upload, BatchState.UNCONFIRMED, outcome.why)
            if has_been_repeated:
                return self._ended(batch, upload, BatchState.UNCONFIRMED, "Target called the batch stuck twice")
            has_been_repeated = True
            log.warning("batch_stuck", batch=batch.number, next="sent once more")

    async def _upload(self, batch: Batch, upload: Upload) -> _Posted | Settled | None:
        """Attempt to get the batch accepted; its outcome if it cannot be, None if it was not to be sent at all."""
        async with self._uploaders:
            while True:
                post_number = await self._window.begin_post()
                if self._is_stopped and not upload.open_since:
                    self._window.forget(post_number)
                    return None
                outcome = await self._attempt(batch)
                now = self._job.clock.monotonic()
                decision = upload.after(
                    outcome,
                    now=now,
                    silent_s=now - self._target.last_sign_of_life,
                    jitter=self._job.clock.random(),
                )
                if isinstance(outcome, Accepted):
                    log.info("batch_accepted", batch=batch.number, rows=batch.rows, bytes=batch.size_bytes)
                    return _Posted(post_number, outcome.status_url, now)
                self._window.forget(post_number)
                if not upload.open_since:
                    self._job.progress.possibly_taken.discard(batch.number)
                log.warning("attempt_failed", batch=batch.number, attempt=upload.attempts, outcome=_told(outcome))
                if isinstance(decision, Stop):
                    return self._given_up(batch, upload, decision, outcome)
                await self._job.clock.sleep(decision.after_s)

    async def _attempt(self, batch: Batch) -> PostOutcome:
        async def before_first_byte() -> None:
            self._job.progress.possibly_taken.add(batch.number)
            self._has_begun(batch)

        return await self._target.post(batch, self._job.spool.body(batch.number), before_first_byte)

    def _has_begun(self, batch: Batch) -> None:
        """The batch is not waiting unsent any more."""
        if batch.number in self._never_begun:
            self._never_begun.discard(batch.number)
            self._unsent.release()

    def _given_up(self, batch: Batch, upload: Upload, stop: Stop, outcome: PostOutcome) -> Settled:
        if stop is Stop.UNAUTHORIZED:
            raise _token_refused(outcome)
        if stop is Stop.UNAVAILABLE and not upload.open_since:
            raise _unavailable(self._policy.give_up_after_s, _told(outcome))
        state = BatchState.UNCONFIRMED if upload.open_since else BatchState.FAILED
        return self._ended(batch, upload, state, _told(outcome))

    async def _follow(self, posted: _Posted) -> Complete | Stuck | StatusLost:
        """Ask for the status until it is final, lost, or `deadline_s` has passed since the batch was accepted."""
        policy, clock = self._job.settings.settle, self._job.clock
        deadline = posted.ended_at + policy.deadline_s
        wait_s = policy.poll_first_s
        refusals = 0
        while (now := clock.monotonic()) < deadline:
            await clock.sleep(min(wait_s, deadline - now))
            outcome = await self._target.status(posted.status_url)
            if isinstance(outcome, Complete | Stuck | StatusLost):
                return outcome
            refusals = refusals + 1 if isinstance(outcome, Unauthorized) else 0
            if refusals > 1:
                raise _token_refused(outcome)
            if clock.monotonic() - self._target.last_sign_of_life >= self._policy.give_up_after_s:
                raise _unavailable(self._policy.give_up_after_s, _told(outcome))
            wait_s = min(2 * wait_s, policy.poll_max_s)
        return StatusLost(f"not complete {policy.deadline_s:,.0f} s after it was accepted")

    def _completed(self, batch: Batch, upload: Upload, complete: Complete) -> Settled:
        rows = count_rows(batch.rows, complete)
        why = None
        if rows.failed or rows.unconfirmed:
            why = f"Target failed {rows.failed} rows and did not consume {rows.unconfirmed}"
        return self._settle(batch, upload, BatchState.COMPLETE, rows, why, complete.failed_ids)

    def _ended(self, batch: Batch, upload: Upload, state: BatchState, why: str) -> Settled:
        """Every row of the batch has the same outcome."""
        is_failed = state is BatchState.FAILED
        rows = RowOutcomes(0, batch.rows if is_failed else 0, 0 if is_failed else batch.rows)
        return self._settle(batch, upload, state, rows, why)

    def _settle(
        self,
        batch: Batch,
        upload: Upload,
        state: BatchState,
        rows: RowOutcomes,
        why: str | None,
        failed_ids: tuple[str, ...] = (),
    ) -> Settled:
        now = self._job.clock.monotonic()
        hold_s = self._job.settings.settle.ambiguous_hold_s
        return Settled(
            batch=batch,
            state=state,
            confirmed=rows.confirmed,
            failed=rows.failed,
            unconfirmed=rows.unconfirmed,
            attempts=upload.attempts,
            release_at=max([now, *(since + hold_s for since in upload.open_since)]),
            may_be_applied=state is not BatchState.FAILED,
            failed_ids=failed_ids,
            why=why,
        )

    async def _name_failed_rows(self, settled: Settled) -> None:
        """Write which rows Target named as failed, with the lines they came from."""
        encoded = {encode(failed_id.encode()): failed_id for failed_id in settled.failed_ids}
        number = settled.batch.number
        lines = await run_sync(self._job.spool.find_lines, number, {*encoded, *_as_sent(settled.failed_ids)})
        rows = [
            FailedRow(failed_id, lines.get(sent, lines.get(failed_id.encode()))) for sent, failed_id in encoded.items()
        ]
        await run_sync(self._job.folder.add_failed, self._job.export.name, number, rows)


def _as_sent(failed_ids: tuple[str, ...]) -> set[bytes]:
    """The ids, should Target name them in the encoded form in which it got them."""
    return {failed_id.encode() for failed_id in failed_ids}


def _told(outcome: object) -> str:
    """An outcome in words."""
    match outcome:
        case Refused(message):
            return f"refused: {message}"
        case Unauthorized(http_status):
            return f"HTTP {http_status}: the token was refused"
    why = getattr(outcome, "why", None)
    return f"{type(outcome).__name__.lower()}: {why}" if why else type(outcome).__name__.lower()


def _token_refused(outcome: object) -> FatalError:
    return FatalError(
        f"Target refuses the token ({_told(outcome)}). Check that the token in [target] token_file is valid "
        "(Administration > Implementation > Profile API) and run again.",
        exit_code=ExitCode.REFUSED_BY_TARGET,
    )


def _unavailable(silent_s: float, last: str) -> FatalError:
    return FatalError(
        f"Target gave no usable answer for {silent_s:,.0f} s, [upload] give_up_after_s (last: {last}). "
        "Check the network and [target] client_code and base_url, then run again.",
        exit_code=ExitCode.TARGET_UNAVAILABLE,
    )
