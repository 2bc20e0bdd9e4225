"""What all jobs of a client code share on the way to Target, because what it allows is allowed to them together."""

from dataclasses import dataclass

import anyio

from pipeline.core.batches.in_flight import Lane
from pipeline.core.target.pacing import StatusWindow
from pipeline.core.target.status_memory import StatusMemory
from pipeline.edges.clock import Clock
from pipeline.edges.store.state import State
from pipeline.edges.target.status_gate import WindowGate
from pipeline.edges.target.status_poller import Follower
from pipeline.jobs.recovery import recover_lane
from pipeline.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class Road:
    """`uploaders` lets so many batches upload at once, and `unsent` so many more be sealed and wait."""

    window: WindowGate
    follower: Follower
    uploaders: anyio.CapacityLimiter
    unsent: anyio.Semaphore


async def open_road(
    lane: Lane, state: State, clock: Clock, settings: Settings, follower: Follower, memory: StatusMemory
) -> Road:
    """A road for the jobs of a lane; what is in flight from earlier ones is taken up."""
    upload, settle = settings.upload, settings.settle
    posts = await recover_lane(lane, state, clock, settle.ambiguous_hold_s)
    fixed = settle.status_window
    window = StatusWindow(
        memory.learned.size if fixed == "auto" else fixed,
        next_number=posts.next_number,
        unsettled=posts.open_numbers,
        overlap=upload.concurrency - 1,
    )
    return Road(
        window=WindowGate(window, memory if fixed == "auto" else None),
        follower=follower,
        uploaders=anyio.CapacityLimiter(upload.concurrency),
        unsent=anyio.Semaphore(upload.concurrency),
    )
