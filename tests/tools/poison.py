"""A machine on which a step of one job raises what nobody expects."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack

from structlog.contextvars import get_contextvars

from pipeline.core.model import Batch
from pipeline.edges.clock import Clock
from pipeline.edges.drop.held_drops import HeldDrops
from pipeline.edges.durable import Version
from pipeline.edges.exports import Export, Parts
from pipeline.edges.host import Host, OpenExport
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint, SendBatch, Target

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

#: In the text of an error: no line and no report may say it.
SECRET = "u1,gold,secret"
POISONED = "poisoned"
ALWAYS = 10**9


@dataclass(slots=True)
class Poison:
    """A machine on which a step of one job raises what nobody expects, `times` times, before or after it is done.

    `step`: the name of a blocking call, or `open`, `read`, `connect`, `post`, `status`. `counts` has all steps.
    """

    step: str = ""
    error: Callable[[str], Exception] = ValueError
    times: int = 1
    is_done_first: bool = False
    skips: int = 0
    of_job: str = POISONED
    met: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def meet(self, step: str, *, is_done: bool) -> None:
        """Raise the error if its time has come."""
        if self.of_job not in get_contextvars().get("job", ""):
            return
        self.counts[step] += not is_done
        if step != self.step or is_done != self.is_done_first:
            return
        if self.skips:
            self.skips -= 1
        elif self.met < self.times:
            self.met += 1
            raise self.error(SECRET)

    def on(self, host: Host) -> Host:
        """The machine with this poison."""

        async def run_blocking(function: Callable[[Unpack[Arguments]], T], /, *args: *Arguments) -> T:
            called: Any = function
            while isinstance(called, partial):
                called = called.func
            name = getattr(called, "__name__", type(called).__name__)
            self.meet(name, is_done=False)
            result = await host.run_blocking(function, *args)
            self.meet(name, is_done=True)
            return result

        def opening(how: OpenExport) -> OpenExport:
            @asynccontextmanager
            async def open_export(
                path: Path, encoding: str | None = None, parts: Parts = (), /
            ) -> AsyncIterator[Export]:
                self.meet("open", is_done=False)
                async with how(path, encoding, parts) as export:
                    self.meet("open", is_done=True)
                    read, export_ = export.read_block, export

                    async def read_block() -> bytes:
                        self.meet("read", is_done=False)
                        block = await read()
                        self.meet("read", is_done=True)
                        return block

                    export_.read_block = read_block  # type: ignore[method-assign]
                    yield export_

            return open_export

        # Exports that were taken from a drop directory are opened by what holds it.
        drops = HeldDrops()
        drops.open_export = opening(drops.open_export)  # type: ignore[method-assign]

        @asynccontextmanager
        async def connect(endpoint: Endpoint, calls: CallQueue, clock: Clock) -> AsyncIterator[Target]:
            self.meet("connect", is_done=False)
            async with host.connect(endpoint, calls, clock) as target:
                self.meet("connect", is_done=True)
                yield _Poisoned(target, self)

        opens = opening(host.open_export)
        return replace(host, run_blocking=run_blocking, open_export=opens, drops=drops, connect=connect)


@dataclass(slots=True)
class Twice(Poison):
    """One that raises at a later step too, whenever that comes after the first time."""

    then: str = ""

    def meet(self, step: str, *, is_done: bool) -> None:
        """Raise an error, if its time has come."""
        Poison.meet(self, step, is_done=is_done)
        if self.met and step == self.then and self.of_job in get_contextvars().get("job", ""):
            raise self.error(SECRET)


class _Poisoned:
    """Target, of which a call may raise."""

    def __init__(self, target: Target, poison: Poison) -> None:
        self._target = target
        self._poison = poison

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    @asynccontextmanager
    async def turn_to_post(self, batch: Batch, body: Path, checked: Version | None = None) -> AsyncIterator[SendBatch]:
        async with self._target.turn_to_post(batch, body, checked) as send:

            async def post() -> Any:
                self._poison.meet("post", is_done=False)
                outcome = await send()
                self._poison.meet("post", is_done=True)
                return outcome

            yield post

    async def status(self, url: str) -> Any:
        self._poison.meet("status", is_done=False)
        outcome = await self._target.status(url)
        self._poison.meet("status", is_done=True)
        return outcome
