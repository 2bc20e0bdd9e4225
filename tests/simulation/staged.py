"""Whole loads into a sandbox, in virtual time: no socket, no thread, and nobody waits.

`deliver` loads one export. `staged` gives a stage on which one load after another is run, each possibly stopped, for a
coroutine that `run_virtually` runs. `sandbox` on the stage says what Target got, and `faults` what it does wrong.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.host import Host
from pipeline.edges.store.ledger_reader import LedgerReader, read_ledger
from pipeline.edges.target.call_queue import CallQueue
from pipeline.jobs.job import Job
from pipeline.jobs.load import Watch
from pipeline.jobs.one_shot import load_exports
from pipeline.sandbox import FaultPlan, Sandbox, SandboxOptions
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Tenant
from tests.simulation.host import host_on
from tests.simulation.loop import run_virtually
from tests.tools.support import (
    Delivery,
    assert_every_row_is_in_one_class,
    assert_report_is_kept,
    settings_for,
    write_export,
)

#: Nobody is asked there: what is sent goes to a sandbox in this process.
_BASE_URL = "http://127.0.0.1:1"
#: More virtual time than any load takes that does not hang (seconds).
_HANGS_AFTER_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A sandbox, and a state directory in which one load after another is run; made by `staged`."""

    directory: Path
    sandbox: Sandbox
    host: Host

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.directory / "state"

    @property
    def posts(self) -> list[dict[str, Any]]:
        """Each batch the sandbox accepted, repeats included, in order."""
        accepted: Any = self.sandbox.state()["batches"]
        return list(accepted)

    def settings(self, **sections: Any) -> Settings:
        """Those of `settings_for`."""
        return settings_for(_BASE_URL, self.state, **sections)

    def export(self, name: str, *lines: str, header: str = "id,tier,ltv") -> Path:
        """An export of these lines; a file that is there already is left as it is."""
        export = self.directory / name
        return export if export.exists() else write_export(export, *lines, header=header)

    async def load(
        self,
        *lines: str,
        name: str = "export.csv",
        header: str = "id,tier,ltv",
        stop_when: Callable[[Job], object] | None = None,
        may_fail: bool = False,
        **sections: Any,
    ) -> dict[str, Any]:
        """Load an export of these lines, stopped with 75 as soon as `stop_when` holds; its report.

        A file that is there already is left as it is, so that its unfinished job goes on.
        """

        async def stop(job: Job, _: CallQueue) -> None:
            while stop_when is None or not stop_when(job):  # noqa: ASYNC110 - it is the doing of the load
                await asyncio.sleep(0.1)
            raise FatalError("stopped", exit_code=ExitCode.UNFINISHED)

        reports = await self.load_all(self.export(name, *lines, header=header), watch=stop, **sections)
        assert may_fail or (reports[-1]["error"] == "stopped") == (stop_when is not None), reports[-1]["error"]
        return reports[-1]

    async def load_all(
        self,
        *exports: Path,
        watch: Watch | None = None,
        again: bool = False,
        wait_s: float | None = None,
        **sections: Any,
    ) -> list[dict[str, Any]]:
        """Load these exports as one command does; the reports in the order of the jobs."""
        reports = []
        tenant = Tenant.of_one(self.settings(**sections))
        async with asyncio.timeout(_HANGS_AFTER_S):
            loading = load_exports(list(exports), tenant, host=self.host, watch=watch, again=again, wait_s=wait_s)
            async for report in loading:
                reports.append(report.as_json())
                assert_every_row_is_in_one_class(reports[-1])
        return reports

    @contextmanager
    def ledger(self) -> Iterator[LedgerReader]:
        """The ledger, to be looked at."""
        ledger = read_ledger(self.state / "ledger.db")
        assert ledger is not None
        with contextlib.closing(ledger):
            yield ledger


@asynccontextmanager
async def staged(directory: Path, *, faults: FaultPlan | None = None, **options: Any) -> AsyncIterator[Stage]:
    """A stage on the running loop, with a sandbox that applies at once what it gets; `options` are the sandbox's."""
    behaviour = {"apply_min_s": 0.0, "apply_max_s": 0.1, "calls_per_minute": None, **options}
    sandbox = Sandbox(SandboxOptions(**behaviour), faults=faults, monotonic=asyncio.get_running_loop().time)
    yield Stage(directory, sandbox, host_on(sandbox))


def deliver(
    directory: Path,
    *lines: str,
    faults: FaultPlan | None = None,
    options: Mapping[str, Any] | None = None,
    header: str = "id,tier,ltv",
    **sections: Any,
) -> Delivery:
    """Load an export of these lines into a sandbox, and look at the equation."""

    async def load() -> Delivery:
        behaviour = {"apply_min_s": 0.5, "apply_max_s": 5.0, **(options or {})}
        async with staged(directory, faults=faults, **behaviour) as stage:
            export = write_export(directory / "export.csv", *lines, header=header)
            (report,) = await stage.load_all(export, **sections)
            stage.sandbox.apply_all()
            folder = stage.state / "jobs" / report["job"]
            return Delivery(report, folder, stage.sandbox, stage.sandbox.profiles())

    delivery = run_virtually(load())
    assert_report_is_kept(delivery.report, delivery.folder)
    return delivery
