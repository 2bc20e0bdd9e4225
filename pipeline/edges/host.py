"""The machine as a job sees it; it is passed in, so that a test can pass another one."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

from anyio import from_thread, to_thread

from pipeline.core.display.counts import Counts
from pipeline.edges.clock import Clock
from pipeline.edges.drop.held_drops import HeldDrops
from pipeline.edges.exports import Export, Parts, open_export
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.connect import connect
from pipeline.edges.target.endpoint import Endpoint, Target
from pipeline.edges.traces.spans import NoTraces, Traces

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

#: Bytes that are read, cut or compared within a few milliseconds, whatever they are.
SMALL_BYTES = 16_384

Connect = Callable[[Endpoint, CallQueue, Clock], AbstractAsyncContextManager[Target]]


class OpenExport(Protocol):
    """Opens an export, see `open_export`."""

    def __call__(
        self, path: Path, encoding: str | None = None, parts: Parts = (), /
    ) -> AbstractAsyncContextManager[Export]:
        """The open export: its text if `encoding` is given, else the bytes of its files."""


class RunBlocking(Protocol):
    """Runs a blocking function outside the event loop, and returns its result."""

    async def __call__(self, function: Callable[[Unpack[Arguments]], T], /, *args: *Arguments) -> T:
        """Run `function(*args)`."""


async def run_if_large(
    run_blocking: RunBlocking, size_bytes: int, function: Callable[[Unpack[Arguments]], T], *args: *Arguments
) -> T:
    """Run a pure function whose time grows with its input: at once if that is small, else outside the event loop."""
    return function(*args) if size_bytes <= SMALL_BYTES else await run_blocking(function, *args)


@dataclass(frozen=True, slots=True)
class Host:
    """Everything that a job needs of the machine and the network.

    `run_blocking`: runs blocking calls: SQLite, files, `fsync`.
    `in_loop`: within such a call, runs a function in the event loop and waits for it.
    `open_export`: opens an export.
    `drops`: the drop directories that it holds; they open the exports that were taken.
    `connect`: makes a client for Target.
    `is_with_sandbox`: what it connects to is known to be a sandbox.
    `traces`: makes the spans of jobs, for whoever wants them.
    `merged_rows`: rows of a partition of the memory, in all its runs, that are worth a file of their own.
    `counts`: by client code, what was done since the process began.
    """

    clock: Clock = field(default_factory=Clock)
    run_blocking: RunBlocking = to_thread.run_sync
    in_loop: Callable[[Callable[[], None]], None] = from_thread.run_sync
    open_export: OpenExport = open_export
    drops: HeldDrops = field(default_factory=HeldDrops)
    connect: Connect = connect
    is_with_sandbox: bool = False
    traces: Traces = field(default_factory=NoTraces)
    merged_rows: int = 4_096
    counts: defaultdict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))
