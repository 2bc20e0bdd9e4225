"""What people may ask for while a process holds the state directory: pause, resume, abandon, retry.

The holder carries a request out and answers it in words. Where nobody holds the directory, the command that asks
does it itself, with the very same functions.
"""

from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.edges.clock import Clock
from pipeline.edges.mailbox import Mailbox, Request
from pipeline.edges.state import State
from pipeline.job import Job
from pipeline.retrying import begin_retry

#: How often the holder looks for requests (seconds).
LOOK_EVERY_S = 0.5


async def until_resumed(state: State, clock: Clock) -> None:
    """Return at once unless sending is paused; then when it is resumed."""
    while state.is_paused:
        await clock.sleep(LOOK_EVERY_S)


async def answer_requests(job: Job) -> None:
    """Carry out what is asked for, until cancelled; `job` is the one that runs."""
    mailbox = await job.state.call(Mailbox, job.state.directory)
    while True:
        for request in await job.state.call(mailbox.requests):
            try:
                told = await carry_out(request, job.state, job.clock, running=job)
                answer: dict[str, Any] = {"ok": True, "told": told}
            except PipelineError as error:
                answer = {"ok": False, "told": str(error), "exit_code": int(error.exit_code)}
            await job.state.call(mailbox.answer, request, answer)
        await job.clock.sleep(LOOK_EVERY_S)


async def carry_out(request: Request, state: State, clock: Clock, *, running: Job | None) -> str:
    """Do what is asked for; what was done, in words. Raises `UnknownJobError` or what a retry raises."""
    if request.command in ("pause", "resume"):
        is_paused = request.command == "pause"
        await state.call(state.ledger.pause, is_paused=is_paused)
        state.is_paused = is_paused
        return "nothing more is sent until `resume`; statuses are still followed" if is_paused else "sending goes on"
    if request.command == "abandon":
        return await _abandon(request, state, running)
    if request.command == "retry":
        return await begin_retry(state, clock, request.job or "")
    raise PipelineError(f"unknown request {request.command!r}")


async def _abandon(request: Request, state: State, running: Job | None) -> str:
    job_id = request.job or ""
    record = await state.call(state.ledger.job, job_id)
    if record is None:
        raise unknown_job(job_id)
    if record.state is not None:
        raise PipelineError(f"job {job_id} has ended already: {record.state}.")
    await state.call(state.ledger.abandon_job, job_id)
    if running is not None and running.record.job_id == job_id:
        running.progress.is_abandoned = True
    return f"job {job_id} ends: what was sent is followed to its end, the rest is not sent"


def unknown_job(job_id: str) -> PipelineError:
    """The error for a job that the ledger does not know."""
    return PipelineError(f"there is no job {job_id!r}; `status` lists them.")
