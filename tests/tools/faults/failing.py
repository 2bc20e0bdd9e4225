"""Lets each write, flush, rename and removal of a load or the service fail in turn, and checks the next run's end.

`python -m tests.tools.faults.failing --every`, or `--runs 60` of them (needs strace). A call fails once, as on a disk
with a bad sector (EIO), or it and all of its kind behind it until the process has ended, as on a full disk (ENOSPC).
The program must end with 74 or go on; the next run, in which nothing fails, ends as if nothing had been.
"""

import asyncio
import random
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.sandbox import SandboxOptions, running
from tests.tools.faults.canaries import check_told
from tests.tools.faults.loading import check_exact, check_order, make_export, run, write_config
from tests.tools.faults.service_kills import Writer, check_all
from tests.tools.faults.steps import COURSES, ROWS, Course, Step, kill_at_all, run_to_end, sample, steps_of, why_not
from tests.tools.faults.tally import FoundError, Tally
from tests.tools.support import program

#: The errors with which a call fails, by its name.
ERRORS = {
    "write": ("ENOSPC", "EIO"),
    "pwrite64": ("ENOSPC", "EIO", "EDQUOT"),
    "fsync": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO", "EDQUOT"),
    "rename": ("EIO", "ENOSPC", "EROFS"),
    "renameat": ("EIO", "EROFS"),
    "renameat2": ("EIO", "EROFS"),
    "unlink": ("EIO", "EROFS"),
    "unlinkat": ("EIO", "EROFS"),
    "ftruncate": ("EIO", "ENOSPC"),
    "truncate": ("EIO", "ENOSPC"),
    "mkdir": ("ENOSPC", "EROFS"),
    "rmdir": ("EIO", "EROFS"),
}
#: Those of the service. Its log is written with `write`.
_OF_SERVICE = ("fsync", "fdatasync", "pwrite64", "rename", "unlink", "mkdir", "rmdir", "ftruncate")
_MOST_COUNTED = 30
#: Runs from which on they are of all courses.
_RUNS_OF_ALL = 20
#: How a service may end of which a call failed: done, or told of the disk, or of the drop directory.
_ENDS = (0, 74, 78)


@dataclass(slots=True)
class Outcome:
    """So many runs with a call that failed, how these ended, and what the next ones broke, in words."""

    runs: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    harm: Tally = field(default_factory=Tally)

    def add(self, other: "Outcome") -> None:
        """Count those of another one too."""
        self.runs, self.broken = self.runs + other.runs, self.broken + other.broken
        self.codes.update(other.codes)
        self.harm.add(other.harm)

    def __str__(self) -> str:
        ended = ", ".join(f"{count} with {code}" for code, count in sorted(self.codes.items()))
        return f"{self.runs} runs in which a call failed (ended: {ended}), {len(self.broken)} broke the promise"


def failing(step: Step, draw: random.Random) -> Step:
    """This step, which fails now, once or for good."""
    return replace(step, error=draw.choice(ERRORS[step.call]), lasts=draw.random() < 0.4)


async def fail_loads(
    course: Course, runs: int | None, *, seed: int = 0, at_once: int = 2, of_memory: bool = False
) -> Outcome:
    """Let one step of each load fail: so many of them, a fifth while it goes on after a kill; None: each step.

    `of_memory`: only steps at files of the memory and of gathered rows.
    """
    draw = random.Random(seed)
    all_steps = [step for step in await steps_of(course) if step.call in ERRORS]
    steps = [step for step in all_steps if step.is_of_memory] if of_memory else all_steps
    chosen = steps if runs is None else draw.sample(sample(steps, runs, seed), runs)
    many: list[tuple[Step, ...]] = []
    for number, step in enumerate(chosen):
        before = (draw.choice(steps),) if number % 5 == 4 else ()
        many.append((*before, failing(step, draw)))
    told, broken = await kill_at_all(many, course, at_once=at_once)
    return Outcome(len(many), told.codes, broken, told.harm)


async def fail_service(runs: int, *, seed: int = 0, at_once: int = 2) -> Outcome:
    """Let one step of each `serve --drain` fail."""
    told, limit = Outcome(), asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        draw = random.Random(seed * 10_000 + number)
        call = _OF_SERVICE[(seed + number) % len(_OF_SERVICE)]
        step = failing(Step(call, draw.randint(1, _MOST_COUNTED)), draw)
        async with limit:
            try:
                told.codes[await _serve_failing(step)] += 1
            except AssertionError as error:
                told.harm.note(error)
                told.broken.append(f"serve, {step}: {error}")
            told.runs += 1

    async with asyncio.TaskGroup() as tasks:
        for number in range(runs):
            tasks.create_task(one(number))
    return told


async def _serve_failing(step: Step) -> int:
    options = SandboxOptions(apply_min_s=0.0, apply_max_s=0.2, calls_per_minute=None)
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-failing-") as name:
        folder = Path(name)
        writer = Writer(folder / "drop", lambda number: make_export(60, number, rejected=0.05))
        writer.drop.mkdir()
        async with running(options) as sandbox:
            config, state = folder / "config.toml", folder / "state"
            write_config(config, sandbox.base_url, state, batch_rows=20, hold_s=0.3)
            with config.open("a") as file:
                file.write(f'[drop]\ndirectory = "{writer.drop}"\npoll_s = 0.02\nsettle_s = 0.05\n')
            for number in range(3):
                writer.put(number)
            command = ["serve", "--drain", "--config", str(config)]
            how = ["strace", "-f", "-q", "-o", "/dev/null", f"-etrace={step.call}", f"-einject={step.injected}"]
            code, *said = await run_to_end([*how, *program(), *command])
            assert code in _ENDS, (code, said[-1].decode()[-2_000:])
            again, *more = await run(*command)
            assert again == 0, (code, again, more[-1].decode()[-2_000:])
            sandbox.sandbox.apply_all()
            check_all(writer, state)
            check_exact(sandbox.sandbox.profiles(), writer.profiles)
            check_order(sandbox.sandbox.mistakes)
        await check_told(folder, state, config, *said, *more, exports=[folder / "token"])
    return code


async def fail(runs: int | None, *, seed: int = 0) -> Outcome:
    """Half of these runs are loads, half are services; None: each step of a load, and 100 services."""
    told = await fail_service(100 if runs is None else runs // 2, seed=seed)
    courses = list(COURSES.values())
    # Few runs are of one course, and the seed says of which.
    for course in courses if runs is None or runs >= _RUNS_OF_ALL else [courses[seed % len(courses)]]:
        share = None if runs is None else (runs - runs // 2) // (1 if runs < _RUNS_OF_ALL else len(courses))
        told.add(await fail_loads(course(), share, seed=seed))
    return told


def one_run(seed: int) -> Tally:
    """Two loads and two services in which a call fails."""
    told = asyncio.run(fail(4, seed=seed))
    tally = Tally(runs=told.runs, rows=2 * (ROWS + 240), events=told.runs, refused=told.codes[74])
    tally.add(told.harm)
    if told.broken:
        raise FoundError(tally, told.broken)
    return tally


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--every", action="store_true", help="each step of a load, and 100 of the service")
    parser.add_argument("--runs", type=int, default=60, help="so many steps, half of them of the service")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    reason = why_not()
    if reason:
        sys.exit(f"no call can be made to fail: {reason}")
    began = time.monotonic()
    told = asyncio.run(fail(None if arguments.every else arguments.runs, seed=arguments.seed))
    print(*told.broken, f"{told}, {time.monotonic() - began:,.0f} s", sep="\n")
    sys.exit(bool(told.broken))


if __name__ == "__main__":
    main()
