"""A machine for jobs on a virtual loop: blocking calls are made at once, and Target is a sandbox in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar, TypeVarTuple, Unpack

from pipeline.edges.clock import Clock
from pipeline.edges.host import Host
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint, Target
from pipeline.edges.target.token_file import read_token
from pipeline.sandbox import Sandbox
from tests.simulation.exports import open_whole
from tests.simulation.on_sandbox import SandboxAnswers
from tests.simulation.wire import Wire

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

#: The time of day when a virtual loop begins.
BEGAN_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


async def run_at_once(function: Callable[[Unpack[Arguments]], T], /, *args: *Arguments) -> T:
    """Run a function that blocks, as in a thread: others have their turn before it is known what it returns."""
    try:
        return function(*args)
    finally:
        await asyncio.sleep(0)


def call_at_once(function: Callable[[], None]) -> None:
    """Call a function in the loop from a blocking one, which is in the loop already."""
    function()


def virtual_clock(*, random: Callable[[], float] = lambda: 0.5) -> Clock:
    """The clock of the running loop. Its time of day goes with it."""
    time = asyncio.get_running_loop().time
    return Clock(monotonic=time, utc_now=lambda: BEGAN_AT + timedelta(seconds=time()), random=random)


def host_on(sandbox: Sandbox) -> Host:
    """A machine whose jobs send to this sandbox, without HTTP."""

    @asynccontextmanager
    async def connect(endpoint: Endpoint, calls: CallQueue, clock: Clock) -> AsyncIterator[Target]:
        token = endpoint.token_file
        answers = SandboxAnswers(sandbox, endpoint, (lambda: read_token(token)) if token else lambda: None)
        yield Wire(answers, calls, clock)

    return Host(
        clock=virtual_clock(),
        run_blocking=run_at_once,
        in_loop=call_at_once,
        open_export=open_whole,
        connect=connect,
    )
