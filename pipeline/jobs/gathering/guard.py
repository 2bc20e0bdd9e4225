"""The guard of a job: its export is judged when all of it is gathered, and before anything of it is sent.

    gathered --judged--> placed, as the rows of any export
                |
                +--> in quarantine --approved--> placed

The verdict is written down together with the gathered rows, so a crash finds both or neither, and nothing is judged
twice. A job in quarantine is unfinished, and keeps its place: jobs behind it would be newer than what may still be sent
of it. `Runner` runs it once, to tell why, and no job behind it. An approval is a fact in the ledger.
"""

import structlog

from pipeline.core.errors import ExitCode, PipelineError, QuarantinedError
from pipeline.core.expectations.guard import LOOKED_AT, Numbers, judged
from pipeline.core.printable import printable
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State
from pipeline.jobs.ending import is_abandoned
from pipeline.jobs.job import Job, unknown_job

log = structlog.get_logger()


def is_to_be_judged(job: Job) -> bool:
    """True if a guard is on, and nothing of the job is durable yet: of one that has begun rows may have been sent.

    Rows of a retry were judged with the job that lost them.
    """
    return job.settings.guard.is_on and job.record.retry_of is None and not job.record.has_begun


async def judge(job: Job, *, also: str) -> None:
    """Judge an export of which all rows are gathered, and put what is found into the job's checkpoint.

    `also`: a limit that it breaks, in words, which somebody else has found; empty if none.
    """
    checkpoint, state = job.progress.checkpoint, job.state
    record = job.record
    reports = await state.in_turn(state.ledger.latest_done, record.route, LOOKED_AT, before=record.seq)
    known = [Numbers.of_report(report) for report in reports]
    verdict = judged(Numbers.of_checkpoint(checkpoint), known, job.settings.guard.limits)
    checkpoint.guard_learns = verdict.to_learn
    if verdict.to_learn:
        log.info("guard_learns", jobs_done=len(known), jobs_to_come=verdict.to_learn)
    checkpoint.quarantine = "; ".join(filter(None, [*verdict.breaches, also]))
    if checkpoint.quarantine:
        log.warning("export_quarantined", why=checkpoint.quarantine)


async def check_quarantine(job: Job) -> None:
    """Raise `QuarantinedError` if nothing of a job may be sent yet. One that is given up passes: nothing is sent."""
    state = job.state
    if not is_abandoned(job.ending) and await state.in_turn(state.ledger.is_quarantined, job.record):
        raise quarantined(job)


def quarantined(job: Job) -> QuarantinedError:
    """The error with which a run of a job in quarantine ends."""
    name, job_id = job.record.export.name, job.record.job_id
    return QuarantinedError(
        f"{name} is in quarantine, and nothing of it was sent: {job.progress.checkpoint.quarantine}. "
        f"`profile-pipeline approve {job_id}` sends it all the same, `abandon {job_id}` drops it. Jobs behind it wait."
    )


async def approve(state: State, job_id: str, by: str) -> str:
    """Let a job in quarantine go on, and return what was done, in words. `by`: who asks, as far as that is known.

    Raises `PipelineError` (64) for a job that is in no quarantine.
    """
    record: JobRecord | None = await state.in_turn(state.ledger.job, job_id)
    if record is None:
        raise unknown_job(job_id)
    if (approval := (await state.in_turn(state.ledger.approved)).get(job_id)) is not None:
        return f"job {job_id} was approved already, at {approval.at}: it goes on"
    if not await state.in_turn(state.ledger.is_quarantined, record):
        now = f"it has ended: {record.state}" if record.state else "it is abandoned" if record.is_abandoned else ""
        raise PipelineError(
            f"job {job_id} is not in quarantine{f', {now}' if now else ''}: there is nothing to approve.",
            exit_code=ExitCode.USAGE,
        )
    await state.in_turn(state.ledger.approve_job, job_id, by)
    log.info("job_approved", job=job_id, by=printable(by) or None, why_quarantined=record.checkpoint.quarantine)
    return f"job {job_id} is approved: all of it is sent"
