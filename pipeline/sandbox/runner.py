"""Runs a sandbox on a port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from pipeline.sandbox import server
from pipeline.sandbox.faults import FaultPlan
from pipeline.sandbox.options import SandboxOptions
from pipeline.sandbox.sandbox import Sandbox

#: Bytes read from a socket at a time: large, for bodies of 50 MB.
_READ_BYTES = 2**18
#: Seconds that answers under way, and unwanted bodies, may take when the server ends.
_SHUTDOWN_S = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that listens at `base_url`, which does not end with a slash."""

    base_url: str
    sandbox: Sandbox


@asynccontextmanager
async def running(
    options: SandboxOptions | None = None,
    *,
    faults: FaultPlan | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Running]:
    """Run a sandbox that listens as long as the context lasts; port 0 takes any free port."""
    async with serving(Sandbox(options, faults=faults), host=host, port=port) as run:
        yield run


@asynccontextmanager
async def serving(sandbox: Sandbox, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Running]:
    """Run the caller's own sandbox as `running` does; it may have its own clock, for instance."""
    runner = web.AppRunner(
        server.application(sandbox), access_log=None, shutdown_timeout=_SHUTDOWN_S, read_bufsize=_READ_BYTES
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        yield Running(f"http://{shown}:{bound}", sandbox)
    finally:
        await runner.cleanup()
