"""The real service with the sandbox and its pages: exports are dropped, and jobs run, end, fail or wait."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from pipeline.sandbox import FaultPlan
from tests.service.web.site import free_port
from tests.tools.dropping import Drop, dropping
from tests.tools.support import until

#: Seconds after which the sandbox applies a batch by itself: none does in a test.
NEVER_S = 600.0
#: Seconds that something of the service may take.
WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """A service whose pages are at `url`."""

    url: str
    drop: Drop

    async def job(self, name: str, *, state: str, batches: int = 0) -> str:
        """The id of the job of this export, once it is in this state and so many of its batches are followed."""
        async with (
            aiohttp.ClientSession() as session,
            asyncio.timeout(WITHIN_S),
            session.get(f"{self.url}/events") as events,
        ):
            # A line each time that something is new, the first at once.
            async for line in events.content:
                if not line.startswith(b"data:"):
                    continue
                async with session.get(f"{self.url}/jobs") as answer:
                    for job in (await answer.json())["jobs"]:
                        is_it = (Path(job["export"]).name, job["state"]) == (name, state)
                        if is_it and sum(job["batches"].values()) >= batches:
                            return str(job["job"])
        raise AssertionError(f"the service ended before the job of {name} was {state}")

    def page_of(self, job: str) -> str:
        return f"{self.url}/jobs/{job}"


@asynccontextmanager
async def service(
    directory: Path, *, faults: FaultPlan | None = None, apply_s: float = NEVER_S, **sections: Any
) -> AsyncIterator[Service]:
    """A service that listens; the sandbox applies its batches after `apply_s`, or when it is told to."""
    port = free_port()
    async with (
        dropping(directory, faults=faults, apply_min_s=apply_s, apply_max_s=apply_s) as drop,
        drop.serving(**{"web": {"port": port}, "batch": {"max_rows": 2}, **sections}),
    ):
        await until(lambda: _is_listening(port), within_s=WITHIN_S)
        yield Service(f"http://127.0.0.1:{port}", drop)


def _is_listening(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
