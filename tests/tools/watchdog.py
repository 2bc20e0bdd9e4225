"""Measures for how long the event loop is blocked by one step of it, in time of its own thread.

Other processes and other threads take time too, and are not judged: a step is the processor time that the thread of
the loop takes between two turns of other tasks.

    python -m tests.tools.watchdog              all that there are
    python -m tests.tools.watchdog PART...      those with one of these in their names
"""

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from pipeline.edges.host import Host
from pipeline.jobs.one_shot import load_exports
from pipeline.sandbox import Running, SandboxOptions, running
from pipeline.service.process import serve
from pipeline.settings.tenants import Configuration, Tenant
from tests.simulation.loop import freeze_what_was_imported
from tests.tools.faults.rawtarget import RawTarget, raw_target
from tests.tools.faults.tally import Tally
from tests.tools.hostile import Hostile
from tests.tools.hostile_answers import all_hostile
from tests.tools.support import Sections, settings_for

#: The longest that a step may take (seconds), whatever is read: signals, heartbeat and answers wait as long.
LONGEST_BLOCK_S = 0.1
#: What takes longer than this hangs (seconds).
_HANGS_AFTER_S = 300.0


@dataclass(slots=True)
class Watched:
    """The longest step so far: its seconds, and its callback."""

    longest_s: float = 0.0
    longest: str = "nothing"


@contextmanager
def watched() -> Iterator[Watched]:
    """Watch all steps of event loops of this thread in the body."""
    found, thread, run = Watched(), threading.get_ident(), asyncio.Handle._run

    def run_watched(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        took = time.thread_time() - began
        if took > found.longest_s and threading.get_ident() == thread:
            found.longest_s, found.longest = took, repr(handle)[:400]

    asyncio.Handle._run = run_watched  # type: ignore[assignment, method-assign]
    try:
        yield found
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]


@contextmanager
def elsewhere(listening: AbstractAsyncContextManager[Running | RawTarget]) -> Iterator[str]:
    """A server on a loop of another thread, which is not watched; its address."""
    base_urls: list[str] = []
    is_up, is_over = threading.Event(), threading.Event()

    async def run() -> None:
        async with listening as server:
            base_urls.append(server.base_url)
            is_up.set()
            await asyncio.to_thread(is_over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert is_up.wait(_HANGS_AFTER_S)
        yield base_urls[0]
    finally:
        is_over.set()
        thread.join()


def _server_for(hostile: Hostile) -> AbstractAsyncContextManager[Running | RawTarget]:
    if hostile.posts or hostile.statuses:
        return raw_target(hostile.posts, hostile.statuses)
    return running(SandboxOptions(apply_min_s=0.0, apply_max_s=0.05, calls_per_minute=None))


def block_of(hostile: Hostile) -> Watched:
    """The longest step of a load of this, or of a service on whose drop directory it lies."""
    # As the program does when it begins: garbage is looked for at the end of a job, and not in all modules then.
    freeze_what_was_imported()
    with tempfile.TemporaryDirectory(prefix="hostile-") as place, elsewhere(_server_for(hostile)) as base_url:
        directory = Path(place)
        source = directory / "export.csv"
        if hostile.is_dropped:
            source = directory / "drop"
            source.mkdir()
        hostile.write(source)
        quick = {"poll_first_s": 0.05, "poll_max_s": 0.1, "ambiguous_hold_s": 0.1}
        drop = {"drop": {"directory": str(source), "settle_s": 0.0, "poll_s": 0.1, "signal_wait_s": 0.5}}
        sections: Sections = {"settle": quick, **(drop if hostile.is_dropped else {}), **hostile.sections}
        settings = settings_for(base_url, directory / "state", **sections)
        tenant = Tenant.of_one(settings)

        async def load() -> None:
            async with asyncio.timeout(_HANGS_AFTER_S):
                async for _ in load_exports([source], tenant, host=Host()):
                    pass

        async def serve_it() -> None:
            async with asyncio.timeout(_HANGS_AFTER_S):
                await serve(Configuration.of_one(settings), host=Host(), drain=True)

        with watched() as found:
            asyncio.run(serve_it() if hostile.is_dropped else load())
    return found


def longest_block(parts: tuple[str, ...] = (), *, say: Callable[[str], object] = print) -> Watched:
    """The longest step over all hostile exports, drops and answers, or those with one of these parts in their names."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    worst = Watched()
    for hostile in all_hostile():
        if parts and not any(part in hostile.name for part in parts):
            continue
        began = time.monotonic()
        found = block_of(hostile)
        say(f"{1_000 * found.longest_s:8.1f} ms  {time.monotonic() - began:6.1f} s  {hostile.name}")
        if found.longest_s > LONGEST_BLOCK_S:
            say(f"             {found.longest}")
        if found.longest_s > worst.longest_s:
            worst = replace(found, longest=f"{hostile.name}: {found.longest}")
    return worst


def count() -> int:
    """How many hostile exports, drops and answers there are."""
    return len(all_hostile())


def one_run(seed: int) -> Tally:
    """The one whose turn it is. Raises `AssertionError` if a step takes longer than `LONGEST_BLOCK_S`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    hostile = all_hostile()[seed % count()]
    found = block_of(hostile)
    assert found.longest_s <= LONGEST_BLOCK_S, f"{hostile.name}: {1_000 * found.longest_s:.1f} ms, {found.longest}"
    return Tally(runs=1, events=1, blocked_ms=1_000 * found.longest_s)


def main() -> int:
    """Run the table, or part of it; 1 if a step took longer than `LONGEST_BLOCK_S`."""
    worst = longest_block(tuple(sys.argv[1:]), say=partial(print, flush=True))
    print(f"longest step of the loop: {1_000 * worst.longest_s:.1f} ms, in {worst.longest}")
    return worst.longest_s > LONGEST_BLOCK_S


if __name__ == "__main__":
    sys.exit(main())
