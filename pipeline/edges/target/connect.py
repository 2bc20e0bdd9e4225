"""A client for Target, made while the first rows are read.

Importing the HTTP library takes as long as everything else that a load imports, and a load has nothing to send yet when
it begins: a thread does it meanwhile. A process that serves has done it before.
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
    """A client for an endpoint, whose calls go through `calls`."""
    await run_sync(import_module, "pipeline.edges.target.client")
    from pipeline.edges.target import client

    async with client.connect(endpoint, calls, clock) as target:
        yield target
