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
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from pipeline.core.batches.lifecycle import Begun
from pipeline.core.errors import FatalError
from pipeline.edges.exports import Identity
from pipeline.edges.store.ledger import open_ledger
from pipeline.edges.store.ledger_file import json_of_parts
from pipeline.sandbox import Running, Sandbox, SandboxOptions
from pipeline.sandbox.acceptance import Accepted
from pipeline.sandbox.batch import Refusal
from pipeline.sandbox.calls import Post
from pipeline.sandbox.runner import serving
from tests.tools.faults.canaries import check_told
from tests.tools.faults.file_log import Call, calls_in, traced
from tests.tools.faults.kills import check_jobs
from tests.tools.faults.loading import (
    COLUMNS,
    HANGS_AFTER_S,
    MEMORY_OF_ALL,
    OF_DAYS,
    Export,
    check_exact,
    check_left_over,
    check_order,
    ledger_of,
    make_export,
    merged_profiles,
    run,
    write_config,
)
from tests.tools.faults.lost_power import Disk, replay
from tests.tools.faults.service_kills import Writer, check_all
from tests.tools.faults.steps import parse_step, why_not
from tests.tools.faults.tally import FoundError, Tally, hold
from tests.tools.support import program

#: Rows of an export, and of a batch.
ROWS, BATCH_ROWS = 150, 30
_OPTIONS = SandboxOptions(seed=5, apply_min_s=0.0, apply_max_s=0.2, calls_per_minute=None)
#: With a memory, the Target replaces what an earlier batch set.
_REPLACING = replace(_OPTIONS, override="replace")
#: Calls that write, and those that make durable: a cut comes behind one of them.
_LASTING = ("write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "unlink", "mkdir", "rmdir", "link")
_DISK_OR_LEDGER = 74


class _Target(Sandbox):
    """A sandbox that notes what arrives when, and can be told all of it again."""

    def __init__(
        self, began_s: float, arrived: Sequence[tuple[float, Post, float]] = (), *, is_replacing: bool = False
    ) -> None:
        self._now: float | None = 0.0
        self._behind_s = 0.0
        super().__init__(_REPLACING if is_replacing else _OPTIONS, monotonic=self._time, wall=lambda: began_s)
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
    """What cuts came to: a run of `tally` is a start behind a cut. `errors`: how the promise was broken."""

    tally: Tally = field(default_factory=Tally)
    errors: list[AssertionError] = field(default_factory=list)

    def __str__(self) -> str:
        tally = self.tally
        return (
            f"{tally.events} cuts, {tally.runs} restarts, {tally.lost} lost, {tally.stale} stale, "
            f"{tally.doubled} doubled, {tally.refused} refused with 74, {tally.broken} broken otherwise"
        )


@dataclass(frozen=True, slots=True)
class Course:
    """A command, what it is to do and how that is checked; `kills` are CALL:N, each of which ends one start of it.

    `is_remembering`: with a memory.
    `put`: puts a file of before back in its place. A drop may have no second name, so it is copied; then it is not the
    file that the ledger knows, and its number is taken out of it.
    """

    folder: Path
    command: tuple[str, ...]
    state: Path
    profiles: dict[str, dict[str, str]]
    rows: int
    check: Callable[[], object]
    put: Callable[[Path | str, Path | str], object]
    kills: tuple[str, ...] = ()
    is_remembering: bool = False


@dataclass(frozen=True, slots=True)
class Making:
    """Makes a course in a folder, for a Target at an address; with `is_remembering` it has a memory."""

    course: Callable[[Path, str], Course]
    is_remembering: bool


@dataclass(frozen=True, slots=True)
class Recording:
    """A course as it went: the calls of each process, and what arrived at Target."""

    course: Course
    kept: Path
    logs: list[list[Call]]
    target: _Target
    port: int


def load_in(
    folder: Path, base_url: str, seed: int, kills: tuple[str, ...] = (), *, is_remembering: bool = False
) -> Course:
    """A `load` of two exports that have ids in common; with a memory they have different columns."""
    columns = OF_DAYS[:2] if is_remembering else (COLUMNS, COLUMNS)
    exports = [
        make_export(ROWS, seed * 10 + n, rejected=0.05, first_id=n * ROWS // 3, columns=columns[n]) for n in range(2)
    ]
    paths = [folder / f"export{number}.csv" for number in range(2)]
    for path, export in zip(paths, exports, strict=True):
        path.write_text(export.text)
    config, state = folder / "config.toml", folder / "state"
    write_config(config, base_url, state, batch_rows=BATCH_ROWS, hold_s=0.3, memory=MEMORY_OF_ALL * is_remembering)
    command = ("load", *map(str, paths), "--config", str(config), "--json")
    return Course(
        folder,
        command,
        state,
        merged_profiles(exports),
        2 * ROWS,
        lambda: _check_load(state, exports),
        _link,
        kills,
        is_remembering,
    )


remember_in = partial(load_in, is_remembering=True)


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
    return Course(folder, command, state, writer.profiles, writer.rows, lambda: check_all(writer, state), _copy, kills)


async def record(make: Making, folder: Path, kept: Path) -> Recording:
    """Run a course to its end in an empty folder, which is left as it was before in `kept`."""
    target = _Target(time.time(), is_replacing=make.is_remembering)
    logs = []
    async with serving(target) as run_of_target:
        course = make.course(folder, run_of_target.base_url)
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


def _forget_numbers(path: Path) -> None:
    """Let a ledger know its exports and signals by size and time alone. Raises `RefusedError` if it is refused."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as database:
        if database.execute("PRAGMA user_version").fetchone() == (0,):
            return
    try:
        ledger = open_ledger(path, "demo", lambda: "", is_new=False)
    except FatalError as error:
        raise RefusedError(str(error)) from error
    for job in ledger.jobs(unfinished_only=True):
        ledger.set_source(job, Identity(job.size_bytes, job.mtime_ns))
        if job.claim is not None:
            ledger.note_claims({job.job_id: replace(job.claim, signal_inode=None)})
        parts = [replace(part, identity=replace(part.identity, inode=None)) for part in job.parts]
        with ledger._transaction() as database:
            database.execute("UPDATE jobs SET parts = ? WHERE seq = ?", (json_of_parts(tuple(parts)), job.seq))
    ledger.close()


def _check(course: Course, target: Running) -> None:
    course.check()
    target.sandbox.apply_all()
    check_exact(target.sandbox.profiles(), course.profiles)
    check_order(target.sandbox.mistakes)


async def cut_at(recording: Recording, cut: int, *, is_ordered: bool) -> str:
    """Cut the power somewhere, as the seed `cut` decides, start again, and look how it ends; in words, where that was.

    Raises `AssertionError` where the promise is broken: a loss of power is no damage, and so 74 is none of the ends.
    """
    draw, course = random.Random(cut), recording.course
    at = draw.choice([call.ended for calls in recording.logs for call in calls if call.name.startswith(_LASTING)])
    disk = Disk(course.folder, is_ordered=is_ordered, put=course.put)
    disk.begin(recording.kept)
    done = replay(disk, recording.logs, at)
    disk.lose_power(draw)
    if course.put is _copy and (course.state / "ledger.db").exists():
        _forget_numbers(course.state / "ledger.db")
    arrived = [each for each in recording.target.arrived if each[0] <= at]
    unknown = _unknown(course.state, [post for _, post, _ in arrived])
    hold("lost", not unknown, f"{unknown} batches arrived of which the ledger knows nothing", unknown)
    again = _Target(recording.target.began_s, arrived, is_replacing=course.is_remembering)
    async with serving(again, port=recording.port) as target:
        code, out, err = await run(*course.command)
        if code == _DISK_OR_LEDGER:
            raise RefusedError(err.decode()[-600:])
        assert code == 0, (code, err.decode()[-600:])
        _check(course, target)
    own = [*course.folder.glob("*.csv"), course.folder / "drop", course.folder / "token"]
    await check_told(course.folder, course.state, course.folder / "config.toml", out, err, exports=own)
    return f"behind {done} calls, when {len(arrived)} batches had arrived"


class RefusedError(AssertionError):
    """The next start refused to go on, as with a damaged ledger."""


async def _told_of(recording: Recording, cut: int, *, is_ordered: bool, told: Outcome) -> None:
    """Count a cut."""
    course, tally = recording.course, told.tally
    tally.events, tally.runs, tally.rows = tally.events + 1, tally.runs + 1, tally.rows + course.rows
    try:
        await cut_at(recording, cut, is_ordered=is_ordered)
    except AssertionError as error:
        tally.note(error)
        tally.refused += isinstance(error, RefusedError)
        killed = f" after kills at {', '.join(course.kills)}" if course.kills else ""
        error.add_note(f"{course.command[0]}{killed}, cut {cut}, {'ordered' if is_ordered else 'strict'}")
        told.errors.append(error)


def _unknown(state: Path, posts: list[Post]) -> int:
    """How many of these are batches of which the ledger does not know that they were sent."""
    if not posts:
        return 0
    if not (state / "ledger.db").exists():
        return len(posts)
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-power-") as name:
        copy = Path(name) / "state"
        shutil.copytree(state, copy)
        try:
            with ledger_of(copy) as ledger:
                records = [record for job in ledger.jobs() for record in ledger.batches(job=job)]
        except FatalError as error:
            raise RefusedError(str(error)) from error
    begun = {record.batch.sha256 for record in records if any(isinstance(fact, Begun) for fact in record.facts)}
    return sum(sha256(post.body).hexdigest() not in begun for post in posts)


def _courses(seed: int) -> list[Making]:
    """Loads and services; kills come at the first flushes of a new state directory, and at any."""
    draw = random.Random(seed)
    kills: list[tuple[str, ...]] = [
        (),
        *[(f"fsync:{count}",) for count in (1, 2, 3)],
        (f"fdatasync:{draw.randint(1, 12)}", f"fsync:{draw.randint(1, 20)}"),
        (f"rename:{draw.randint(1, 10)}",),
    ]
    return [
        Making(partial(make, seed=seed + number, kills=each), is_remembering=make is remember_in)
        for number, each in enumerate(kills)
        for make in (load_in, serve_in, remember_in)
    ]


async def cut_power(cuts: int, *, seed: int = 0, at_once: int = 2, courses: int | None = None) -> Outcome:
    """So many cuts of loads and of the service, of killed ones too; half of them in an ordered file system."""
    told, limit = Outcome(), asyncio.Semaphore(at_once)
    chosen = _courses(seed)
    chosen = chosen if courses is None else random.Random(seed).sample(chosen, courses)

    async def one(number: int) -> None:
        async with limit:
            with tempfile.TemporaryDirectory(prefix="profile-pipeline-power-") as name:
                folder = Path(name) / "there"
                folder.mkdir()
                recording = await record(chosen[number], folder, Path(name) / "kept")
                for cut in range(number, cuts, len(chosen)):
                    await _told_of(recording, seed + cut, is_ordered=cut // len(chosen) % 2 == 1, told=told)

    async with asyncio.TaskGroup() as tasks:
        for number in range(min(cuts, len(chosen))):
            tasks.create_task(one(number))
    return told


def one_run(seed: int) -> Tally:
    """One course, of which the power is cut four times."""
    told = asyncio.run(cut_power(4, seed=seed, courses=1))
    if told.errors:
        raise FoundError(told.tally, map(_noted, told.errors))
    return told.tally


def _noted(error: AssertionError) -> str:
    """An error, behind the cut at which it came."""
    return ": ".join((*getattr(error, "__notes__", ()), str(error)))


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
    for error in told.errors:
        print(_noted(error))
    print(f"{told}, {time.monotonic() - began:,.0f} s")
    return bool(told.errors)


if __name__ == "__main__":
    raise SystemExit(main())
