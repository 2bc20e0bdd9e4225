"""What people may ask for while a process holds the state directory: pause, resume, abandon, retry.

The holder carries a request out and answers it in words. Where nobody holds the directory, the command that asks
does it itself, with the very same functions.
"""

from collections.abc import Callable, Iterable
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
from pipeline.jobs.job import Job, unknown_job
from pipeline.jobs.resend import begin_retry

log = structlog.get_logger()

#: How often the holder looks for requests (seconds).
LOOK_EVERY_S = 0.5
#: How long a command waits for its answer (seconds).
ANSWER_WITHIN_S = 15.0
#: An answer that lies about for so long is nobody's any more: who asked looks ten times a second (seconds).
ANSWERS_KEPT_S = 3_600.0

#: Gives the jobs that run at the moment.
Running = Callable[[], Iterable[Job]]

_NOT_KNOWN = (
    "the process that took the request on ended before it answered: whether it was carried out is not known, see "
    "`status`, and ask again if it was not."
)


async def ask_holder(directory: Path, command: str, job: str | None, clock: Clock) -> str:
    """Ask the process that holds the state directory; what it did, in words.

    Raises `PipelineError` with what it answers instead, or (75) if it does not take the request on within
    `ANSWER_WITHIN_S`, or ends before it answers.
    """
    mailbox = await run_sync(Mailbox, directory)
    request_id = await run_sync(mailbox.ask, command, job)
    asked_at = clock.monotonic()
    while (answer := await run_sync(mailbox.take_answer, request_id)) is None:
        if clock.monotonic() - asked_at > ANSWER_WITHIN_S:
            await run_sync(_check_is_coming, mailbox, request_id, directory)
        await clock.sleep(0.1)
    if answer.exit_code is not None:
        raise PipelineError(answer.told, exit_code=answer.exit_code)
    return answer.told


def _check_is_coming(mailbox: Mailbox, request_id: str, directory: Path) -> None:
    """Raise `PipelineError` (75) unless an answer is there, or a process lives that may give one."""
    if mailbox.withdraw(request_id):
        raise PipelineError(
            "the process that holds the state directory does not answer; nothing was changed.",
            exit_code=ExitCode.UNFINISHED,
        )
    # In this order: whoever holds the directory may answer, and then end.
    if holder(directory) is None and not mailbox.is_answered(request_id):
        mailbox.forget(request_id)
        raise PipelineError(_NOT_KNOWN, exit_code=ExitCode.UNFINISHED)


async def answer_requests(state: State, running: Running, changed: Changed) -> None:
    """Carry out what is asked for, until cancelled; `running` gives the jobs that run at the moment.

    `changed` is told whenever something was carried out.
    """
    mailbox = await state.in_turn(Mailbox, state.directory)
    # What a full disk kept from being answered is answered when there is room.
    unanswered: list[tuple[Request, Answer]] = [*await state.in_turn(_left_by_another, mailbox, state.host.clock)]
    late: set[Request] = set()
    while True:
        for request in await state.in_turn(mailbox.requests):
            # What is taken on is answered, though the job may end meanwhile.
            with CancelScope(shield=True):
                if await state.in_turn(mailbox.take_on, request):
                    unanswered.append((request, await _answer_to(request, state, running)))
                    changed.tell()
                    await _answer_all(unanswered, late, state, mailbox)
        await _answer_all(unanswered, late, state, mailbox)
        await state.host.clock.sleep(LOOK_EVERY_S)


async def _answer_all(
    unanswered: list[tuple[Request, Answer]], late: set[Request], state: State, mailbox: Mailbox
) -> None:
    """Answer what can be answered, and leave the rest in the list; that a request is `late` is said once."""
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
    """Carry a request out; what is to be answered."""
    try:
        told = await carry_out(request, state, running=running)
        answer = Answer(told)
    except PipelineError as error:
        answer = Answer(str(error), error.exit_code)
    log.info("request_answered", command=request.command, job=request.job, ok=answer.exit_code is None)
    return answer


def _left_by_another(mailbox: Mailbox, clock: Clock) -> list[tuple[Request, Answer]]:
    """What a process took on that has ended since, with its answers; those that nobody fetched are removed."""
    mailbox.remove_answers(before_s=clock.utc_now().timestamp() - ANSWERS_KEPT_S)
    answer = Answer(_NOT_KNOWN, ExitCode.UNFINISHED)
    return [(request, answer) for request in mailbox.taken()]


async def carry_out(request: Request, state: State, *, running: Running | None) -> str:
    """Do what is asked for; what was done, in words.

    `running` gives the jobs that run at the moment; None where none can. Raises `PipelineError` (64) for an unknown
    job, or what a retry raises.
    """
    if request.command in ("pause", "resume"):
        is_paused = request.command == "pause"
        await state.in_turn(state.ledger.pause, is_paused=is_paused)
        state.is_paused = is_paused
        return "nothing more is sent until `resume`; statuses are still followed" if is_paused else "sending goes on"
    if request.command == "abandon":
        return await _abandon(request, state, running)
    if request.command == "retry":
        return await begin_retry(state, request.job or "")
    raise PipelineError(f"unknown request {request.command!r}", exit_code=ExitCode.USAGE)


async def _abandon(request: Request, state: State, running: Running | None) -> str:
    job_id = request.job or ""
    record = await state.in_turn(state.ledger.job, job_id)
    if record is None:
        raise unknown_job(job_id)
    if record.state is not None:
        raise PipelineError(f"job {job_id} has ended already: {record.state}.", exit_code=ExitCode.USAGE)
    await state.in_turn(state.ledger.abandon_job, job_id)
    # Looked at after it is written down: whichever job begins from now on reads it there.
    for job in running() if running else ():
        if job.record.job_id == job_id:
            job.ending.raise_to(EndStage.NO_ATTEMPTS)
    return f"job {job_id} ends: what was sent is followed to its end, the rest is not sent"
