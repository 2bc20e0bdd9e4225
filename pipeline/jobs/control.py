"""Requests to the process that holds the state directory: pause, resume, abandon, approve, retry and others.

The holder carries a request out and answers it in words. Where nobody holds the directory, the command that asks
carries it out itself, with the same functions.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import structlog
from anyio import CancelScope
from anyio.to_thread import run_sync

from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.errors import ExitCode, FatalError, PipelineError
from pipeline.edges.changed import Changed
from pipeline.edges.clock import Clock
from pipeline.edges.lock import holder
from pipeline.edges.store.mailbox import Answer, Mailbox, Request
from pipeline.edges.store.state import State
from pipeline.jobs.ending import tell_unexpected
from pipeline.jobs.forgetting import forget
from pipeline.jobs.gathering.guard import approve
from pipeline.jobs.gathering.memory_upkeep import rebuild_memory
from pipeline.jobs.job import Job, unknown_job
from pipeline.jobs.retries.lost_rows import begin_retry
from pipeline.jobs.retries.mended_rows import begin_mended

log = structlog.get_logger()

#: How often the holder looks for requests (seconds).
LOOK_EVERY_S = 0.5
#: How long a command waits for its answer (seconds).
ANSWER_WITHIN_S = 15.0
#: Age at which an answer that nobody fetched is removed (seconds). Who still waits for one looks ten times a second.
ANSWERS_KEPT_S = 3_600.0

#: Returns the jobs that run at the moment.
Running = Callable[[], Iterable[Job]]

#: The command of the request to let a job in quarantine go on.
APPROVE = "approve"
#: The command of the request to load mended rows; a process of an earlier version does not know it, and says so.
RETRY_REJECTS = "retry_rejects"
#: The command of the request to empty the memory.
REBUILD_MEMORY = "memory_rebuild"
#: The command of the request to erase ids; the answer is the file of the receipt, as a path in the state directory.
FORGET = "forget"

_NOT_KNOWN = (
    "the process that took the request on ended before it answered: whether it was carried out is not known, see "
    "`status`, and ask again if it was not."
)


async def ask_holder(
    directory: Path,
    command: str,
    job: str | None,
    clock: Clock,
    given: Iterable[bytes] | None = None,
    *,
    by: str = "",
) -> str:
    """Ask the process that holds the state directory, and return what it did, in words. `by`: who asks.

    Raises `PipelineError` if it answers with an error, or (75) if it does not take the request on within
    `ANSWER_WITHIN_S`, or ends before it answers.
    """
    mailbox = await run_sync(Mailbox, directory)
    request_id = await run_sync(partial(mailbox.ask, command, job, given, by=by))
    asked_at = clock.monotonic()
    while (answer := await run_sync(mailbox.take_answer, request_id)) is None:
        if clock.monotonic() - asked_at > ANSWER_WITHIN_S:
            await run_sync(_check_is_coming, mailbox, request_id, directory)
        await clock.sleep(0.1)
    if answer.exit_code is not None:
        raise PipelineError(answer.told, exit_code=answer.exit_code)
    return answer.told


def _check_is_coming(mailbox: Mailbox, request_id: str, directory: Path) -> None:
    """Raise `PipelineError` (75) unless the request was taken on, and is answered or may still be."""
    if mailbox.withdraw(request_id):
        raise PipelineError(
            "the process that holds the state directory does not answer; nothing was changed.",
            exit_code=ExitCode.UNFINISHED,
        )
    # The holder first: it may answer and then end.
    if holder(directory) is None and not mailbox.is_answered(request_id):
        mailbox.forget(request_id)
        raise PipelineError(_NOT_KNOWN, exit_code=ExitCode.UNFINISHED)


async def answer_requests(state: State, running: Running, changed: Changed) -> None:
    """Carry requests out until cancelled, and tell `changed` of each. `running` returns the jobs that run.

    At each look the state directory is looked at too: raises `FatalError` (73, 74) if it is not held any more.
    """
    mailbox = await state.in_turn(Mailbox, state.directory)
    # Answers that a full disk kept from being written are written when there is room.
    unanswered: list[tuple[Request, Answer]] = [*await state.in_turn(_left_by_another, mailbox, state.host.clock)]
    late: set[Request] = set()
    while True:
        for request in await state.in_turn(_requests, state, mailbox):
            # A request that is taken on is answered, even if this task is cancelled meanwhile.
            with CancelScope(shield=True):
                if await state.in_turn(mailbox.take_on, request):
                    unanswered.append((request, await _answer_to(request, state, running)))
                    changed.tell()
                    await _answer_all(unanswered, late, state, mailbox)
        await _answer_all(unanswered, late, state, mailbox)
        await state.host.clock.sleep(LOOK_EVERY_S)


def _requests(state: State, mailbox: Mailbox) -> list[Request]:
    state.held.check()
    return mailbox.requests()


async def _answer_all(
    unanswered: list[tuple[Request, Answer]], late: set[Request], state: State, mailbox: Mailbox
) -> None:
    """Write answers in order, up to the first that fails; the rest stays listed. `late`: requests already logged."""
    for request, answer in [*unanswered]:
        try:
            await state.in_turn(mailbox.answer, request, answer)
        except FatalError as error:
            if request not in late:
                log.warning("request_not_answered", command=request.command, job=request.job, why=str(error))
                late.add(request)
            return
        unanswered.remove((request, answer))


async def _answer_to(request: Request, state: State, running: Running) -> Answer:
    """Carry a request out, and return the answer to it."""
    try:
        told = await carry_out(request, state, running=running)
        answer = Answer(told)
    except PipelineError as error:
        answer = Answer(str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - whoever asked is told, and it is not carried out once more
        answer = Answer(str(tell_unexpected(error)), ExitCode.OUR_BUG)
    log.info("request_answered", command=request.command, job=request.job, ok=answer.exit_code is None)
    return answer


def _left_by_another(mailbox: Mailbox, clock: Clock) -> list[tuple[Request, Answer]]:
    """Requests that an ended process took on, with the answers they get. Removes old answers that nobody fetched."""
    mailbox.remove_answers(before_s=clock.utc_now().timestamp() - ANSWERS_KEPT_S)
    answer = Answer(_NOT_KNOWN, ExitCode.UNFINISHED)
    return [(request, answer) for request in mailbox.taken()]


async def carry_out(request: Request, state: State, *, running: Running | None) -> str:
    """Carry a request out, and return what was done, in words.

    `running` gives the jobs that run at the moment; None where none can. Raises `PipelineError` (64) for a request or
    job that is unknown, and for one that the state of its job forbids.
    """
    if request.command in ("pause", "resume"):
        is_paused = request.command == "pause"
        await state.in_turn(state.ledger.pause, is_paused=is_paused)
        state.is_paused = is_paused
        return "nothing more is sent until `resume`; statuses are still followed" if is_paused else "sending goes on"
    if request.command == "abandon":
        return await _abandon(request, state, running)
    if request.command == APPROVE:
        by_whom = "" if running else ", with the next `load` or `serve`"
        return f"{await approve(state, request.job or '', request.by)}{by_whom}"
    if request.command == RETRY_REJECTS and request.given is not None:
        return (await begin_mended(state, request.job or "", request.given)).told
    if request.command == "retry":
        return (await begin_retry(state, request.job or "")).told
    if request.command == REBUILD_MEMORY:
        return await rebuild_memory(state, is_at_work=lambda: running is not None and any(True for _ in running()))
    if request.command == FORGET and request.given is not None:
        return (await forget(state, request.given)).relative_to(state.directory).as_posix()
    raise PipelineError(f"unknown request {request.command!r}", exit_code=ExitCode.USAGE)


async def _abandon(request: Request, state: State, running: Running | None) -> str:
    job_id = request.job or ""
    record = await state.in_turn(state.ledger.job, job_id)
    if record is None:
        raise unknown_job(job_id)
    if record.state is not None:
        raise PipelineError(f"job {job_id} has ended already: {record.state}.", exit_code=ExitCode.USAGE)
    await state.in_turn(state.ledger.abandon_job, job_id)
    # Only after the ledger has it: a job that begins from now on reads it there.
    for job in running() if running else ():
        if job.record.job_id == job_id:
            job.ending.raise_to(EndStage.NO_ATTEMPTS)
    by_whom = "" if running else " with the next `load` or `serve`"
    return f"job {job_id} ends{by_whom}: what was sent is followed to its end, the rest is not sent"
