"""Kills a load at every single step it makes on the disk, and every recovery at every step, and checks the end.

`python -m tests.tools.faults.steps --every`. A step is a system call that changes a file or makes a change durable (see
`CALLS`); strace ends the process on its way into the nth one, so that all before it are done and it is not. Calls
torn in their middle are not modelled; `failing` has those that fail, `power` what a loss of power undoes.
"""

import asyncio
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from pipeline.sandbox import SandboxOptions, running
from pipeline.sandbox.options import Override
from tests.tools.faults.canaries import check_told
from tests.tools.faults.loading import (
    HANGS_AFTER_S,
    MEMORY_OF_ALL,
    OF_DAYS,
    Export,
    check_equation,
    check_exact,
    check_folder,
    check_left_over,
    check_order,
    make_export,
    merged_profiles,
    run,
    write_config,
)
from tests.tools.faults.one_thread import HEAD_START, LOCKING
from tests.tools.faults.tally import Tally, hold

#: What changes a file, a name, or what would survive. Sockets are written to with other calls.
CALLS = (
    "write",
    "pwrite64",
    "writev",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "ftruncate",
    "truncate",
    "mkdir",
)
ROWS = 240
#: Batches in which they go.
_BATCHES, _BATCHES_REMEMBERED = 6, 12
_KILLED, _DISK_OR_LEDGER = -9, 74


def parse_step(text: str) -> "Step":
    """A step as it is printed: CALL:N, CALL:N=ERROR or CALL:N+=ERROR."""
    where, _, error = text.partition("=")
    call, _, count = where.partition(":")
    return Step(call, int(count.rstrip("+")), error=error, lasts=count.endswith("+"))


def why_not() -> str | None:
    """Why steps cannot be counted here; None where they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"strace may not trace: {tried.stderr.strip()}"


@dataclass(frozen=True, slots=True)
class Step:
    """The nth call of that name, from 1; with `is_locking` by the thread that takes the lock, else by the worker.

    `error`: the call fails with it, and is not made; without it the process is killed there. `lasts`: so do all calls
    of that name from there on. `is_of_memory`: its file is one of the memory, or of gathered rows.
    """

    call: str
    count: int
    is_locking: bool = False
    error: str = ""
    lasts: bool = False
    is_of_memory: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.call}:{self.count}{'+' * self.lasts}{f'={self.error}' if self.error else ''}"

    @property
    def injected(self) -> str:
        """What strace does there, in its words."""
        what = f"error={self.error}" if self.error else "signal=SIGKILL"
        return f"{self.call}:{what}:when={self.count}{'+' * self.lasts}"


@dataclass(frozen=True, slots=True)
class Course:
    """What a load is given: exports, of which all are loaded with one command.

    `is_remembering`: with a memory, whose files are merged on the way, and a Target that replaces what an earlier batch
    set.
    """

    exports: tuple[Export, ...]
    is_remembering: bool = False

    @property
    def options(self) -> SandboxOptions:
        """Those of its sandbox."""
        override: Override = "replace" if self.is_remembering else "merge"
        return SandboxOptions(apply_min_s=0.0, apply_max_s=0.2, calls_per_minute=None, override=override)

    def write(self, folder: Path, base_url: str) -> list[str]:
        """Its files; the arguments of its load."""
        config, state = folder / "config.toml", folder / "state"
        memory = MEMORY_OF_ALL * self.is_remembering
        batch_rows = ROWS // (_BATCHES_REMEMBERED if self.is_remembering else _BATCHES)
        write_config(config, base_url, state, batch_rows=batch_rows, hold_s=0.3, memory=memory)
        paths = self.paths(folder)
        for path, export in zip(paths, self.exports, strict=True):
            path.write_text(export.text)
        return [str(config), *map(str, paths)]

    def paths(self, folder: Path) -> list[Path]:
        """Its exports in that folder."""
        return [folder / f"export{number}.csv" for number in range(len(self.exports))]


@dataclass(slots=True)
class Outcome:
    """How often the load was killed, and which call each of them kept from being made; how it ended of failed calls.

    `harm`: what was broken.
    """

    kills: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    before: list[str] = field(default_factory=list)
    harm: Tally = field(default_factory=Tally)


async def kill_at(steps: Sequence[Step], course: Course, *, seed: int = 0) -> Outcome:
    """Load exports, kill each start before its step in turn or let that step fail, and let the last one be.

    A load of which a step failed ends with 74, or goes on. Raises `AssertionError` where the promise is broken.
    """
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-steps-") as name:
        folder = Path(name)
        config, state = folder / "config.toml", folder / "state"
        async with running(replace(course.options, seed=seed)) as sandbox:
            arguments = course.write(folder, sandbox.base_url)
            said: list[bytes] = []
            for step in (*steps, None):
                if step is None:
                    code, out, err = await run("load", *arguments[1:], "--config", arguments[0], "--json")
                else:
                    code, out, err = await run_to_end(_command(step, folder, arguments))
                said += [out, err]
                if step is not None and code == _KILLED:
                    outcome.kills += 1
                    outcome.before.append(_last_call((folder / "trace").read_text()))
                    continue
                if step is not None and step.error:
                    outcome.codes[code] += 1
                    assert code in (0, _DISK_OR_LEDGER), (str(step), code, out, err.decode())
                    continue
                assert code == 0, (code, out, err.decode())
                break
            for line, export in zip(out.splitlines(), course.exports, strict=True):
                _check_load(state, orjson.loads(line), export)
            check_left_over(state)
            sandbox.sandbox.apply_all()
            check_exact(sandbox.sandbox.profiles(), merged_profiles(course.exports))
            check_order(sandbox.sandbox.mistakes)
        # The trace of a step is the test's, and shows what is written.
        own = [*course.paths(folder), config.with_name("token"), folder / "trace"]
        await check_told(folder, state, config, *said, exports=own)
    return outcome


def _check_load(state: Path, report: dict[str, Any], export: Export) -> None:
    """An export was loaded whole."""
    if report["same_as"]:
        # The kill came when all was said and done.
        report = orjson.loads((state / "jobs" / report["same_as"] / "report.json").read_bytes())
    check_equation(report)
    check_folder(state, report, export)
    counts = report["rows"]
    settled = ("confirmed", "superseded", "unchanged", "empty", "rejected")
    hold("lost", sum(counts[name] for name in settled) == counts["read"] == export.rows, counts)
    hold("lost", counts["rejected"] == len(export.rejects), counts)


async def run_to_end(command: Sequence[str]) -> tuple[int, bytes, bytes]:
    """Run a command to its end; exit code, stdout and stderr."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(HANGS_AFTER_S):
            out, err = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    assert process.returncode is not None
    return process.returncode, out, err


def _command(step: Step | None, folder: Path, arguments: list[str]) -> list[str]:
    """The load, killed on its way into that step."""
    head_start = "" if step and step.is_locking else HEAD_START
    load = [sys.executable, "-m", "tests.tools.faults.one_thread", head_start, *arguments]
    if step is None:
        return load
    injecting = f"-einject={step.injected}"
    return ["strace", "-f", "-y", "-o", str(folder / "trace"), f"-etrace={step.call}", injecting, *load]


def _last_call(trace: str) -> str:
    """The call that was not made, and its file without its number."""
    calls = _CALL.findall(trace)
    return _named(*calls[-1]) if calls else "?"


_CALL = re.compile(r"^\d+ +(\w+)\((.*)", re.MULTILINE)


def _named(call: str, arguments: str) -> str:
    files = re.findall(r"[^/<>\"]+(?=[>\"])", arguments.partition(" <unf")[0].partition(",")[0])
    return f"{call} {re.sub('[0-9]+', 'N', files[-1] if files else '')}"


async def steps_of(course: Course) -> list[Step]:
    """The steps of a load that is not killed, in order; timing makes a few more or less of them each time."""
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-steps-") as name:
        folder = Path(name)
        async with running(course.options) as sandbox:
            arguments = course.write(folder, sandbox.base_url)
            tracing = ["strace", "-f", "-y", "-o", str(folder / "trace"), f"-etrace={','.join(CALLS)}"]
            code, _, err = await run_to_end([*tracing, *_command(None, folder, arguments)])
        assert code == 0, err.decode()
        made = re.findall(r"^(\d+) +(\w+)\((.*)", (folder / "trace").read_text(), re.MULTILINE)
    # The worker is the first to make a call, its head start.
    worker, counts = made[0][0], Counter[str]()
    steps = [Step(call, 1, is_locking=True) for call in LOCKING]
    for thread, call, arguments in made:
        if thread == worker:
            counts[call] += 1
            if call not in LOCKING or counts[call] > 1:
                is_of_memory = any(f"/state/{each}" in arguments for each in ("memory", "gathered"))
                steps.append(Step(call, counts[call], is_of_memory=is_of_memory))
    return steps


async def kill_at_all(many: list[tuple[Step, ...]], course: Course, *, at_once: int = 2) -> tuple[Outcome, list[str]]:
    """`kill_at` for each of these, some at a time; what happened in all, and what was broken after which steps."""
    limit = asyncio.Semaphore(at_once)
    told, broken = Outcome(), list[str]()

    async def one(steps: tuple[Step, ...]) -> None:
        async with limit:
            try:
                outcome = await kill_at(steps, course)
            except AssertionError as error:
                told.harm.note(error)
                broken.append(f"after {' and '.join(map(str, steps))}: {error}")
            else:
                told.kills += outcome.kills
                told.before += outcome.before
                told.codes += outcome.codes

    async with asyncio.TaskGroup() as tasks:
        for steps in many:
            tasks.create_task(one(steps))
    return told, broken


def small_course() -> Course:
    """The load of these tests: a few batches, repeated ids, and rows to be rejected."""
    return Course((make_export(ROWS, 7, repeated=0.3, rejected=0.05),))


def remembering_course() -> Course:
    """A load with a memory: exports of different columns, which have ids in common."""
    rows = ROWS // len(OF_DAYS)
    exports = [
        make_export(rows, 7 + day, rejected=0.05, first_id=day * rows // 4, columns=columns)
        for day, columns in enumerate(OF_DAYS)
    ]
    return Course(tuple(exports), is_remembering=True)


#: By name, what is loaded.
COURSES = {"plain": small_course, "remembering": remembering_course}


def sample(steps: list[Step], count: int, seed: int) -> list[Step]:
    """So many steps, one of each kind of call at least, the rest spread over the load."""
    draw = random.Random(seed)
    by_call = {call: [step for step in steps if step.call == call and not step.is_locking] for call in CALLS}
    chosen = [draw.choice(of_call) for of_call in by_call.values() if of_call]
    width = len(steps) / max(1, count - len(chosen))
    chosen += [steps[int((part + draw.random()) * width)] for part in range(count - len(chosen))]
    return chosen


async def kill_everywhere(course: Course, *, recoveries: int, share: float = 1.0) -> None:
    """Kill at each step of a load; and, from some of them on, at each step of what follows.

    `share`: of the steps, evenly spread.
    """
    started = time.monotonic()
    every = await steps_of(course)
    steps = sample(every, max(len(CALLS), round(share * len(every))), 1) if share < 1.0 else every
    bases = sample(steps, recoveries, 1)[-recoveries:] if recoveries else []
    rounds: dict[str, list[tuple[Step, ...]]] = {"a load": [(step,) for step in steps]}
    for base in bases:
        rounds[f"what follows on a kill at {base}"] = [(base, step) for step in steps]
    kills, broken = Counter[str](), list[str]()
    for named, many in rounds.items():
        outcome, found = await kill_at_all(many, course)
        kills.update(outcome.before)
        broken += found
        took_s = time.monotonic() - started
        print(f"{len(many)} runs, {outcome.kills} kills at the steps of {named}: {took_s:,.0f} s", flush=True)
    for before, count in sorted(kills.items()):
        print(f"{count:6} before {before}")
    if broken:
        sys.exit("\n".join((*broken, f"{len(broken)} loads broke the promise")))
    print(f"{kills.total()} kills survived, each before one step on the disk; {len(steps)} steps in a load")


@cache
def _steps(name: str) -> list[Step]:
    return asyncio.run(steps_of(COURSES[name]()))


def one_run(seed: int) -> Tally:
    """A load that dies before a step, and every other time the one that follows on it too."""
    draw, name = random.Random(seed), list(COURSES)[seed // 2 % len(COURSES)]
    steps = _steps(name)
    chosen = [draw.choice(steps) for _ in range(1 + seed % 2)]
    outcome = asyncio.run(kill_at(chosen, COURSES[name](), seed=seed))
    return Tally(runs=1, rows=ROWS, events=outcome.kills)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--every", action="store_true", help="every step, else those of --at")
    parser.add_argument(
        "--at", nargs="*", default=[], help="CALL:N ends the first start there (CALL:N=EIO: it fails), and so on"
    )
    parser.add_argument("--course", choices=COURSES, help="what is loaded; without it, each in turn")
    parser.add_argument("--share", type=float, default=1.0, help="of the steps of each")
    parser.add_argument("--recoveries", type=int, default=2, help="from how many steps on every step of a recovery")
    arguments = parser.parse_args()
    reason = why_not()
    if reason:
        sys.exit(f"steps cannot be counted: {reason}")
    courses = [COURSES[arguments.course]()] if arguments.course else [course() for course in COURSES.values()]
    for course in courses:
        if arguments.every:
            asyncio.run(kill_everywhere(course, recoveries=arguments.recoveries, share=arguments.share))
        else:
            print(asyncio.run(kill_at([parse_step(at) for at in arguments.at], course)))


if __name__ == "__main__":
    main()
