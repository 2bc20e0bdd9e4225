"""No Target at all: nobody listens where it should be."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pipeline.core.model import Batch
from pipeline.core.target.replies import PostOutcome, StatusOutcome, StatusUnavailable, Unreachable
from pipeline.edges.clock import Clock
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint, Target
from tests.simulation.wire import Wire


class Nobody:
    """Refuses every connection."""

    async def post(self, batch: Batch, body: Path) -> PostOutcome:
        return Unreachable("connection refused")

    async def status(self, url: str) -> StatusOutcome:
        return StatusUnavailable("connection refused")


@asynccontextmanager
async def to_nobody(_: Endpoint, calls: CallQueue, clock: Clock) -> AsyncIterator[Target]:
    """For the `connect` of a host."""
    yield Wire(Nobody(), calls, clock)
