"""Cuts the power at any moment of a load or of the service, and starts it again on what the disk may hold then.

`python -m tests.tools.faults.power --cuts 200`. All file operations are recorded (needs strace) and done again on a
model of a file system (`lost_power`) up to the cut. Target lives on: it has what had arrived by then.
"""

import asyncio
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from pipeline.core.batches.lifecycle import Begun
from pipeline.edges.store.row_sums import add_function, add_triggers
from pipeline.sandbox import MistakeKind, Running, Sandbox, SandboxOptions
from pipeline.sandbox.acceptance import Accepted
from pipeline.sandbox.batch import Refusal
from pipeline.sandbox.calls import Post
from pipeline.sandbox.runner import serving
from tests.tools.faults.file_log import Call, calls_in, traced
from tests.tools.faults.kills import check_jobs
from tests.tools.faults.loading import (
    HANGS_AFTER_S,
    Export,
    check_left_over,
    ledger_of,
    make_export,
    merged_profiles,
    run,
    write_config,
)
from tests.tools.faults.lost_power import Disk, replay
from tests.tools.faults.service_kills import Writer, check_all
from tests.tools.faults.steps import parse_step, why_not
from tests.tools.support import program

#: Rows of an export, and of a batch.
ROWS, BATCH_ROWS = 150, 30
_OPTIONS = SandboxOptions(seed=5, apply_min_s=0.0, apply_max_s=0.2, calls_per_minute=None)
#: Calls that write, and those that make durable: a cut comes behind one of them.
_LASTING = ("write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "unlink", "mkdir", "rmdir", "link")
_DISK_OR_LEDGER = 74


class _Target(Sandbox):
    """A sandbox that notes what arrives when, and can be told all of it again."""

    def __init__(self, began_s: float, arrived: Sequence[tuple[float, Post, float]] = ()) -> None:
        self._now: float | None = 0.0
        self._behind_s = 0.0
        super().__init__(_OPTIONS, monotonic=self._time, wall=lambda: began_s)
        self.began_s = began_s
        self.arrived: list[tuple[float, Post, float]] = []
        for _, post, accepted_s in arrived:
            self._now = accepted_s
            super().submit(post)
        self._behind_s = time.monotonic() - self._now
        self._now = None

    def _time(self) -> float:
        return time.monotonic() - self._behind_s if self._now is None else self._now

    def submit(self, post: Post) -> Accepted | Refusal:
        at = time.time()
        outcome = super().submit(post)
        if isinstance(outcome, Accepted):
            self.arrived.append((at, post, outcome.accepted_s))
        return outcome


@dataclass(slots=True)
class Outcome:
    """What cuts came to. `refused`: the next start ended with 74. `broken`: what broke, in words."""

    cuts: int = 0
    restarts: int = 0
    lost: int = 0
    stale: int = 0
    doubled: int = 0
    refused: int = 0
    broken: list[str] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Count these too."""
        for name in ("cuts", "restarts", "lost", "stale", "doubled", "refused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.broken += other.broken

    def __str__(self) -> str:
        return (
            f"{self.cuts} cuts, {self.restarts} restarts, {self.lost} lost, {self.stale} stale, "
            f"{self.doubled} doubled, {self.refused} refused with 74, {len(self.broken)} broken"
        )


@dataclass(frozen=True, slots=True)
class Course:
    """A command, what it is to do and how that is checked; `kills` are CALL:N, each of which ends one start of it.

    `put`: puts a file of before back in its place. A drop may have no second name, so it is copied; then it is not the
    file that the ledger knows, and its number is taken out of it.
    """

    folder: Path
    command: tuple[str, ...]
    state: Path
    profiles: dict[str, dict[str, str]]
    check: Callable[[], object]
    put: Callable[[Path | str, Path | str], object]
    kills: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """A course as it went: the calls of each process, and what arrived at Target."""

    course: Course
    kept: Path
    logs: list[list[Call]]
    target: _Target
    port: int


def load_in(folder: Path, base_url: str, seed: int, kills: tuple[str, ...] = ()) -> Course:
    """A `load` of two exports that have ids in common."""
    exports = [make_export(ROWS, seed * 10 + n, rejected=0.05, first_id=n * ROWS // 3) for n in range(2)]
    paths = [folder / f"export{number}.csv" for number in range(2)]
    for path, export in zip(paths, exports, strict=True):
        path.write_text(export.text)
    config, state = folder / "config.toml", folder / "state"
    write_config(config, base_url, state, batch_rows=BATCH_ROWS, hold_s=0.3)
    command = ("load", *map(str, paths), "--config", str(config), "--json")
    return Course(folder, command, state, merged_profiles(exports), lambda: _check_load(state, exports), _link, kills)


def _check_load(state: Path, exports: list[Export]) -> None:
    check_jobs(state, exports)
    check_left_over(state)


def serve_in(folder: Path, base_url: str, seed: int, kills: tuple[str, ...] = ()) -> Course:
    """A `serve --drain` with drops of all forms."""
    writer, state = Writer(folder / "drop", lambda number: make_export(ROWS // 2, number, rejected=0.05)), folder / "s"
    writer.drop.mkdir()
    for number in range(3):
        writer.put(seed * 10 + number)
    config = folder / "config.toml"
    write_config(config, base_url, state, batch_rows=BATCH_ROWS, hold_s=0.3)
    with config.open("a") as file:
        file.write(f'[drop]\ndirectory = "{writer.drop}"\npoll_s = 0.02\nsettle_s = 0.05\nkeep_exports = "always"\n')
    command = ("serve", "--drain", "--config", str(config))
    return Course(folder, command, state, writer.profiles, lambda: check_all(writer, state), _copy, kills)


async def record(make: Callable[[Path, str], Course], folder: Path, kept: Path) -> Recording:
    """Run a course to its end in an empty folder, which is left as it was before in `kept`."""
    target = _Target(time.time())
    logs = []
    async with serving(target) as run_of_target:
        course = make(folder, run_of_target.base_url)
        shutil.copytree(folder, kept, copy_function=course.put)
        for number, kill_at in enumerate((*course.kills, "")):
            log = kept.with_name(f"{kept.name}-log{number}")
            process = await asyncio.create_subprocess_exec(
                *traced(log, [*program(), *course.command], inject=kill_at and parse_step(kill_at).injected),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                _, err = await asyncio.wait_for(process.communicate(), HANGS_AFTER_S)
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
            assert process.returncode in ((0, -9) if kill_at else (0,)), (process.returncode, err.decode())
            logs.append(calls_in(log))
            log.unlink()
        _check(course, run_of_target)
    return Recording(course, kept, logs, target, int(run_of_target.base_url.rpartition(":")[2]))


def _link(source: Path | str, to: Path | str) -> None:
    Path(to).hardlink_to(source)


def _copy(source: Path | str, to: Path | str) -> None:
    shutil.copy2(source, to)


def _forget_numbers(ledger: Path) -> None:
    """Let a ledger know its exports by size and time alone."""
    if ledger.exists():
        with suppress(sqlite3.Error), closing(sqlite3.connect(ledger, isolation_level=None)) as database:
            add_function(database)
            add_triggers(database)
            database.execute("UPDATE jobs SET inode = NULL, claim = json_set(claim, '$.signal_inode', NULL)")


def _check(course: Course, target: Running) -> None:
    course.check()
    target.sandbox.apply_all()
    assert target.sandbox.profiles() == course.profiles, "profiles differ"
    assert target.sandbox.mistakes == [], target.sandbox.mistakes


async def cut_at(recording: Recording, cut: int, *, is_ordered: bool) -> Outcome:
    """Cut the power somewhere, as the seed `cut` decides, start again, and look how it ends."""
    draw, course = random.Random(cut), recording.course
    moments = [call.ended for calls in recording.logs for call in calls if call.name.startswith(_LASTING)]
    at = draw.choice(moments)
    disk = Disk(course.folder, is_ordered=is_ordered, put=course.put)
    disk.begin(recording.kept)
    done = replay(disk, recording.logs, at)
    disk.lose_power(draw)
    if course.put is _copy:
        _forget_numbers(course.state / "ledger.db")
    arrived = [each for each in recording.target.arrived if each[0] <= at]
    told = Outcome(cuts=1)
    killed = f" after kills at {', '.join(course.kills)}" if course.kills else ""
    kind = "ordered" if is_ordered else "strict"
    where = f"{course.command[0]}{killed}, cut {cut} ({kind}) behind {done} calls and {len(arrived)} batches"
    unknown = _unknown(course.state, [post for _, post, _ in arrived])
    if unknown:
        told.lost += 1
        told.broken.append(f"{where}: {unknown} batches arrived of which the ledger knows nothing")
    async with serving(_Target(recording.target.began_s, arrived), port=recording.port) as target:
        code, _, err = await run(*course.command)
        told.restarts += 1
        if code == _DISK_OR_LEDGER:
            told.refused += 1
            told.broken.append(f"{where}: refused: {err.decode()[-600:]}")
            return told
        kinds = [mistake.kind for mistake in target.sandbox.mistakes]
        told.stale += bool({MistakeKind.CLASH, MistakeKind.STALE_OVERWRITE} & set(kinds))
        try:
            assert code == 0, (code, err.decode()[-600:])
            target.sandbox.apply_all()
            told.lost += target.sandbox.profiles() != course.profiles
            _check(course, target)
        except AssertionError as error:
            told.doubled += "profiles" not in str(error)
            told.broken.append(f"{where}: {error}")
    return told


def _unknown(state: Path, posts: list[Post]) -> int:
    """How many of these are batches of which the ledger does not know that they were sent."""
    if not posts:
        return 0
    if not (state / "ledger.db").exists():
        return len(posts)
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-power-") as name:
        copy = Path(name) / "state"
        shutil.copytree(state, copy)
        with ledger_of(copy) as ledger:
            records = [record for job in ledger.jobs() for record in ledger.batches(job=job)]
    begun = {record.batch.sha256 for record in records if any(isinstance(fact, Begun) for fact in record.facts)}
    return sum(sha256(post.body).hexdigest() not in begun for post in posts)


async def cut_power(cuts: int, *, seed: int = 0, at_once: int = 2) -> Outcome:
    """So many cuts of loads and of the service, of killed ones too; half of them in an ordered file system."""
    draw = random.Random(seed)
    kills: list[tuple[str, ...]] = [
        (),
        # The first of a new state directory, and any.
        *[(f"fsync:{count}",) for count in (1, 2, 3)],
        (f"fdatasync:{draw.randint(1, 12)}", f"fsync:{draw.randint(1, 20)}"),
        (f"rename:{draw.randint(1, 10)}",),
    ]
    makers = [(make, each) for each in kills for make in (load_in, serve_in)]
    told, limit = Outcome(), asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with limit:
            with tempfile.TemporaryDirectory(prefix="profile-pipeline-power-") as name:
                folder = Path(name) / "there"
                folder.mkdir()
                make, kills = makers[number]
                made_with = partial(make, seed=seed + number, kills=kills)
                recording = await record(made_with, folder, Path(name) / "kept")
                for cut in range(number, cuts, len(makers)):
                    told.add(await cut_at(recording, seed + cut, is_ordered=cut // len(makers) % 2 == 1))

    async with asyncio.TaskGroup() as tasks:
        for number in range(min(cuts, len(makers))):
            tasks.create_task(one(number))
    return told


def main() -> int:
    """Print what happened; 1 if anything is broken."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if reason := why_not():
        sys.exit(f"nothing can be recorded: {reason}")
    began = time.monotonic()
    told = asyncio.run(cut_power(arguments.cuts, seed=arguments.seed))
    for each in told.broken:
        print(each)
    print(f"{told}, {time.monotonic() - began:,.0f} s")
    return bool(told.broken)


if __name__ == "__main__":
    raise SystemExit(main())
