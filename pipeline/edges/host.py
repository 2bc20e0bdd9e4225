"""The machine as the steps of a job see it: passed in, so that a test can put a machine of its own in its place."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

from anyio import from_thread, to_thread

from pipeline.edges.clock import Clock
from pipeline.edges.exports import Export, open_export
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.connect import connect
from pipeline.edges.target.endpoint import Endpoint, Target

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

OpenExport = Callable[[Path], AbstractAsyncContextManager[Export]]
Connect = Callable[[Endpoint, CallQueue, Clock], AbstractAsyncContextManager[Target]]


class RunBlocking(Protocol):
    """Runs a function that blocks, without blocking the event loop; gives what it returns."""

    async def __call__(self, function: Callable[[Unpack[Arguments]], T], /, *args: *Arguments) -> T:
        """Run `function(*args)`."""


@dataclass(frozen=True, slots=True)
class Host:
    """All that the steps of a job ask of the machine and the world.

    `run_blocking` runs whatever blocks: SQLite, files, `fsync`. Inside of such a function, `in_loop` calls another one
    in the event loop and waits for it.
    """

    clock: Clock = field(default_factory=Clock)
    run_blocking: RunBlocking = to_thread.run_sync
    in_loop: Callable[[Callable[[], None]], None] = from_thread.run_sync
    open_export: OpenExport = open_export
    connect: Connect = connect
