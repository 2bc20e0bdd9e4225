"""Carries a sealed batch through its life: does its next step, and writes down what happened.

`core.batches.retry_policy` decides the next step, `core.batches.lifecycle` what follows from a fact; here the step is
done. Every fact is in the ledger before it has consequences, so a new process goes on where this one ended.
"""

from datetime import datetime
from typing import Literal

import anyio
import structlog
from anyio.abc import TaskGroup

from pipeline.core.batches.book import seen_complete
from pipeline.core.batches.fact_codec import fact_kind
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
    Taken,
)
from pipeline.core.batches.refusals import Refusals
from pipeline.core.batches.retry_policy import (
    Attempt,
    Done,
    EndStage,
    Follow,
    Leave,
    Narrow,
    Next,
    Record,
    attempt_fact,
    next_step,
)
from pipeline.core.batches.splitting import first_half
from pipeline.core.errors import ExitCode, FatalError, PipelineError, UnexpectedError
from pipeline.core.model import Batch, BatchState
from pipeline.core.rows.encoding import encoded_forms
from pipeline.core.target.messages import is_empty_batch
from pipeline.core.target.outcome_names import POST_OUTCOMES, STATUS_OUTCOMES
from pipeline.core.target.replies import (
    Ambiguous,
    Complete,
    PostOutcome,
    Refused,
    StatusLost,
    StatusOutcome,
    Stuck,
    Unauthorized,
    Uncounted,
    WrongAddress,
)
from pipeline.core.target.status_memory import Learned
from pipeline.edges.store.job_rows.sent_ids import note_sent
from pipeline.edges.store.records import BatchRecord
from pipeline.edges.store.state import life_of
from pipeline.edges.target.endpoint import Target
from pipeline.edges.traces.of_jobs import attempt_span, batch_span, note_answer, note_outcome
from pipeline.jobs.delivery.probing import Probing, Verdict
from pipeline.jobs.delivery.send_gate import Passage, SendGate
from pipeline.jobs.delivery.send_limits import SendLimits
from pipeline.jobs.ending import tell_unexpected
from pipeline.jobs.job import Job, retry_policy_of

log = structlog.get_logger()

#: Extra POSTs that a job may make to find the rows that Target refuses. Ours: finding one bad row in 500,000 takes 40,
#: so this finds several, and a hopeless export does not use up Target's calls for hours.
MAX_EXTRA_POSTS = 400
_NOT_READ = "its body did not arrive as one parameter, which is an error of this program or of a proxy on the way"


class Courier:
    """Delivers the batches of one job: `deliver` runs once for each, many at a time.

    The children of a split batch are delivered in `tasks`. `job.in_flight` is told the outcome of each batch.
    """

    def __init__(self, job: Job, limits: SendLimits, refusals: Refusals, target: Target, tasks: TaskGroup) -> None:
        self._job = job
        self._book = job.progress.book
        self._limits = limits
        self._target = target
        self._traces = job.host.traces
        self._tasks = tasks
        self._policy = retry_policy_of(job.settings.upload)
        self._probing = Probing(refusals, job.progress, job.ending)
        self._gate = SendGate(job, limits, self._probing, target)
        self._never_begun: set[int] = set()
        # Batches whose acceptance this process saw: of others it is not known how long ago that was.
        self._seen_accepted: set[int] = set()
        self._extra_posts = 0
        # Those that nothing is left to be done for.
        self._settled: set[int] = set()

    async def deliver_new(self, batch: Batch) -> None:
        """Deliver a batch that was just sealed. It holds a permit of `limits.unsent` until its first POST."""
        self._never_begun.add(batch.batch_id)
        try:
            await self.deliver(batch)
        finally:
            self._has_begun(batch)

    async def deliver(self, batch: Batch) -> None:
        """Carry a batch on from where it stands until it is settled, or until the end of the job leaves it as it is.

        An error ends the job: Target refuses the token or everything (77), or gives no answer for too long (69). One
        that nobody expected is the batch's alone: it is unconfirmed then, and all others go on.
        """
        with self._job.ending.by_errors():
            try:
                if await self._carry_on_traced(batch):
                    await self._look_again()
            except PipelineError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, other batches are not concerned
                await self._give_up(batch, tell_unexpected(error))

    async def _give_up(self, batch: Batch, bug: UnexpectedError) -> None:
        """Settle a batch that met a bug as unconfirmed; a settled one is as it was.

        Raises the bug, so that its job is set aside, where the ledger does not have of the batch what this process
        takes for true.
        """
        batch_id, ledger = batch.batch_id, self._job.state.ledger
        record, life = await self._job.state.in_turn(ledger.batch, batch_id), self._book.life(batch_id)
        if record is None or not _is_as_written(life, await self._job.state.in_turn(life_of, ledger, record)):
            raise bug
        if batch_id in self._settled:
            return
        if life.phase is Phase.SETTLED:
            raise bug
        if life.phase is Phase.POSTING:
            await self._record(batch, InDoubt(str(bug)))
        await self._record(batch, GivenUp(str(bug)))
        if life.post_number is not None:
            self._limits.window.forget(life.post_number)
        self._note_settled(batch)

    async def _carry_on_traced(self, batch: Batch) -> bool:
        with batch_span(self._traces, self._job.record.job_id, batch) as span:
            try:
                return await self._carry_on(batch)
            finally:
                note_outcome(span, self._book.outcome(batch.batch_id))

    async def _carry_on(self, batch: Batch) -> bool:
        """Do one step after the other. True if the batch is settled, False if it is left as it is."""
        while True:
            match self._next_step(batch):
                case Attempt():
                    await self._send(batch)
                case Follow():
                    await self._follow(batch)
                case Narrow():
                    await self._narrow(batch)
                case Record(fact):
                    await self._record(batch, fact)
                case Leave() if self._job.ending.is_due:
                    # This task is cancelled with all others of the job, see `load`.
                    await anyio.sleep_forever()
                case Leave():
                    return False
                case Done():
                    self._note_settled(batch)
                    return True

    def _next_step(self, batch: Batch) -> Next:
        return next_step(self._book.life(batch.batch_id), self._policy, self._job.ending.stage)

    async def _send(self, batch: Batch) -> None:
        """POST the batch, again and again with growing waits, as long as that is its next step."""
        failures, changed = 0, self._job.ending.changed
        async with self._gate.slot(batch):
            while isinstance(self._next_step(batch), Attempt):
                async with self._gate.passage(batch) as passage:
                    if passage is not None and isinstance(self._next_step(batch), Attempt):
                        await self._attempt(batch, passage)
                        failures += 1
                wait_s = self._policy.wait_s(failures, self._job.clock.random())
                await changed.until(lambda: not isinstance(self._next_step(batch), Attempt), within_s=wait_s)

    async def _attempt(self, batch: Batch, passage: Passage) -> None:
        """Make one attempt, and record its outcome."""
        life = await self._record(batch, Begun(passage.post_number))
        self._has_begun(batch)
        begun_at, counts = self._job.clock.monotonic(), self._job.counts
        with attempt_span(self._traces, self._job.record.job_id, batch, life.attempts + 1) as span:
            outcome = await passage.send()
            counts.posts[POST_OUTCOMES[type(outcome)]] += 1
            fact = attempt_fact(outcome)
            note_answer(span, fact)
        if isinstance(outcome, Refused):
            await self._keep(batch, "POST", outcome.said)
        life = await self._record(batch, fact)
        if isinstance(fact, Taken):
            passage.is_accepted = True
            counts.posted_bytes += batch.size_bytes
            counts.upload_s.note(self._job.clock.monotonic() - begun_at)
            self._note_accepted(batch, life, passage.post_number)
            return
        log.warning("attempt_failed", batch=batch.number, attempt=life.attempts, outcome=_told(fact))
        self._check_outcome(outcome, fact)
        if isinstance(fact, RefusedAs) and is_empty_batch(fact.message):
            log.error("batch_refused_as_empty", batch=batch.number, rows=batch.rows, bytes=batch.size_bytes)
        elif isinstance(fact, RefusedAs):
            self._probing.note_refused(batch, fact.message)

    def _note_accepted(self, batch: Batch, life: Life, post_number: int) -> None:
        self._probing.note_accepted(batch)
        self._limits.window.note_accepted(post_number, self._job.clock.utc_now())
        self._seen_accepted.add(batch.batch_id)
        log.info("batch_accepted", batch=batch.number, attempt=life.attempts, rows=batch.rows, bytes=batch.size_bytes)

    def _check_outcome(self, outcome: PostOutcome, fact: Fact) -> None:
        """Raise `FatalError` if Target refuses the token for good (77), or gave no answer for too long (69)."""
        if isinstance(outcome, Unauthorized) and outcome.is_final:
            raise _token_refused(outcome)
        if isinstance(outcome, WrongAddress):
            self._probing.check_address(f"HTTP {outcome.http_status}")
        if isinstance(outcome, Ambiguous) and outcome.is_page:
            self._probing.check_address(outcome.why)
        if isinstance(fact, NotTaken):
            self._check_availability(fact.why)

    def _check_availability(self, last: str) -> None:
        if self._target.silent_s >= self._policy.give_up_after_s:
            raise _unavailable(self._policy.give_up_after_s, last)

    async def _follow(self, batch: Batch) -> None:
        """Ask for the status until it is final, lost, or `deadline_s` has passed since the batch was accepted."""
        life, window = self._book.life(batch.batch_id), self._limits.window

        async def ask() -> StatusOutcome:
            outcome = await self._ask_status(life.status_url)
            self._check_availability("no status")
            return outcome

        is_age_known = batch.batch_id in self._seen_accepted
        outcome = await self._limits.poller.follow(life.posted_at, ask, is_age_known=is_age_known)
        match outcome:
            case Complete():
                if is_age_known:
                    self._job.counts.completion_s.note(self._job.clock.monotonic() - life.posted_at)
                if life.post_number is not None:
                    window.note_complete(life.post_number, life.status_url)
                fact: Fact = await self._judged(batch, outcome)
            case Stuck():
                log.warning("batch_stuck", batch=batch.number, attempt=life.attempts)
                fact = SeenStuck()
            case StatusLost(why, said=said):
                now = self._job.clock.utc_now()
                await self._remember(window.note_lost(now - await self._accepted_at(batch), now))
                await self._keep(batch, "GET", said)
                fact = GivenUp(why)
            case Unauthorized():
                raise _token_refused(outcome)
            case Uncounted(why):
                log.error("counts_not_readable", batch=batch.number, rows=batch.rows, why=why)
                fact = GivenUp(why)
            case _:
                fact = GivenUp(f"not complete {self._limits.poller.deadline_s:,.0f} s after it was accepted")
        await self._record(batch, fact)
        if life.post_number is not None:
            # Target need not keep this status any more: it leaves the status window.
            window.forget(life.post_number)

    async def _ask_status(self, status_url: str) -> StatusOutcome:
        outcome = await self._target.status(status_url)
        self._job.counts.statuses[STATUS_OUTCOMES[type(outcome)]] += 1
        return outcome

    async def _judged(self, batch: Batch, complete: Complete) -> Fact:
        """The fact that follows from a batch's `complete`; logs an error if other rows were read than were sent."""
        named = encoded_forms(complete.failed_ids + complete.unknown_ids)
        found = await self._job.state.in_turn(self._rows_of, batch, named) if named else frozenset[bytes]()
        fact = seen_complete(batch.rows, complete, found)
        if fact.batch_size is not None:
            log.error("batch_size_differs", batch=batch.number, rows=batch.rows, batch_size=fact.batch_size)
        return fact

    def _rows_of(self, batch: Batch, encoded_ids: set[bytes]) -> frozenset[bytes]:
        """Those of the encoded ids that are in the batch. Blocks."""
        salt = self._job.state.ledger.salt
        return frozenset(self._job.spool.find_rows(batch.batch_id, encoded_ids, salt))

    async def _keep(self, batch: Batch, call: Literal["POST", "GET"], said: str) -> None:
        """Keep a text of Target's, if there is one, in the job's folder: what is told of it does not quote it.

        A disk that refuses must not cost the answer itself, so it is only logged.
        """
        if not said:
            return
        why: str | None = "the file is full"
        try:
            now, folder = self._job.clock.utc_now(), self._job.folder
            if await self._job.host.run_blocking(folder.add_answer, batch.number, call, said, now):
                why = None
        except FatalError as error:
            why = str(error)
        if why:
            log.warning("answer_not_kept", batch=batch.number, call=call, why=why)

    async def _look_again(self) -> None:
        """Ask once more for the status of a settled batch while others are to come: learns how many Target keeps."""
        progress, learned = self._job.progress, None

        def no_other_comes() -> bool:
            is_over = self._job.ending.stage >= EndStage.NO_FIRST_ATTEMPTS
            return is_over or (progress.is_all_sealed and progress.book.is_all_settled)

        if not progress.book.is_all_settled and not no_other_comes():
            with self._job.ending.changed.unless(no_other_comes):
                learned = await self._limits.window.look_again(self._ask_status, self._job.clock.utc_now)
        await self._remember(learned)

    async def _accepted_at(self, batch: Batch) -> datetime:
        """The time at which a batch was accepted, by the ledger; now, if it does not know."""
        record = await self._job.state.in_turn(self._job.state.ledger.batch, batch.batch_id)
        return (record.accepted_at if record else None) or self._job.clock.utc_now()

    async def _remember(self, learned: Learned | None) -> None:
        if learned:
            log.info("status_window_learned", size=learned.size, more_failed=learned.failed_at is not None)
            await self._job.state.in_turn(self._job.state.ledger.remember_statuses, learned)

    async def _narrow(self, batch: Batch) -> None:
        """Find the rows for which a batch was refused: split it while `MAX_EXTRA_POSTS` allows, or judge it whole."""
        life = self._book.life(batch.batch_id)
        message = life.last.message if isinstance(life.last, RefusedAs) else ""
        is_over = self._job.ending.stage >= EndStage.NO_FIRST_ATTEMPTS
        if life.is_refused_as_empty and (batch.rows == 1 or batch.parent is not None):
            await self._record(batch, Failed(f"refused: {message}; {_NOT_READ}"))
            return
        if batch.rows > 1 and self._extra_posts + 2 <= MAX_EXTRA_POSTS and not is_over:
            self._extra_posts += 2
            with self._probing.splitting():
                await self._split(batch)
            return
        verdict = await self._probing.verdict(batch, message)
        if verdict is Verdict.TRY_AGAIN:
            self._book.try_again(batch.batch_id)
            return
        is_row = verdict is Verdict.GUILTY and batch.rows == 1
        await self._record(batch, await self._only_row(batch, message) if is_row else Failed(f"refused: {message}"))

    async def _only_row(self, batch: Batch, message: str) -> RowRejected:
        """The fact that rejects the only row of a batch."""
        state, spool = self._job.state, self._job.spool
        lines = await state.in_turn(spool.lines, batch.batch_id)
        rows = await state.in_turn(lambda: [row for _, _, row in spool.rows(batch.batch_id)])
        return RowRejected(message, int(lines[0]), rows[0].decode("ascii").rstrip("\n"))

    async def _split(self, batch: Batch) -> None:
        job, ledger, spool = self._job, self._job.state.ledger, self._job.spool
        is_empty = self._book.life(batch.batch_id).is_refused_as_empty
        taken = first_half(batch.rows) if is_empty else self._probing.probed_rows(batch)
        contents = await job.state.in_turn(spool.split, batch.batch_id, ledger.salt, taken)
        written = []
        for content in contents:
            number = job.progress.allot_number()
            batch_id = ledger.allot_batch_id()
            await job.host.run_blocking(note_sent, job.folder.sent / str(batch_id), content)
            written.append(await job.state.write(batch_id, number, content, parent=batch.batch_id))
        children = written[0], written[1]
        log.info("batch_split", batch=batch.number, into=[child.number for child in children])
        await job.state.in_turn(ledger.split, batch, children)
        # Mapped from the files, so that they take no memory of their own.
        hashes = {child.batch_id: await job.state.in_turn(spool.hashes, child.batch_id) for child in children}
        job.in_flight.split(batch.batch_id, hashes)
        self._book.split(batch.batch_id, children, now=job.clock.monotonic())
        await job.state.in_turn(spool.remove, batch.batch_id)
        for child in children:
            self._tasks.start_soon(self.deliver, child)

    def _note_settled(self, batch: Batch) -> None:
        """Log the outcome of a settled batch, note its lost rows, and say when its ids may be released."""
        job, life, settled = self._job, self._book.life(batch.batch_id), self._book.outcome(batch.batch_id)
        if settled is None:
            raise FatalError(f"batch {batch.batch_id} is settled without an outcome: a bug, please report it.")
        job.state.note_lost(BatchRecord(batch, job.record.seq, (life.last,) if life.last else ()))
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
        job.counts.settled[settled.state.value] += 1
        self._settled.add(batch.batch_id)
        job.ending.changed.tell()

    async def _record(self, batch: Batch, fact: Fact) -> Life:
        """Write a fact to the ledger, then enter it in the book. Raises `IllegalFactError` before either."""
        job = self._job
        self._book.check(batch.batch_id, fact)
        await job.state.in_turn(job.state.ledger.add_fact, batch.batch_id, fact)
        # For the next seal, which keeps it.
        job.progress.calls_of_run = self._target.calls_made
        return self._book.record(batch.batch_id, fact, now=job.clock.monotonic(), hold_s=self._limits.hold_s)

    def _has_begun(self, batch: Batch) -> None:
        """Give back the batch's permit of `limits.unsent`, once."""
        if batch.batch_id in self._never_begun:
            self._never_begun.discard(batch.batch_id)
            self._limits.unsent.release()


def _is_as_written(life: Life, written: Life) -> bool:
    """True if a batch stands as its facts in the ledger say; `try_again` is no fact."""
    return (life.last, life.phase is Phase.POSTING) == (written.last, written.phase is Phase.POSTING)


def _told(fact: Fact) -> str:
    """The outcome of an attempt, in words."""
    match fact:
        case InDoubt(why):
            return f"ambiguous: {why}"
        case NotTaken(why):
            return f"not taken: {why}"
        case RefusedAs(message):
            return f"refused: {message}"
    return fact_kind(fact)


def _token_refused(outcome: Unauthorized) -> FatalError:
    if not outcome.had_token:
        return FatalError(
            f"Target requires authentication (HTTP {outcome.http_status}), and no token is set. Put one "
            "(Administration > Implementation > Profile API) into a file, set [target] token_file to it, run again.",
            exit_code=ExitCode.REFUSED_BY_TARGET,
        )
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
