"""Connects to Target, and imports the HTTP library in a thread while the first rows are read.

That import takes as long as all others of a load together, and a load has nothing to send when it begins. `serve` has
the library imported before.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

from anyio.to_thread import run_sync

from pipeline.edges.clock import Clock
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint, Target


@asynccontextmanager
async def connect(endpoint: Endpoint, calls: CallQueue, clock: Clock) -> AsyncIterator[Target]:
    """A client for an endpoint; its calls wait for their turn in `calls`."""
    await run_sync(import_module, "pipeline.edges.target.client")
    from pipeline.edges.target import client

    async with client.connect(endpoint, calls, clock) as target:
        yield target
