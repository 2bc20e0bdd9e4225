"""What the tests of the edges and of whole loads share: settings, a fast event loop, a small disk, the real program."""

import asyncio
import contextlib
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack

import orjson
import pytest
from aiohttp import web
from anyio.to_thread import current_default_thread_limiter

from pipeline.edges.clock import Clock
from pipeline.sandbox import FaultPlan, Sandbox, SandboxOptions, running
from pipeline.settings.settings import Settings, load_settings
from tests.tools.fork_server import Forked, fork

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")
Sections = dict[str, dict[str, Any]]

#: The classes of which every row read is in exactly one.
CLASSES = ("confirmed", "superseded", "unchanged", "excluded", "rejected", "empty", "failed", "unconfirmed", "unsent")
#: Two rows a batch and one batch at a time: what is not sent when a load ends is known.
ONE_BY_ONE: dict[str, dict[str, Any]] = {
    "batch": {"max_rows": 2},
    "settle": {"status_window": 1},
    "upload": {"concurrency": 1},
}
SIX_ROWS = tuple(f"u{n},gold,{n}" for n in range(6))
#: A user that owns nothing.
NOBODY = 65_534
#: What takes longer than this in a thread hangs (seconds).
HANGS_AFTER_S = 60.0
#: What takes longer than this on an event loop that skips time hangs (seconds of its time).
_LONGEST_S = 100_000.0
#: Time is skipped by so much at least (seconds), and those who look for something again and again look less often.
_SKIPPED_AT_LEAST_S = 0.1
#: What one socket of this process has sent to another has arrived by then (seconds).
_ON_ITS_WAY_S = 0.001
#: Nobody listens on port 1 of the loopback interface.
CLOSED = "http://127.0.0.1:1"


# --- Settings, exports and reports ------------------------------------------------------------------


def sections_for(base_url: str, directory: Path, /, **sections: Mapping[str, Any]) -> Sections:
    """A configuration for the sandbox's pace with its state in `directory`; `sections` are laid over it key by key."""
    quick: Sections = {
        "target": {"client_code": "demo", "base_url": base_url, "calls_per_minute": 100_000},
        "export": {"id_column": "id", "unlisted": "send"},
        "upload": {"backoff_s": 0.5, "backoff_max_s": 2.0, "give_up_after_s": 600.0},
        "settle": {"poll_first_s": 0.5, "poll_max_s": 2.0, "deadline_s": 300.0, "ambiguous_hold_s": 15.0},
        "state": {"directory": str(directory), "min_free_bytes": 0},
        # Many services run side by side.
        "web": {"port": 0},
    }
    for name, keys in sections.items():
        if isinstance(keys, list):
            quick[name] = keys
        else:
            quick.setdefault(name, {}).update(keys)
    return quick


def settings_for(base_url: str, directory: Path, /, **sections: Mapping[str, Any]) -> Settings:
    """Those of `sections_for`, untouched by the environment."""
    return load_settings(None, env={}, overrides=sections_for(base_url, directory, **sections))


def write_config(file: Path, sections: Mapping[str, Any]) -> Path:
    """A configuration file; strings, numbers, lists and tables of strings, and lists of tables only."""

    def toml(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"
        return orjson.dumps(value).decode()

    lines = [
        line
        for section, tables in sections.items()
        for keys in (tables if isinstance(tables, list) else [tables])
        for line in (
            f"[[{section}]]" if isinstance(tables, list) else f"[{section}]",
            *(f"{key} = {toml(value)}" for key, value in keys.items()),
        )
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def write_export(file: Path, *lines: str, header: str = "id,tier,ltv") -> Path:
    """An export of these lines below a header."""
    file.write_text("\n".join((header, *lines)) + "\n")
    return file


def profiles_after(*lines: str, header: str = "id,tier,ltv") -> dict[str, dict[str, str]]:
    """What plain lines without quotes come to: of each id's attributes the last value that is not empty."""
    _, *names = header.split(",")
    profiles: dict[str, dict[str, str]] = {}
    for line in lines:
        profile_id, *cells = line.split(",")
        values = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
        if values:
            profiles.setdefault(profile_id, {}).update(values)
    return profiles


def assert_every_row_is_in_one_class(report: Mapping[str, Any]) -> None:
    """The equation of the report, of its batches too: no row lost, none counted twice."""
    rows, batches = report["rows"], report["batches"]
    # Rows that the next run follows: only of a job that has not ended.
    pending = rows.get("pending", 0)
    assert rows.keys() - {"pending"} == {"read", *CLASSES}
    goes_on = report["state"] in ("unfinished", "quarantined")
    assert goes_on or "pending" not in rows
    assert not goes_on or not rows["unsent"]
    assert all(count >= 0 for count in rows.values()), rows
    assert rows["read"] == sum(rows[name] for name in CLASSES) + pending == report["export"]["rows"], rows
    # The rows of a split batch are in its parts.
    settled = sum(batch["rows"] for batch in batches if batch["state"] != "split")
    refused = report["rejects"]["by_reason"].get("target.refused", 0)
    assert settled <= rows["confirmed"] + rows["failed"] + rows["unconfirmed"] + refused, report
    assert rows["rejected"] == sum(report["rejects"]["by_reason"].values()), report
    assert len({batch["number"] for batch in batches}) == len(batches)


def assert_report_is_kept(report: Mapping[str, Any], folder: Path) -> None:
    """In the job's folder, as soon as nothing is left to be done: a job that is unfinished has none yet."""
    kept = folder / "report.json"
    if report["state"] in ("unfinished", "quarantined"):
        assert not kept.exists()
    else:
        assert orjson.loads(kept.read_bytes()) == report
        assert f"{report['rows']['read']:,}</td>" in (folder / "report.html").read_text()


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The objects in a file of JSON lines, none if it is not there."""
    return [orjson.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def names_in(directory: Path) -> list[str]:
    """The names in a directory, hidden ones too."""
    return sorted(path.name for path in directory.iterdir())


# --- Time -------------------------------------------------------------------------------------------


class _Leaping(selectors.DefaultSelector):
    """Where nothing of this process is under way, the time until the next timer is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped_s = 0.0
        self.is_busy: Callable[[], bool] = lambda: False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or self.is_busy():
            # Someone in a thread or in another process is at work, and no timer of ours is to come before.
            ready = super().select(HANGS_AFTER_S if timeout is None else min(HANGS_AFTER_S, timeout))
            assert ready or timeout is not None, "everything waits, and nothing is going to happen"
            return ready
        ready = super().select(min(timeout, _ON_ITS_WAY_S))
        if not ready and timeout > 0:
            self.skipped_s += max(timeout, _SKIPPED_AT_LEAST_S)
        return ready


class _LeapingLoop(asyncio.SelectorEventLoop):
    """Its time is that of the machine and what was skipped. It is busy while a thread works for it."""

    def __init__(self, selector: _Leaping) -> None:
        super().__init__(selector)
        self._skipping = selector
        self._in_threads = 0

    def time(self) -> float:
        return super().time() + self._skipping.skipped_s

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Arguments]], Result], *args: *Arguments
    ) -> asyncio.Future[Result]:
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._is_back)
        return future

    def _is_back(self, _: object) -> None:
        self._in_threads -= 1

    async def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        threads = current_default_thread_limiter()
        self._skipping.is_busy = lambda: self._in_threads + threads.borrowed_tokens > 0
        async with asyncio.timeout(_LONGEST_S):
            return await coroutine


def run_fast(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run on an event loop that skips the time in which everything waits, for what waits half a minute and more.

    Nothing in it is told: timeouts of the client, sleeps and the loop's own clock keep their proportions. Client and
    server may both be in it, and threads; for what another process does it does not wait.
    """
    loop = _LeapingLoop(_Leaping())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(loop.run(coroutine))


def loop_clock() -> Clock:
    """The clock of the running event loop, so that a fast loop's is fast too."""
    return Clock(monotonic=asyncio.get_running_loop().time)


async def until(condition: Callable[[], object], *, within_s: float = 20.0) -> None:
    """Wait until a condition on what other tasks or processes do holds; fails the test if it never does."""
    async with asyncio.timeout(within_s):
        pause_s = 0.01
        while not condition():
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.05, within_s / 100)


# --- Whole loads in this process --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """A load that has ended, and what the sandbox came to once everything that waited was applied."""

    report: dict[str, Any]
    folder: Path
    sandbox: Sandbox
    profiles: dict[str, dict[str, str]]

    @property
    def rows(self) -> dict[str, int]:
        return dict(self.report["rows"])

    @property
    def batches(self) -> list[dict[str, Any]]:
        return list(self.report["batches"])

    @property
    def posts(self) -> list[dict[str, Any]]:
        """Each batch the sandbox accepted, repeats included, in order."""
        accepted: Any = self.sandbox.state()["batches"]
        return list(accepted)


# --- The program as a process of its own ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ended:
    """How the program ended. A negative code is the signal that killed it."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The only report on stdout."""
        (line,) = self.out.splitlines()
        report: dict[str, Any] = orjson.loads(line)
        return report

    @property
    def said(self) -> str:
        """All that a person gets to see."""
        return self.out + self.err


def program() -> list[str]:
    """How to start it: as installed beside this Python, or else as a module."""
    installed = Path(sys.executable).parent / "profile-pipeline"
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "pipeline"]


#: A start of the command, or a fork of a process that has started already.
Process = asyncio.subprocess.Process | Forked


@asynccontextmanager
async def started(
    *arguments: str | Path, env: Mapping[str, str] | None = None, cold: bool = False
) -> AsyncIterator[Process]:
    """The program while it runs; killed if the test ends before it. If cold, the installed command itself starts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PROFILE_PIPELINE__")}
    variables = {**kept, **(env or {})}
    process: Process
    if cold:
        process = await asyncio.create_subprocess_exec(
            *program(),
            *map(str, arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=variables,
        )
    else:
        process = await fork(*map(str, arguments), env=variables)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def ended(process: Process, *, within_s: float = 30.0) -> Ended:
    """What a started program wrote and how it ended."""
    async with asyncio.timeout(within_s):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def run_in_shell(script: str, *, within_s: float = 60.0) -> Ended:
    """Run a script of bash to its end."""
    process = await asyncio.create_subprocess_exec(
        *("/bin/bash", "-c", script), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    return await ended(process, within_s=within_s)


def put_no_file(path: Path, kind: str) -> Path:
    """Put something that is no file at this path: a pipe, a directory, a link to itself. Returns where it is."""
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
        case "device" | "endless":
            return Path("/dev/zero")
    return path


async def run_program(*arguments: str | Path, env: Mapping[str, str] | None = None, cold: bool = False) -> Ended:
    """Run the program to its end."""
    async with started(*arguments, env=env, cold=cold) as process:
        return await ended(process)


# --- The program and a sandbox ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bench:
    """A sandbox, and a configuration for it in a directory of its own."""

    directory: Path
    base_url: str
    sandbox: Sandbox

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.directory / "state"

    def config(self, **sections: Mapping[str, Any]) -> Path:
        """A configuration of hasty waits, and what is laid over it."""
        quick = {"poll_first_s": 0.05, "poll_max_s": 0.2, "ambiguous_hold_s": 1.0, **sections.get("settle", {})}
        upload = {"backoff_s": 0.05, "backoff_max_s": 0.1, **sections.get("upload", {})}
        laid = {**sections, "settle": quick, "upload": upload}
        return write_config(self.directory / "config.toml", sections_for(self.base_url, self.state, **laid))

    def export(self, *lines: str, name: str = "export.csv", header: str = "id,tier,ltv") -> Path:
        """An export of these lines."""
        return write_export(self.directory / name, *lines, header=header)

    async def load(self, *lines: str, **sections: Mapping[str, Any]) -> Ended:
        """Load an export of these lines; its report is the only line on stdout and lies in the job's folder."""
        export = self.export(*lines)
        done = await run_program("load", export, "--config", self.config(**sections), "--json")
        assert_reported(done, self.state)
        return done


def assert_reported(done: Ended, state: Path) -> None:
    """The only report on stdout holds the equation and the code, and stderr holds the log."""
    report = done.report
    assert_every_row_is_in_one_class(report)
    assert report["exit_code"] == done.code
    assert_report_is_kept(report, state / "jobs" / report["job"])
    for line in done.err.splitlines():
        assert orjson.loads(line)["event"], "stderr holds the log, an object a line"


@asynccontextmanager
async def bench(directory: Path, *, faults: FaultPlan | None = None, **options: Any) -> AsyncIterator[Bench]:
    """A sandbox that applies at once what it gets."""
    behaviour = {"apply_min_s": 0.0, "apply_max_s": 0.05, "calls_per_minute": None, **options}
    async with running(SandboxOptions(**behaviour), faults=faults) as run:
        yield Bench(directory, run.base_url, run.sandbox)


def unheard(directory: Path) -> Bench:
    """For what ends before anything would be sent."""
    return Bench(directory, CLOSED, Sandbox())


# --- The machine ------------------------------------------------------------------------------------


@contextmanager
def small_disk(size_bytes: int) -> Iterator[Path]:
    """A file system of this size and nobody else's, in memory; skips the test where none can be made."""
    with tempfile.TemporaryDirectory(prefix="small-disk-") as place:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0777", "tmpfs", place]
        if os.geteuid() != 0 or not shutil.which("mount"):
            pytest.skip("a small file system can only be mounted by root")
        mounted = subprocess.run(command, check=False, capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", "--lazy", place], check=True)


def fill(file: Path) -> None:
    """Take all room that is left on a disk with this file."""
    with file.open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"x" * 4_096)
        except OSError:
            pass


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """A mounted `small_disk`, for a while without permission to write for anybody, as after an error of the disk."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user whom permissions bind, as root is not bound by them."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(answer: Answer, **site: Any) -> AsyncIterator[str]:
    """A server that answers every request so; its address, `https` if `ssl_context` is given."""
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", answer)
    async with listening(app, **site) as base_url:
        yield base_url


@asynccontextmanager
async def listening(app: web.Application, **site: Any) -> AsyncIterator[str]:
    """A server of this application on a free port of the loopback interface; its address."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "localhost", 0, **site).start()
        port = runner.addresses[0][1]
        yield f"{'https' if site.get('ssl_context') else 'http'}://localhost:{port}"
    finally:
        await runner.cleanup()
