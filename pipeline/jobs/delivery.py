"""Carries a sealed batch through its life: does what the life asks for next, and writes down what happened.

What is to be done, and what follows from what happened, is decided in `core.batches.lifecycle` and
`core.batches.retry_policy`; here it is done. Every fact is in the ledger before it has consequences, so a new process
goes on where this one ended.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import anyio
import structlog

from pipeline.core.batches.in_flight import Due
from pipeline.core.batches.lifecycle import (
    Begun,
    Fact,
    Failed,
    GivenUp,
    InDoubt,
    Life,
    NotTaken,
    Phase,
    RefusedAs,
    RowRejected,
    SeenStuck,
    SplitUp,
    Taken,
    fold,
    seen_complete,
    settlement,
)
from pipeline.core.batches.refusals import Refusals
from pipeline.core.batches.retry_policy import RetryPolicy, attempt_fact
from pipeline.core.batches.splitting import any_row, first_half
from pipeline.core.errors import ExitCode, FatalError, PipelineError
from pipeline.core.model import Batch, BatchState
from pipeline.core.target.replies import Complete, StatusLost, StatusOutcome, Stuck, Unauthorized
from pipeline.core.target.status_memory import Learned
from pipeline.edges.store.records import BatchRecord
from pipeline.edges.target.endpoint import Target
from pipeline.jobs.job import Job, let_posts_end
from pipeline.jobs.probing import Probing, Verdict
from pipeline.jobs.send_limits import SendLimits

log = structlog.get_logger()

#: POSTs that a job may make more than it has batches, to find the rows that Target refuses. Ours: finding one bad row
#: in 500,000 takes 40, so this finds several, and a hopeless export does not use up Target's calls for hours.
MAX_EXTRA_POSTS = 400

#: An abandoned job does not repeat an attempt that Target may have.
_NOT_REPEATED = GivenUp("abandoned: an attempt without a usable answer was not repeated")

Spawn = Callable[[Batch, Life], None]


class _LeftOutError(Exception):
    """An attempt is not made after all."""


class Courier:
    """Delivers the batches of one job: `deliver` is run once for each, many at a time.

    `target` is set before: rows are read already while the way there is made. `spawn` runs `deliver` for the children
    of a split batch. After `no_more_batches` there are no others than those that were sealed, and their children.
    `job.in_flight` is told what becomes of each.
    """

    def __init__(self, job: Job, limits: SendLimits, refusals: Refusals) -> None:
        upload = job.settings.upload
        self.target: Target
        self.spawn: Spawn = _no_spawn
        self._job = job
        self._window = limits.window.for_job()
        self._status_poller = limits.status_poller
        self._uploaders = limits.uploaders
        self._unsent = limits.unsent
        self._policy = RetryPolicy(
            attempts=upload.attempts,
            backoff_s=upload.backoff_s,
            backoff_max_s=upload.backoff_max_s,
            give_up_after_s=upload.give_up_after_s,
        )
        self._never_begun: set[int] = set()
        # Batches whose acceptance this process saw: how long ago it was is known of no other.
        self._seen_accepted: set[int] = set()
        self._extra_posts = 0
        self._is_stopped = False
        self._has_all = False
        self._trials = Probing(
            refusals,
            job.progress.whole_of,
            is_idle=lambda: not self._is_ending and (self._has_all or job.progress.waiting is not None),
            is_over=lambda: self._is_over,
        )

    def stop_sending(self) -> None:
        """Begin no first attempt any more; what Target may have is followed to its end."""
        self._is_stopped = True
        self._window.stop_looking()

    def no_more_batches(self) -> None:
        """The last batch was sealed."""
        self._has_all = True
        self._stop_looking_at_the_end()

    async def make_room(self) -> None:
        """Wait until one more batch may be sealed; every call is followed by one `deliver`."""
        await self._unsent.acquire()

    async def deliver_new(self, batch: Batch) -> None:
        """Deliver a batch for which `make_room` was called."""
        self._never_begun.add(batch.batch_id)
        try:
            await self.deliver(batch, Life())
        finally:
            self._has_begun(batch)

    async def deliver(self, batch: Batch, life: Life) -> None:
        """Carry a batch on from where it stands, and tell `in_flight` of its outcome; one never sent is left as it is.

        Raises `FatalError` where Target refuses the token or everything (77), or stays away for too long (69).
        """
        async with self.ending_by_errors():
            with self._trials.under_way():
                life = await self._carry_on(batch, life)
            if life.phase is Phase.SETTLED:
                await self._look_again()

    @asynccontextmanager
    async def ending_by_errors(self) -> AsyncIterator[None]:
        """An error from inside will end the job: no other POST begins, and those under way come to their end first."""
        try:
            yield
        except PipelineError as error:
            # Something else may end the job meanwhile: it is told of all the same.
            self._job.progress.ended_by.append(error)
            await let_posts_end(self._job)
            raise

    async def _carry_on(self, batch: Batch, life: Life) -> Life:
        while life.phase is not Phase.SETTLED:
            if life.phase is Phase.REFUSED:
                life = await self._close_in(batch, life)
            elif life.phase is Phase.FOLLOWING:
                life = await self._follow(batch, life)
            else:
                sent = await self._send(batch, life)
                if sent is None:
                    return life
                life = sent
        self._tell(batch, life)
        return life

    async def _send(self, batch: Batch, life: Life) -> Life | None:
        """Attempt to get the batch accepted until its life goes on otherwise; None if it was not to be sent at all."""
        failures = 0
        # What waits for a pause to end is in nobody's way.
        await self._job.until_resumed()
        async with self._trials.turn(batch), self._uploaders:
            while life.phase is Phase.READY:
                given_up = self._policy.giving_up(life)
                if given_up:
                    return await self._record(batch, life, given_up)
                post_number = await self._window.begin_post()
                await self._job.until_resumed()
                if self._is_left_out(life):
                    self._window.forget(post_number)
                    return await self._record(batch, life, _NOT_REPEATED) if life.open_since else None
                life, after_s = await self._attempt(batch, life, post_number, failures)
                failures += 1
                await self._job.clock.sleep(after_s)
        return life

    async def _attempt(self, batch: Batch, life: Life, post_number: int, failures: int) -> tuple[Life, float]:
        """Make one attempt; the life after it, and how long to wait if it is to be sent again."""

        async def before_first_byte() -> None:
            nonlocal life
            if self._is_ending:
                await anyio.sleep_forever()
            if self._is_left_out(life):
                # It was not when this attempt began to wait for its turn.
                raise _LeftOutError
            self._job.progress.posting.add(batch.batch_id)
            life = await self._record(batch, life, Begun(post_number))
            self._job.progress.possibly_taken.add(batch.batch_id)
            self._has_begun(batch)

        body = self._job.spool.body(batch.batch_id)
        try:
            outcome = await self.target.post(batch, body, before_first_byte, until_ready=self._job.until_resumed)
            fact = attempt_fact(outcome)
            if isinstance(fact, RefusedAs):
                fact = replace(fact, message=await self._discreet(batch, fact.message))
            life = await self._record(batch, life, fact)
        except _LeftOutError:
            self._window.forget(post_number)
            return life, 0.0
        finally:
            self._job.progress.posting.discard(batch.batch_id)
        if isinstance(fact, Taken):
            self._trials.note_accepted(batch)
            self._window.note_accepted(post_number, self._job.clock.utc_now())
            self._seen_accepted.add(batch.batch_id)
            self._job.progress.accepted.add(batch.batch_id)
            log.info(
                "batch_accepted",
                batch=batch.number,
                attempt=life.attempts,
                rows=batch.rows,
                bytes=batch.size_bytes,
            )
            return life, 0.0
        self._window.forget(post_number)
        if not life.may_be_applied:
            self._job.progress.possibly_taken.discard(batch.batch_id)
        log.warning("attempt_failed", batch=batch.number, attempt=life.attempts, outcome=_told(fact))
        if isinstance(outcome, Unauthorized) and outcome.is_final:
            raise _token_refused(outcome)
        if isinstance(fact, RefusedAs):
            self._trials.note_refused(batch, fact.message)
        if isinstance(fact, NotTaken):
            self._check_availability(fact)
        is_over = life.phase is not Phase.READY or self._policy.giving_up(life) is not None
        return life, 0.0 if is_over else self._policy.wait_s(failures + 1, self._job.clock.random())

    @property
    def _is_over(self) -> bool:
        """Whether the job sends nothing more that Target cannot have."""
        return self._is_stopped or self._job.progress.is_abandoned

    @property
    def _is_ending(self) -> bool:
        """Whether an error is about to end the job."""
        return bool(self._job.progress.ended_by)

    def _is_left_out(self, life: Life) -> bool:
        """Whether a batch is not to be sent, or not once more."""
        return self._is_over and (not life.open_since or self._job.progress.is_abandoned)

    def _check_availability(self, fact: NotTaken) -> None:
        if self.target.silent_s >= self._policy.give_up_after_s:
            raise _unavailable(self._policy.give_up_after_s, fact.why)

    async def _follow(self, batch: Batch, life: Life) -> Life:
        """Ask for the status until it is final, lost, or `deadline_s` has passed since the batch was accepted."""

        async def ask() -> StatusOutcome:
            outcome = await self.target.status(life.status_url)
            if self.target.silent_s >= self._policy.give_up_after_s:
                raise _unavailable(self._policy.give_up_after_s, "no status")
            return outcome

        is_age_known = batch.batch_id in self._seen_accepted
        outcome = await self._status_poller.follow(life.posted_at, ask, is_age_known=is_age_known)
        match outcome:
            case Complete():
                if life.post_number is not None:
                    self._window.note_complete(life.post_number, life.status_url)
                return await self._seen(batch, life, seen_complete(batch.rows, outcome))
            case Stuck():
                log.warning("batch_stuck", batch=batch.number, attempt=life.attempts)
                return await self._seen(batch, life, SeenStuck())
            case StatusLost(why):
                now = self._job.clock.utc_now()
                await self._remember(self._window.note_lost(now - await self._accepted_at(batch), now))
                return await self._seen(batch, life, GivenUp(await self._discreet(batch, why)))
            case Unauthorized():
                raise _token_refused(outcome)
        why = f"not complete {self._job.settings.settle.deadline_s:,.0f} s after it was accepted"
        return await self._seen(batch, life, GivenUp(why))

    async def _discreet(self, batch: Batch, message: str) -> str:
        """What Target says of a batch, so that it can be logged and reported."""
        return await self._job.host.run_blocking(self._job.spool.discreet, batch.batch_id, message)

    async def _look_again(self) -> None:
        """Look at a batch that is settled, as long as others are to come, to learn how many statuses Target keeps."""
        if not self._is_all_settled:
            await self._remember(await self._window.look_again(self.target.status, self._job.clock.utc_now))

    def _stop_looking_at_the_end(self) -> None:
        if self._has_all and self._is_all_settled:
            self._window.stop_looking()

    @property
    def _is_all_settled(self) -> bool:
        return len(self._job.progress.settled) == len(self._job.progress.sealed)

    async def _accepted_at(self, batch: Batch) -> datetime:
        """When an accepted batch was, whichever process saw it."""
        record = await self._job.state.in_turn(self._job.state.ledger.batch, batch.batch_id)
        return (record.accepted_at if record else None) or self._job.clock.utc_now()

    async def _remember(self, learned: Learned | None) -> None:
        if learned:
            log.info("status_window_learned", size=learned.size, more_failed=learned.failed_at is not None)
            await self._job.state.in_turn(self._job.state.ledger.remember_statuses, learned)

    async def _seen(self, batch: Batch, life: Life, fact: Fact) -> Life:
        """Record what a status said; the status need not be kept for us any more."""
        post_number = life.post_number
        life = await self._record(batch, life, fact)
        if post_number is not None:
            self._window.forget(post_number)
        return life

    async def _close_in(self, batch: Batch, life: Life) -> Life:
        """A batch was refused: split it to find the rows that Target will not take, as long as that is sensible."""
        message = life.last.message if isinstance(life.last, RefusedAs) else ""
        if batch.rows > 1 and self._extra_posts + 2 <= MAX_EXTRA_POSTS and not self._is_over:
            self._extra_posts += 2
            with self._trials.splitting():
                return await self._split(batch, life)
        verdict = await self._trials.verdict(batch, message)
        if verdict is Verdict.TRY_AGAIN:
            return replace(life, phase=Phase.READY)
        is_row = verdict is Verdict.GUILTY and batch.rows == 1
        fact = await self._only_row(batch, message) if is_row else Failed(f"refused: {message}")
        return await self._record(batch, life, fact)

    async def _only_row(self, batch: Batch, message: str) -> RowRejected:
        """The fact that rejects the one row of a batch."""
        state, spool = self._job.state, self._job.spool
        lines = await state.in_turn(spool.lines, batch.batch_id)
        rows = await state.in_turn(lambda: [row for _, _, row in spool.rows(batch.batch_id)])
        return RowRejected(message, int(lines[0]), rows[0].decode("ascii").rstrip("\n"))

    async def _split(self, batch: Batch, life: Life) -> Life:
        job, ledger, spool = self._job, self._job.state.ledger, self._job.spool
        taken = any_row(batch.rows, batch.number) if self._trials.needs_probe(batch) else first_half(batch.rows)
        contents = await job.state.in_turn(spool.split, batch.batch_id, ledger.salt, taken)
        children = []
        for content in contents:
            number = job.progress.allot_number()
            batch_id = ledger.allot_batch_id()
            child = await job.state.write(batch_id, number, content, parent=batch.batch_id)
            children.append(child)
        log.info("batch_split", batch=batch.number, into=[child.number for child in children])
        await job.state.in_turn(ledger.split, batch, (children[0], children[1]))
        # Mapped from the files, so that they take no memory of their own.
        hashes = {child.batch_id: await job.state.in_turn(spool.hashes, child.batch_id) for child in children}
        job.in_flight.split(batch.batch_id, hashes)
        life = fold(life, SplitUp((children[0].batch_id, children[1].batch_id)), job.clock.monotonic())
        await job.state.in_turn(spool.remove, batch.batch_id)
        for child in children:
            job.progress.sealed[child.batch_id] = child
            if life.open_since:
                job.progress.possibly_taken.add(child.batch_id)
            self.spawn(child, Life(open_since=life.open_since))
        return life

    def _tell(self, batch: Batch, life: Life) -> None:
        """The batch is settled: count its rows, name those that failed, and let its ids go as soon as they may."""
        job = self._job
        now = job.clock.monotonic()
        settled = settlement(batch, life, now=now, hold_s=job.settings.settle.ambiguous_hold_s)
        job.state.note_lost(BatchRecord(batch, job.record.seq, (life.last,) if life.last else ()))
        job.progress.settled[batch.batch_id] = settled
        log.info(
            "batch_settled",
            batch=batch.number,
            attempt=life.attempts,
            state=settled.state.value,
            confirmed=settled.confirmed,
            failed=settled.failed,
            unconfirmed=settled.unconfirmed,
            why=settled.why,
        )
        if settled.state is not BatchState.SPLIT:
            job.in_flight.settle(Due(settled.release_at, batch.batch_id, settled.may_be_applied, settled.failed_ids))
        self._stop_looking_at_the_end()

    async def _record(self, batch: Batch, life: Life, fact: Fact) -> Life:
        """Write a fact down, and then let it count."""
        await self._job.state.in_turn(self._job.state.ledger.add_fact, batch.batch_id, fact)
        return fold(life, fact, self._job.clock.monotonic())

    def _has_begun(self, batch: Batch) -> None:
        """The batch is not waiting unsent any more."""
        if batch.batch_id in self._never_begun:
            self._never_begun.discard(batch.batch_id)
            self._unsent.release()


def _no_spawn(batch: Batch, life: Life) -> None:
    raise NotImplementedError("spawn is set before anything is delivered")


def _told(fact: Fact) -> str:
    """What came of an attempt, in words."""
    match fact:
        case InDoubt(why):
            return f"ambiguous: {why}"
        case NotTaken(why):
            return f"not taken: {why}"
        case RefusedAs(message):
            return f"refused: {message}"
    return type(fact).__name__


def _token_refused(outcome: Unauthorized) -> FatalError:
    return FatalError(
        f"Target refuses the token (HTTP {outcome.http_status}). Check that the token in [target] token_file is valid "
        "(Administration > Implementation > Profile API) and run again.",
        exit_code=ExitCode.REFUSED_BY_TARGET,
    )


def _unavailable(silent_s: float, last: str) -> FatalError:
    return FatalError(
        f"Target gave no usable answer for {silent_s:,.0f} s, [upload] give_up_after_s (last: {last}). "
        "Check the network and [target] client_code and base_url, then run again.",
        exit_code=ExitCode.TARGET_UNAVAILABLE,
    )
