"""Has requests carried out in the lanes they are about: by the process that holds the lane, or here if none does."""

from collections.abc import Sequence
from contextlib import closing

from anyio.to_thread import run_sync

from pipeline.edges.clock import Clock
from pipeline.edges.lock import holder
from pipeline.edges.store.ledger import read_ledger
from pipeline.edges.store.mailbox import Request
from pipeline.jobs.control import ask_holder, carry_out
from pipeline.jobs.job import unknown_job
from pipeline.jobs.open_state import open_lane
from pipeline.settings.tenants import Configuration, LaneSettings


def lanes_about(configuration: Configuration, job: str | None) -> Sequence[LaneSettings]:
    """The lane that has this job, all lanes if none is named. Blocks; raises `PipelineError` (64) if none has it."""
    lanes = configuration.lanes
    if job is None or len(lanes) == 1:
        return lanes
    found = [lane for lane in lanes if _has_job(lane, job)]
    if not found:
        raise unknown_job(job)
    return found


def _has_job(lane: LaneSettings, job: str) -> bool:
    ledger = read_ledger(lane.directory / "ledger.db")
    if ledger is None:
        return False
    with closing(ledger):
        return ledger.job(job) is not None


async def ask(lane: LaneSettings, command: str, job: str | None, clock: Clock) -> tuple[str, bool]:
    """What was done, in words, and whether another process did it. Raises what `ask_holder` and `carry_out` raise."""
    if await run_sync(holder, lane.directory) is not None:
        return await ask_holder(lane.directory, command, job, clock), True
    async with open_lane(lane, clock) as state:
        return await carry_out(Request("", command, job), state, clock, running=None), False
