"""The limits that all jobs of a client code share on the way to Target, because Target limits them together."""

from dataclasses import dataclass

import anyio

from pipeline.core.batches.in_flight import InFlight
from pipeline.core.target.pacing import StatusWindow
from pipeline.core.target.polling import PollPlan
from pipeline.core.target.status_memory import StatusMemory
from pipeline.edges.store.state import State
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.status_gate import StatusGate
from pipeline.edges.target.status_poller import StatusPoller
from pipeline.jobs.recovery import recover_in_flight
from pipeline.settings.sections import SettleSettings
from pipeline.settings.settings import Settings


@dataclass(slots=True)
class SendLimits:
    """The limits that all batches of a client code share.

    `uploaders`: batches that upload at once. `unsent`: batches that are sealed and not yet posted. `hold_s`: seconds
    after which an open attempt can be applied no more.
    """

    calls: CallQueue
    window: StatusGate
    poller: StatusPoller
    uploaders: anyio.CapacityLimiter
    unsent: anyio.Semaphore
    hold_s: float


def plan_of(settle: SettleSettings) -> PollPlan:
    """The intervals at which statuses are asked for."""
    return PollPlan(first_s=settle.poll_first_s, max_s=settle.poll_max_s)


async def open_send_limits(
    in_flight: InFlight, state: State, settings: Settings, calls: CallQueue, poller: StatusPoller, memory: StatusMemory
) -> SendLimits:
    """The limits for the jobs of a client code. Batches in flight of jobs that have ended are taken up."""
    upload, settle = settings.upload, settings.settle
    posts = await recover_in_flight(in_flight, state, settle.ambiguous_hold_s)
    fixed = settle.status_window
    window = StatusWindow(
        memory.learned.size if fixed == "auto" else fixed,
        next_number=posts.next_number,
        unsettled=posts.open_numbers,
        overlap=upload.concurrency - 1,
    )
    return SendLimits(
        calls=calls,
        window=StatusGate(window, memory if fixed == "auto" else None),
        poller=poller,
        uploaders=anyio.CapacityLimiter(upload.concurrency),
        unsent=anyio.Semaphore(upload.concurrency),
        hold_s=settle.ambiguous_hold_s,
    )
