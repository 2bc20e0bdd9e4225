"""An older value never goes over a newer one, whatever is mended when, stopped when, and asked for twice."""

import asyncio
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import ExitCode, FatalError, PipelineError
from pipeline.edges.store.state import open_state
from pipeline.edges.target.call_queue import CallQueue
from pipeline.jobs.job import Job
from pipeline.jobs.load import Watch
from pipeline.jobs.one_shot import load_exports
from pipeline.jobs.retries.later_rows import lines_of_origin
from pipeline.jobs.retries.mended_rows import begin_mended
from pipeline.settings.tenants import Tenant
from tests.simulation.loop import run_virtually
from tests.simulation.staged import Stage, staged

SECTIONS: dict[str, Any] = {
    "settle": {"poll_first_s": 0.05, "poll_max_s": 0.2, "ambiguous_hold_s": 2.0},
    "export": {"max_rejects": "100%"},
    "batch": {"max_rows": 2},
}
HEADERS = ("id,tier,ltv", "id,tier", "id,ltv", "id,ltv,other")
IDS = ("u1", "u2")


@dataclass(frozen=True)
class Load:
    """An export: the id of each row, empty ones are rejected; and after how many calls its process is stopped."""

    header: str
    ids: list[str]
    filled: int
    stopped_at: int | None


@dataclass(frozen=True)
class Mend:
    """Rows of the job at this place come back, with these ids in turn; its job is run at once, or stopped, or waits."""

    job: int
    ids: list[str]
    is_run: bool
    stopped_at: int | None


LOADS = st.builds(
    Load,
    st.sampled_from(HEADERS),
    st.lists(st.sampled_from(["", *IDS]), min_size=1, max_size=5),
    st.integers(0, 255),
    st.none() | st.integers(0, 4),
)
MENDS = st.builds(
    Mend,
    st.integers(0, 5),
    st.lists(st.sampled_from(["", *IDS]), min_size=1, max_size=5),
    st.booleans(),
    st.none() | st.integers(0, 3),
)


@dataclass
class World:
    """All that was loaded so far; `sent`: by id, parameter and version the value."""

    stage: Stage
    jobs: list[tuple[str, int]] = field(default_factory=list)
    sent: dict[tuple[str, str], dict[tuple[int, int], str]] = field(default_factory=dict)

    async def load(self, step: Load, number: int) -> None:
        """Load an export, and all that is unfinished before it."""
        names, lines = step.header.split(","), []
        for place, profile_id in enumerate(step.ids):
            cells = [f"{number}-{place + 2}" if step.filled >> (place + n) & 1 else "" for n in range(len(names) - 1)]
            lines.append(",".join([profile_id, *cells]))
            for name, cell in zip(names[1:], cells, strict=True):
                if cell and profile_id:
                    self.sent.setdefault((profile_id, name), {})[number, place + 2] = cell
        name = f"export{number}.csv"
        export = self.stage.export(name, *lines, header=step.header)
        await self.stage.load_all(export, watch=self.stopping(step.stopped_at), **SECTIONS)
        with self.stage.ledger() as ledger:
            jobs = [job for job in ledger.jobs(unfinished_only=False) if job.export.name == name]
        if jobs:
            self.jobs.append((jobs[0].job_id, number))

    async def mend(self, step: Mend) -> None:
        """Ask for mended rows of a job, and perhaps run their job."""
        if not self.jobs:
            return
        job, _ = self.jobs[step.job % len(self.jobs)]
        table = self.stage.state / "jobs" / job / "rejects.csv"
        if not table.exists():
            return
        header, *rows = csv.reader(io.StringIO(table.read_text("utf-8-sig")))
        out = io.StringIO()
        csv.writer(out).writerows(
            [header, *([*row[:2], step.ids[n % len(step.ids)], *row[3:]] for n, row in enumerate(rows))]
        )
        fixed = self.stage.directory / "fixed.csv"
        fixed.write_text(out.getvalue())
        try:
            async with open_state(self.stage.state, "demo", self.stage.host, min_free_bytes=0) as state:
                await begin_mended(state, job, fixed)
        except PipelineError:
            return
        if step.is_run:
            tenant, watch = Tenant.of_one(self.stage.settings(**SECTIONS)), self.stopping(step.stopped_at)
            async for _ in load_exports([], tenant, host=self.stage.host, watch=watch, only_retries=True):
                pass

    def stopping(self, calls: int | None) -> Watch:
        """Ends a run after so many calls to Target."""
        before = sum(self.stage.sandbox.calls.values())

        async def stop(_: Job, __: CallQueue) -> None:
            while calls is None or sum(self.stage.sandbox.calls.values()) - before < calls:  # noqa: ASYNC110 - it is the doing of the load
                await asyncio.sleep(0.1)
            raise FatalError("stopped", exit_code=ExitCode.UNFINISHED)

        return stop

    def mended(self) -> Iterator[tuple[str, str, tuple[int, int], str]]:
        """Of each mended row that was sent: id, parameter, version and value."""
        numbers = dict(self.jobs)
        with self.stage.ledger() as ledger:
            for job in ledger.jobs(unfinished_only=False):
                if not job.is_of_mended or job.state is None:
                    continue
                origin = job
                while origin.retry_of:
                    origin = ledger.job(origin.retry_of) or origin
                folder = self.stage.state / "jobs" / job.job_id
                header, *rows = csv.reader(io.StringIO((folder / "mended.csv").read_text()))
                lines = lines_of_origin(folder / "mended.lines")[:, 1].tolist()
                for line, (profile_id, *cells) in zip(lines, rows, strict=True):
                    for name, cell in zip(header[1:], cells, strict=True):
                        if cell and profile_id:
                            yield profile_id, name, (numbers[origin.job_id], line), cell


async def play(directory: Path, steps: list[Load | Mend]) -> None:
    async with staged(directory, apply_max_s=3.0) as stage:
        world = World(stage)
        for number, step in enumerate([*steps, Load("id,tier", ["end"], 255, None)]):
            await (world.load(step, number) if isinstance(step, Load) else world.mend(step))
        stage.sandbox.apply_all()
        for profile_id, name, version, value in world.mended():
            world.sent.setdefault((profile_id, name), {})[version] = value
        want: dict[str, dict[str, str]] = {}
        for (profile_id, name), values in world.sent.items():
            want.setdefault(profile_id, {})[name] = values[max(values)]
        assert stage.sandbox.profiles() == want


@settings(max_examples=12, deadline=None)
@given(st.lists(LOADS | MENDS, min_size=2, max_size=7))
def test_the_newest_row_of_those_that_were_sent_stands(steps: list[Load | Mend]) -> None:
    with TemporaryDirectory() as directory:
        run_virtually(play(Path(directory), steps))
