"""What all jobs of a client code share on the way to Target, because what it allows is allowed to them together."""

from dataclasses import dataclass

import anyio

from pipeline.core.batches.in_flight import InFlight
from pipeline.core.target.pacing import StatusWindow
from pipeline.core.target.status_memory import StatusMemory
from pipeline.edges.clock import Clock
from pipeline.edges.store.state import State
from pipeline.edges.target.status_gate import StatusGate
from pipeline.edges.target.status_poller import StatusPoller
from pipeline.jobs.recovery import recover_in_flight
from pipeline.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class SendLimits:
    """`uploaders` lets so many batches upload at once, and `unsent` so many more be sealed and wait."""

    window: StatusGate
    status_poller: StatusPoller
    uploaders: anyio.CapacityLimiter
    unsent: anyio.Semaphore


async def open_send_limits(
    in_flight: InFlight,
    state: State,
    clock: Clock,
    settings: Settings,
    status_poller: StatusPoller,
    memory: StatusMemory,
) -> SendLimits:
    """The limits for the jobs of a client code; what is in flight from earlier ones is taken up."""
    upload, settle = settings.upload, settings.settle
    posts = await recover_in_flight(in_flight, state, clock, settle.ambiguous_hold_s)
    fixed = settle.status_window
    window = StatusWindow(
        memory.learned.size if fixed == "auto" else fixed,
        next_number=posts.next_number,
        unsettled=posts.open_numbers,
        overlap=upload.concurrency - 1,
    )
    return SendLimits(
        window=StatusGate(window, memory if fixed == "auto" else None),
        status_poller=status_poller,
        uploaders=anyio.CapacityLimiter(upload.concurrency),
        unsent=anyio.Semaphore(upload.concurrency),
    )
