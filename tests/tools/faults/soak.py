"""Runs the real service for a long time beside the real sandbox, under faults and restarts, and looks for what grows.

`python -m tests.tools.faults.soak --minutes 30` or `make soak MINUTES=30`. Exports of random size and shape are dropped
all the time, most of their ids known already; the plan of faults changes every few seconds; each process lives for a
while and is then ended by SIGTERM or SIGKILL. Every second of its life its memory, open files and tasks are noted, and
`health` has to call it alive. None of the three may have a slope (`tests/tools/faults/slope.py` says what that is). At
the end all exports are loaded, once and in order, every row is in one class, and the sandbox's profiles are what the
exports say. Repeatable but for what time does: `--seed`.
"""

import asyncio
import logging
import os
import random
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pipeline.edges.store.heartbeat_file import read_beat
from pipeline.sandbox import SandboxOptions, running
from pipeline.sandbox.faults import THROTTLING, Fault, FaultPlan
from pipeline.sandbox.runner import Running
from pipeline.service.health import look
from tests.tools.faults.canaries import TOKEN, check_told
from tests.tools.faults.loading import (
    Export,
    check_exact,
    check_order,
    ledger_of,
    lost_ids,
    make_export,
    origin_of,
    run,
    write_config,
)
from tests.tools.faults.plans import make_plan
from tests.tools.faults.service_kills import Writer, check_all
from tests.tools.faults.slope import Trend, trend
from tests.tools.faults.tally import hold
from tests.tools.support import program

#: Rows of an export, and of a batch.
MAX_ROWS, BATCH_ROWS = 20_000, 1_000
#: Exports that wait or are loaded at once, at most.
BACKLOG = 3
SAMPLE_EVERY_S = 1.0
#: A life lasts for so many samples at least, however busy the machine is.
_FEWEST_SAMPLES = 4
#: A rise that counts for a slope, over one life: bytes, files, tasks. Files and tasks come with batches under way, of
#: which a plan of faults may hold up some for a while; a leak comes with each of the hundreds of jobs of a life.
TOLERANCES = {"memory": 8e6, "files": 16.0, "tasks": 10.0}
#: Faults by which a call takes half a minute or more: in a soak they would be all there is to see.
_SLOW = THROTTLING | {Fault.HANG_LOST, Fault.HANG_TAKEN}
_RARE = 0.05
#: A process has begun, or ended after SIGTERM, within this (seconds).
PATIENCE_S = 60.0


@dataclass(slots=True)
class Life:
    """What was seen of one process: values a second apart."""

    number: int
    ended_by: str = ""
    seconds: float = 0.0
    memory: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)
    tasks: list[float] = field(default_factory=list)

    def trends(self) -> dict[str, Trend | None]:
        """How its figures went."""
        return {name: trend(getattr(self, name), tolerance=limit) for name, limit in TOLERANCES.items()}

    def told(self) -> str:
        """In one line."""
        parts = [f"life {self.number}: {self.seconds:.0f} s, {self.ended_by}"]
        for name, found in self.trends().items():
            scale, unit = (1e6, " MB") if name == "memory" else (1.0, "")
            values = getattr(self, name)
            top = f"{name} up to {max(values, default=0) / scale:.0f}{unit}"
            if found:
                mark = ", A SLOPE" if found.is_slope else ""
                top += f", half {found.middle / scale:.0f}, rise {found.rise / scale:+.1f}{mark}"
            parts.append(top)
        return "; ".join(parts)


@dataclass(slots=True)
class Soak:
    """One soak: its directory, its sandbox, what was dropped and what was seen.

    `made` has, by seed, the rows of each export; `rows` are those of all reports by class, in the end.
    """

    folder: Path
    sandbox: Running
    draw: random.Random
    life_s: float
    max_rows: int
    writer: Writer = field(init=False)
    made: dict[int, int] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    drops: int = 0
    met: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        (self.folder / "drop").mkdir()
        self.writer = Writer(self.folder / "drop", self._make)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def _make(self, seed: int) -> Export:
        """An export of any size up to the largest, small ones as often as large ones, in any of the usual forms."""
        rows = round(self.max_rows ** self.draw.random())
        export = make_export(rows, seed, repeated=self.draw.random(), rejected=self.draw.choice([0.0, 0.0, 0.05]))
        export.text = shaped(export.text, self.draw)
        self.made[seed] = export.rows
        return export

    def plan_faults(self, number: int) -> None:
        """The next plan, with none half of the time."""
        met: object = self.sandbox.sandbox.state()["faults_met"]
        assert isinstance(met, list)
        self.met.update(f"{fault['call']} {fault['fault']}" for fault in met)
        self.sandbox.sandbox.faults = plan_of(number) if number % 2 else FaultPlan()

    def is_hungry(self) -> bool:
        """Whether it may be given another export."""
        done = sum(1 for _ in self.state.glob("jobs/*/report.json"))
        return len(self.writer.names) - done < BACKLOG

    async def live(self) -> None:
        """One process, from its start to its end."""
        life = Life(len(self.lives) + 1)
        self.lives.append(life)
        length_s = self.life_s * self.draw.uniform(0.7, 1.3)
        number = (signal.SIGKILL, signal.SIGTERM)[life.number % 2]
        async with serving(self.config, self.folder / "log") as process:
            await until(lambda: is_alive(self.state), process)
            started = time.monotonic()
            while life.seconds < length_s or len(life.tasks) < _FEWEST_SAMPLES:
                if self.is_hungry():
                    self.writer.put(self.drops)
                    self.drops += 1
                self.note(life, process)
                await asyncio.sleep(SAMPLE_EVERY_S * min(1.0, length_s / 20))
                life.seconds = time.monotonic() - started
            process.send_signal(number)
            life.ended_by = number.name
            async with asyncio.timeout(PATIENCE_S):
                code = await process.wait()
        assert code == (0 if number is signal.SIGTERM else -number), (code, tail(self.folder / "log"))

    def note(self, life: Life, process: asyncio.subprocess.Process) -> None:
        """Look at the process."""
        assert process.returncode is None, (process.returncode, tail(self.folder / "log"))
        is_well, told = look(self.state, time.monotonic())
        assert is_well, told
        beat = read_beat(self.state)
        assert beat is not None
        at = Path(f"/proc/{process.pid}")
        life.memory.append(int((at / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        life.files.append(sum(1 for _ in (at / "fd").iterdir()))
        life.tasks.append(beat.tasks)

    async def finish(self) -> None:
        """Load what is left, without faults."""
        self.plan_faults(0)
        code, _, err = await run("serve", "--drain", "--config", str(self.config))
        assert code in (0, 76), (code, err.decode()[-2_000:])
        self.sandbox.sandbox.apply_all()

    def check(self) -> int:
        """All is loaded, and all is right; how many ids are left out, since rows of theirs were given up."""
        check_all(self.writer, self.state, ends=("done", "incomplete"))
        with ledger_of(self.state) as ledger:
            for job in ledger.jobs():
                assert job.report is not None
                self.rows.update(asdict(job.report.rows))
        lost = set[str]().union(*lost_ids(self.state).values())
        profiles = self.sandbox.sandbox.profiles()
        check_exact(profiles, self.writer.profiles, lost)
        for profile_id in lost & profiles.keys():
            for name, value in profiles[profile_id].items():
                hold("lost", origin_of(name, value)[0] in self.made, (profile_id, name, value))
        mistakes = self.sandbox.sandbox.mistakes
        check_order(mistakes)
        return len(lost)


def shaped(text: str, draw: random.Random) -> str:
    """The same rows in one of the usual forms: delimiter, quotes, line ends, byte order mark, end of file."""
    lines = text.splitlines()
    if draw.random() < 0.3:
        lines = [",".join(f'"{cell}"' for cell in line.split(",")) for line in lines]
    shape = draw.choice([",", ";", "\t", "|"])
    end = draw.choice(["\n", "\r\n"])
    whole = end.join(line.replace(",", shape) for line in lines) + draw.choice([end, ""])
    return draw.choice(["", "\ufeff"]) + whole


def plan_of(number: int) -> FaultPlan:
    """A plan under which nothing may ever clash, in which what takes long is rare."""
    plan = make_plan(number, "doubtful")
    posts, statuses = (
        {fault: chance * (_RARE if fault in _SLOW else 1.0) for fault, chance in chances.items()}
        for chances in (plan.post_chances, plan.status_chances)
    )
    return replace(plan, post_chances=posts, status_chances=statuses, slow_bytes_s=50_000.0)


def is_alive(state: Path) -> bool:
    return look(state, time.monotonic())[0]


def tail(file: Path) -> str:
    return file.read_text()[-2_000:]


async def until(condition: Callable[[], bool], process: asyncio.subprocess.Process) -> None:
    """Wait for what a process does, as long as it lives."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            assert process.returncode is None, process.returncode
            await asyncio.sleep(0.05)


@asynccontextmanager
async def serving(config: Path, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service as a process; its log in a file, begun anew."""
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(*program(), "serve", "--config", str(config), stderr=stderr)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def change_faults(soak: Soak, every_s: float) -> None:
    """Another plan every few seconds, until cancelled."""
    number = 0
    while True:
        number += 1
        soak.plan_faults(number)
        await asyncio.sleep(every_s)


async def soak_for(seconds: float, *, lives: int, seed: int, max_rows: int = MAX_ROWS, tell: bool = False) -> Soak:
    """So many processes in so many seconds. Raises `AssertionError` where the promise is broken, or something grows."""
    options = SandboxOptions(seed=seed, apply_min_s=0.02, apply_max_s=0.8, calls_per_minute=None, token=TOKEN)
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-soak-") as folder:
        async with running(options) as sandbox:
            soak = Soak(Path(folder), sandbox, random.Random(seed), seconds / lives, max_rows)
            write_config(soak.config, sandbox.base_url, soak.state, batch_rows=BATCH_ROWS, hold_s=2.0)
            with soak.config.open("a") as file:
                file.write(
                    f'[drop]\ndirectory = "{soak.writer.drop}"\npoll_s = 0.2\nsignal_wait_s = 30.0\nsettle_s = 0.2\n'
                )
            faults = asyncio.create_task(change_faults(soak, min(10.0, seconds / lives / 3)))
            try:
                for _ in range(lives):
                    await soak.live()
                    if tell:
                        print(soak.lives[-1].told(), flush=True)
            finally:
                faults.cancel()
            await soak.finish()
            lost = soak.check()
            own = [soak.config.with_name("token"), soak.writer.drop]
            await check_told(soak.folder, soak.state, soak.config, exports=own)
            if tell:
                print(f"{len(soak.writer.names)} exports, {dict(soak.rows)}")
                print(f"{soak.met.total()} faults: {dict(sorted(soak.met.items()))}")
                right = len(soak.writer.profiles) - lost
                print(f"{right:,} profiles are exactly as the exports say; {lost:,} ids lost rows")
    slopes = [life.told() for life in soak.lives if any(found and found.is_slope for found in life.trends().values())]
    assert slopes == [], slopes
    return soak


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--lives", type=int, default=3, help="processes one after the other")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-rows", type=int, default=MAX_ROWS)
    options = parser.parse_args()
    # Of the sandbox's server: clients that hang up belong to the faults.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    try:
        asyncio.run(
            soak_for(options.minutes * 60, lives=options.lives, seed=options.seed, max_rows=options.max_rows, tell=True)
        )
    except AssertionError as error:
        sys.exit(f"seed {options.seed}: {error}")
    print(f"{options.minutes:g} minutes: nothing grew, nothing was lost, doubled or out of order")


if __name__ == "__main__":
    main()
