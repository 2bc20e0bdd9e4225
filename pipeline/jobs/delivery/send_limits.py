"""The limits that all jobs of a client code share on the way to Target, because Target limits them together."""

from dataclasses import dataclass
from datetime import timedelta

import anyio

from pipeline.core.batches.in_flight import InFlight
from pipeline.core.target.pacing import StatusWindow
from pipeline.core.target.polling import PollPlan
from pipeline.core.target.status_memory import StatusMemory
from pipeline.edges.clock import Clock
from pipeline.edges.store.notices import HoldUps
from pipeline.edges.store.state import State
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.status_gate import StatusGate
from pipeline.edges.target.status_poller import StatusPoller
from pipeline.jobs.recovery import recover_in_flight
from pipeline.settings.sections.engine import SettleSettings
from pipeline.settings.settings import Settings

#: Seconds from which on a wait for the budget of calls is told. Ours: shorter ones come and go all the time.
TOLD_FROM_S = 5.0


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


def hold_ups(calls: CallQueue, clock: Clock) -> HoldUps:
    """The things that hold up sending now, besides pauses and time windows."""
    now, utc_now = clock.monotonic(), clock.utc_now()

    def time_of(at: float | None) -> str | None:
        return None if at is None else (utc_now + timedelta(seconds=at - now)).isoformat(timespec="seconds")

    since, calls_from = calls.silence.since(now), calls.resumes_at
    is_long = calls_from is not None and calls_from - now >= TOLD_FROM_S
    last = calls.silence.last if since is not None else None
    return HoldUps(time_of(since), last, time_of(calls_from) if is_long else None, calls.is_shared)
