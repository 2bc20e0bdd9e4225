"""Kills a load at random moments, gives the same command again each time, and checks what is in the sandbox at the end.

`python -m tests.tools.faults.kills --kills 200` or `make kill-test N=200`. Three exports with 30 % repeated ids, and
half of them in common, go in small batches and overlap; the sandbox lives on in this process, as Target would. The
seed draws of which kinds they are; `--kind zip` has one of them in each load.
"""

import asyncio
import random
import shutil
import signal
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.errors import FatalError
from pipeline.edges.store.records import JobRecord
from pipeline.sandbox import Sandbox, SandboxOptions, running
from tests.tools.faults.canaries import TOKEN, check_told
from tests.tools.faults.kinds import KINDS, Drawn, draw_kinds, here, told_with
from tests.tools.faults.loading import (
    Export,
    check_equation,
    check_folder,
    check_left_over,
    check_order,
    check_profiles,
    last_report,
    ledger_of,
    run_load,
    write_config,
)
from tests.tools.faults.part_files import entered_as, sha256_of
from tests.tools.faults.tally import Tally, hold

#: How a load ends that was killed, or stopped tidily.
_ENDED_BY = {signal.SIGKILL: -9, signal.SIGTERM: 75}
#: Exports of a run; each has half of its ids in common with the one before.
EXPORTS = 3


@dataclass(slots=True)
class KilledLoad:
    """A load of some exports that is killed and given again; `hit` counts the kills by kind of what was under way."""

    folder: Path
    drawn: Drawn
    made: list[Export]
    number: signal.Signals
    paths: list[Path] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)
    hit: Counter[str] = field(default_factory=Counter)
    killed: int = 0
    starts: int = 0
    overlapping: int = 0
    batches: int = 0

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def write(self, base_url: str, *, batch_rows: int, hold_s: float) -> None:
        """The exports and the configuration."""
        for place, (kind, export) in enumerate(zip(self.drawn.kinds, self.made, strict=True)):
            self.paths.append(self.folder / f"export{place:02}{kind.ending}")
            kind.export(self.paths[-1], export)
            if kind.is_directory:
                (self.paths[-1] / "_SUCCESS").touch()
        write_config(self.config, base_url, self.state, batch_rows=batch_rows, hold_s=hold_s, export_key=self.drawn.key)
        with self.config.open("a") as file:
            file.write(self.drawn.sections(self.folder))

    async def start(self, *, kill_after_s: float | None = None, kill_when: Callable[[], bool] | None = None) -> bool:
        """Give the command once; True if it is to be given again."""
        self.starts += 1
        code, out, err = await run_load(
            self.paths, self.config, kill_after_s=kill_after_s, kill_when=kill_when, number=self.number
        )
        self.said += [out, err]
        # SIGTERM before the program has a say ends it as the system does.
        is_killed = code in (_ENDED_BY[self.number], -self.number)
        jobs = _jobs(self.state)
        under_way = [
            kind.name for job, kind in zip(jobs, self.drawn.kinds, strict=False) if job.has_begun and job.state is None
        ]
        self.killed += is_killed
        self.hit.update(set(under_way) if is_killed else ())
        self.overlapping += len(under_way) > 1
        assert [job.export for job in jobs] in ([], [entered_as(path) for path in self.paths])
        self.told = [orjson.loads(line) for line in out.splitlines() if line.endswith(b"}")]
        for report in self.told:
            check_equation(report)
        # It may have come to its end: the same command, given again, would be another one.
        has_ended = code == -self.number and [report["state"] for report in self.told] == ["done"] * len(self.made)
        assert is_killed or code == 0, (code, out.decode(), err.decode())
        return is_killed and not has_ended

    async def check(self, sandbox: Sandbox) -> int:
        """Everything has arrived, as it is now that it has ended; how many batches."""
        assert [report["export"]["name"] for report in self.told] == [path.name for path in self.paths]
        batches = check_jobs(self.state, self.made, [sha256_of(path) for path in self.paths])
        check_left_over(self.state)
        sandbox.apply_all()
        check_profiles(sandbox.profiles(), self.made)
        check_order(sandbox.mistakes)
        own = [*self.paths, self.config.with_name("token"), self.config.with_name("salt")]
        await check_told(self.folder, self.state, self.config, *self.said, exports=own)
        return batches

    async def load_a_copy(self) -> None:
        """The last export, loaded again under another name, says nothing new."""
        last, export = self.paths[-1], self.made[-1]
        copy = last.with_name(f"copy{self.drawn.kinds[-1].ending}")
        (shutil.copytree if last.is_dir() else shutil.copy)(last, copy)
        code, out, err = await run_load([copy], self.config)
        assert code == 0, (code, err.decode())
        report = last_report(out)
        check_equation(report)
        counts = report["rows"]
        hold("lost", not report["batches"] and counts["confirmed"] == 0 and not report["same_as"], report)
        hold("lost", counts["read"] == export.rows and counts["unchanged"] > 0, report)


@asynccontextmanager
async def killed_load(
    drawn: Drawn,
    rows: int,
    *,
    rejected: float,
    number: signal.Signals = signal.SIGKILL,
    statuses_kept: int = 10,
    apply_max_s: float = 0.8,
    hold_s: float = 2.0,
) -> AsyncIterator[KilledLoad]:
    """A load of so many rows in exports of these kinds. Whatever breaks the promise within is told with them."""
    each, seed = rows // len(drawn.kinds), drawn.seed
    made = [
        drawn.make(place, each, 100 * seed + place, rejected=rejected, first_id=place * each // 2)
        for place in range(len(drawn.kinds))
    ]
    options = SandboxOptions(
        seed=seed,
        apply_min_s=0.02,
        apply_max_s=apply_max_s,
        calls_per_minute=None,
        statuses_kept=statuses_kept,
        override=drawn.override,
        token=TOKEN,
    )
    with told_with(drawn), tempfile.TemporaryDirectory(prefix="profile-pipeline-kill-") as folder:
        load = KilledLoad(Path(folder), drawn, made, number)
        async with running(options) as run:
            load.write(run.base_url, batch_rows=max(20, rows // 40), hold_s=hold_s)
            yield load
            load.batches = await load.check(run.sandbox)
            if drawn.is_remembering:
                await load.load_a_copy()


async def kill_until_done(
    kills: int,
    *,
    rows: int,
    seed: int,
    rejected: float = 0.0,
    number: signal.Signals = signal.SIGKILL,
    statuses_kept: int = 10,
    kind: str = "",
) -> dict[str, Any]:
    """Load exports under so many kills; what happened. Raises `AssertionError` where the promise is broken.

    The seed draws their kinds, of which one may be named. A load that is ended by SIGTERM must say so, and may be in
    time to end before it.
    """
    draw, drawn = random.Random(seed), draw_kinds(seed, EXPORTS, first=kind)
    async with killed_load(drawn, rows, rejected=rejected, number=number, statuses_kept=statuses_kept) as load:
        while await load.start(kill_after_s=draw.uniform(0.0, 1.7) if load.killed < kills else None):
            pass
    return {
        "kills": load.killed,
        "starts": load.starts,
        "overlapping": load.overlapping,
        "batches": load.batches,
        "rows": rows,
        "hit": load.hit,
        "drawn": str(drawn),
    }


async def kill_in_each(drawn: Drawn, *, rows: int) -> Counter[str]:
    """Load an export of each kind with one command, and kill it in the middle of each; how often each was hit."""
    async with killed_load(drawn, rows, rejected=0.05, apply_max_s=0.1, hold_s=0.3) as load:
        for place, kind in enumerate(drawn.kinds):
            if kind.name not in load.hit:
                await load.start(kill_when=lambda: _has_sealed(load.state, place))  # noqa: B023 - awaited at once
        assert not await load.start()
    return load.hit


def _has_sealed(state: Path, place: int) -> bool:
    """True if a batch of the export in this place is sealed: the ids of the next one are noted."""
    return len([*state.glob(f"jobs/*export{place:02}*/sent/*")]) > 1


def _jobs(state: Path) -> list[JobRecord]:
    if not (state / "ledger.db").exists():
        return []
    # It may have been killed before the ledger was made: if it is damaged, the next run says so.
    with suppress(FatalError), ledger_of(state) as ledger:
        return ledger.jobs()
    return []


def check_jobs(state: Path, made: list[Export], digests: Sequence[str] = ()) -> int:
    """Each export has one job, in their order, and all of its rows are in it; how many batches.

    `digests`: of the exports, to be compared.
    """
    with ledger_of(state) as ledger:
        reports = [job.report.as_json() for job in ledger.jobs() if job.report]
    assert len(reports) == len(made)
    assert not digests or [report["export"]["sha256"] for report in reports] == digests
    for report, export in zip(reports, made, strict=True):
        check_equation(report)
        check_folder(state, report, export)
        counts = report["rows"]
        hold("lost", counts["read"] == export.rows, report)
        hold("lost", counts["rejected"] == len(export.rejects), report)
        settled = counts["confirmed"] + counts["superseded"] + counts["unchanged"] + counts["empty"]
        settled += counts["rejected"]
        hold("lost", settled == export.rows, report)
    return sum(len(report["batches"]) for report in reports)


def one_run(seed: int) -> Tally:
    """A load that is killed up to six times, in turn by SIGKILL and by SIGTERM."""
    number = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)[seed % 3]
    told = asyncio.run(kill_until_done(6, rows=6_000, seed=seed, rejected=0.02, number=number))
    return Tally(runs=1, rows=told["rows"], events=told["kills"])


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--per-load", type=int, default=10)
    parser.add_argument("--rejected", type=float, default=0.02, help="share of rows that are rejected")
    parser.add_argument("--statuses-kept", type=int, default=10, help="what Target remembers; the window is 10 POSTs")
    parser.add_argument("--term", action="store_true", help="SIGTERM instead of SIGKILL")
    parser.add_argument("--kind", choices=[kind.name for kind in here()], default="", help="one that each load has")
    parser.add_argument("--seed", type=int, default=1, help="of the first load")
    arguments = parser.parse_args()
    done, seed, started, hit = 0, arguments.seed, time.monotonic(), Counter[str]()
    for left_out in (kind for kind in KINDS if not kind.is_here()):
        print(f"left out, since {left_out.needs} is not installed: {left_out.name}")
    while done < arguments.kills:
        told = asyncio.run(
            kill_until_done(
                arguments.per_load,
                rows=6_000,
                seed=seed,
                rejected=arguments.rejected,
                number=signal.SIGTERM if arguments.term else signal.SIGKILL,
                statuses_kept=arguments.statuses_kept,
                kind=arguments.kind,
            )
        )
        hit += told.pop("hit")
        done += told["kills"]
        seed += 1
        print(f"{done} kills, {time.monotonic() - started:,.0f} s: {told.pop('drawn')}; {told}", flush=True)
    print("kills by kind of what was under way:", ", ".join(f"{kind} {count}" for kind, count in hit.most_common()))
    print(f"{done} kills survived: every profile as the export says, every row in one class, no mistake seen")


if __name__ == "__main__":
    main()
