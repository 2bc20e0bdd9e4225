"""A service in this process that is measured while it loads what is dropped, and its metrics as numbers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from prometheus_client.parser import text_string_to_metric_families

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.clock import Clock
from pipeline.edges.host import Host
from pipeline.jobs.ending import Ending
from pipeline.service.heartbeat import heart_beating
from pipeline.service.served import Served
from pipeline.service.web.metrics import Overdue, Scrape
from pipeline.settings.tenants import Tenant
from tests.tools.dropping import Drop
from tests.tools.support import bench, settings_for, until

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


def numbers_in(text: bytes) -> Numbers:
    """By name and labels the values of all samples."""
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


@dataclass(slots=True)
class Measuring:
    """A service that is measured, and its drop directory."""

    drop: Drop
    served: Served
    scrape: Scrape
    clock_s: float = 0.0

    async def text(self) -> bytes:
        """A new scrape."""
        self.clock_s += 1.0
        return await self.scrape.text()

    async def value(self, name: str, **labels: str) -> float | None:
        """One of its values; None if there is no such sample."""
        found = numbers_in(await self.text())
        return found.get((f"profile_pipeline_{name}", frozenset({"client_code": "demo", **labels}.items())))

    async def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Those values of a metric that are not 0, by one of its labels."""
        found = numbers_in(await self.text())
        wanted = {"client_code": "demo", **labels}.items()
        return {
            dict(having)[label]: value
            for (each, having), value in found.items()
            if each == f"profile_pipeline_{name}" and wanted <= having and value
        }

    async def until(self, name: str, value: float, **labels: str) -> None:
        """Wait until a metric has this value."""
        seen: list[float | None] = []

        async def look() -> None:
            while not seen or seen[-1] != value:
                seen.append(await self.value(name, **labels))
                await anyio.lowlevel.checkpoint()

        with anyio.fail_after(20.0):
            await look()

    async def load(self, name: str, *lines: str, state: str = "done") -> dict[str, Any]:
        """Drop an export, and wait for its report."""
        self.drop.put(name, *lines, signal_as=f"{name}.ready")
        await until(lambda: self.drop.ends().get(name) == state)
        (report,) = [each for each in self.drop.reports() if each["export"]["name"] == name]
        await self.until("jobs", 0.0, state="running")
        return report


@asynccontextmanager
async def measuring(
    directory: Path, *, overdue: Overdue = dict, sandbox: dict[str, Any] | None = None, **sections: Any
) -> AsyncIterator[Measuring]:
    """A service of one client code, in this process, whose clock goes on a second with each scrape."""
    async with bench(directory, **(sandbox or {})) as at:
        drop = Drop(at)
        where = {"directory": str(drop.directory), "poll_s": 0.05, "settle_s": 0.05, "signal_wait_s": 0.3}
        quick = {"poll_first_s": 0.05, "poll_max_s": 0.2, "ambiguous_hold_s": 1.0}
        laid = {**sections, "settle": {**quick, **sections.get("settle", {})}}
        tenant = Tenant.of_one(settings_for(at.base_url, at.state, drop=where, **laid))
        host, ending = Host(), Ending(grace_s=0.0)
        served = Served(tenant, host, ending, None, frozenset())
        await served.open_first(is_only=True)
        measuring = Measuring(drop, served, Scrape(at.state, [served], host, overdue))
        measuring.scrape = Scrape(at.state, [served], _aging(host, measuring), overdue)
        try:
            async with (
                heart_beating(at.state, host.clock, lambda: served.job, lambda: served.is_paused),
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(partial(served.run, [served], drain=False))
                yield measuring
                ending.hasten(FatalError("stopped", exit_code=ExitCode.UNFINISHED))
        finally:
            await served.close()


def _aging(host: Host, measuring: Measuring) -> Host:
    """The same host for who scrapes it, whose clock goes on with each scrape."""
    return Host(clock=Clock(monotonic=lambda: host.clock.monotonic() + measuring.clock_s), counts=host.counts)
