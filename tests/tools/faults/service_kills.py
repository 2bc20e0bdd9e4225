"""Kills the service at random moments while exports are dropped, and checks what is in the sandbox at the end.

`python -m tests.tools.faults.service_kills --kills 200` or `make service-kill-test N=200`. A writer drops exports with
ids in common, in all forms of signals, whether the service runs or not; half of the kills come while something is being
taken. With `--client-codes 2`, so many are served at once, each with a drop directory, a ledger and a sandbox of its
own.
"""

import asyncio
import random
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pipeline.sandbox import Running, SandboxOptions, running
from tests.tools.faults.canaries import TOKEN, check_told
from tests.tools.faults.loading import (
    Export,
    check_equation,
    check_exact,
    check_left_over,
    check_order,
    ledger_of,
    make_export,
    run,
    write_config,
)
from tests.tools.faults.tally import Tally, hold

#: Rows of an export, and of a batch.
ROWS, BATCH_ROWS = 300, 60
#: What the drop directory keeps when all is loaded.
_OWN = {".processing", ".processing/lock"}


def _make(seed: int) -> Export:
    return make_export(ROWS, seed)


@dataclass(slots=True)
class Writer:
    """Drops exports, and knows what is to come of them: names in their order, rows, profiles.

    `make` makes one from a seed; each has a seed of its own.
    """

    drop: Path
    make: Callable[[int], Export] = _make
    names: list[str] = field(default_factory=list)
    profiles: dict[str, dict[str, str]] = field(default_factory=dict)
    rows: int = 0

    def put(self, number: int) -> None:
        """Drop an export, every third one of two parts; the order of their signals is that of the numbers."""
        form = number % 3
        names = [f"x{number:03d}-{part}.csv" for part in range(2 if form == 2 else 1)]
        exports = [self._export(number * 10 + part) for part in range(len(names))]
        manifest = f"rows={sum(export.rows for export in exports)}\nsequence={number}\n"
        directory = place = self.drop
        signal = (f"{names[0]}.ready", f"{Path(names[0]).stem}.fin")[form % 2]
        if form == 2:
            directory = self.drop / f"group-{number:03d}"
            directory.mkdir()
            # Half of the directories have their signal in them, the others beside them.
            place, signal = (directory, "_SUCCESS") if number % 2 else (self.drop, f"{directory.name}.FIN")
        self.names.append(directory.name if form == 2 else names[0])
        for name, export in zip(names, exports, strict=True):
            (directory / f"{name}.tmp").write_text(export.text, newline="")
            (directory / f"{name}.tmp").rename(directory / name)
        (place / ".signal").write_text(manifest)
        (place / ".signal").rename(place / signal)

    def _export(self, seed: int) -> Export:
        export = self.make(seed)
        for profile_id, attributes in export.profiles.items():
            self.profiles.setdefault(profile_id, {}).update(attributes)
        self.rows += export.rows
        return export


@dataclass(frozen=True, slots=True)
class Client:
    """A client code: what is dropped for it, where its ledger is, and its sandbox."""

    writer: Writer
    state: Path
    run: Running

    def check(self) -> None:
        """Everything has arrived."""
        self.run.sandbox.apply_all()
        check_all(self.writer, self.state)
        check_exact(self.run.sandbox.profiles(), self.writer.profiles)
        check_order(self.run.sandbox.mistakes)


@asynccontextmanager
async def clients_in(folder: Path, count: int, draw: random.Random, seed: int) -> AsyncIterator[list[Client]]:
    """So many client codes, and their configuration: the first is the file's top level, the others are routes."""
    clients: list[Client] = []
    async with AsyncExitStack() as stack:
        for number in range(count):
            options = SandboxOptions(
                client_code=f"demo{number or ''}",
                seed=seed + number,
                apply_min_s=0.01,
                apply_max_s=0.3,
                calls_per_minute=None,
                token=TOKEN,
            )
            run = await stack.enter_async_context(running(options))
            drop = folder / f"drop{number}"
            drop.mkdir()
            state = folder / "state" / (f"clients/{options.client_code}" if number else "")
            clients.append(Client(Writer(drop), state, run))
        first, *others = clients
        write_config(folder / "config.toml", first.run.base_url, first.state, batch_rows=BATCH_ROWS, hold_s=0.5)
        with (folder / "config.toml").open("a") as file:
            file.write(
                f'[drop]\ndirectory = "{first.writer.drop}"\npoll_s = 0.02\nsignal_wait_s = 30.0\nsettle_s = 0.05\n'
            )
            for client in others:
                code = client.state.name
                file.write(f'[[routes]]\nname = "of-{code}"\ntarget.client_code = "{code}"\n')
                file.write(f'target.base_url = "{client.run.base_url}"\ndrop.directory = "{client.writer.drop}"\n')
        yield clients


async def kill_until_loaded(kills: int, *, drops: int, seed: int, client_codes: int = 1) -> dict[str, Any]:
    """Drop so many for each, under so many kills; what happened. Raises `AssertionError` if the promise is broken."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-service-kill-") as folder:
        config = Path(folder) / "config.toml"
        async with clients_in(Path(folder), client_codes, draw, seed) as clients:
            killed, said = 0, list[bytes]()
            for attempt in range(kills):
                for number in _numbers(attempt, kills, drops):
                    for client in clients:
                        client.writer.put(number)
                drop = draw.choice(clients).writer.drop
                said += await _kill(config, drop, draw, is_taking=attempt % 2 == 0)
                killed += 1
            code, _, err = await run("serve", "--drain", "--config", str(config))
            assert code == 0, (code, err.decode())
            said.append(err)
            for client in clients:
                client.check()
            own = [config.with_name("token"), *(client.writer.drop for client in clients)]
            await check_told(Path(folder), Path(folder) / "state", config, *said, exports=own)
    return {
        "kills": killed,
        "exports": sum(len(client.writer.names) for client in clients),
        "rows": sum(client.writer.rows for client in clients),
    }


def _numbers(attempt: int, kills: int, drops: int) -> range:
    """The drops that come before this start."""
    return range(attempt * drops // kills, (attempt + 1) * drops // kills)


async def _kill(config: Path, drop: Path, draw: random.Random, *, is_taking: bool) -> tuple[bytes, bytes]:
    """Run the service until it is killed: while it takes something, or at any moment; what it wrote."""
    processing = drop / ".processing"
    known = set(processing.iterdir()) if processing.exists() else set()
    taking_since: list[float] = []
    after_s = draw.uniform(0.0, 0.03) if is_taking else draw.uniform(0.0, 0.8)
    gives_up_at = time.monotonic() + 5.0

    def is_time() -> bool:
        held = processing.exists() and bool(set(processing.iterdir()) - known - {processing / "lock"})
        if held or time.monotonic() > gives_up_at:
            taking_since.append(time.monotonic())
        return bool(taking_since) and time.monotonic() - taking_since[0] >= after_s

    code, out, err = await run("serve", "--config", str(config), kill_when=is_time)
    assert code == -9, (code, err.decode())
    return out, err


def check_all(writer: Writer, state: Path, *, ends: Collection[str] = ("done",)) -> None:
    """Every export has one job, which ended so, all in their order, and nothing is left where it was dropped."""
    left = {path.relative_to(writer.drop).as_posix() for path in writer.drop.rglob("*")}
    assert left == _OWN, left
    check_left_over(state)
    with ledger_of(state) as ledger:
        jobs = ledger.jobs()
    assert [job.export.name for job in jobs] == writer.names
    others = [(job.job_id, job.state, job.report and job.report.error) for job in jobs if job.state not in ends]
    assert others == []
    for job in jobs:
        report = orjson.loads((state / "jobs" / job.job_id / "report.json").read_bytes())
        check_equation(report)
    read = sum(job.report.rows.read for job in jobs if job.report)
    hold("lost", read >= writer.rows, (read, writer.rows), writer.rows - read)
    hold("doubled", read <= writer.rows, (read, writer.rows), read - writer.rows)


def one_run(seed: int) -> Tally:
    """A service that is killed four times, every third time with two client codes."""
    told = asyncio.run(kill_until_loaded(4, drops=6, seed=seed, client_codes=2 if seed % 3 == 2 else 1))
    return Tally(runs=1, rows=told["rows"], events=told["kills"])


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--per-run", type=int, default=10)
    parser.add_argument("--client-codes", type=int, default=1)
    arguments = parser.parse_args()
    done, seed, started = 0, 1, time.monotonic()
    while done < arguments.kills:
        told = asyncio.run(
            kill_until_loaded(arguments.per_run, drops=15, seed=seed, client_codes=arguments.client_codes)
        )
        done += told["kills"]
        seed += 1
        print(f"{done} kills, {time.monotonic() - started:,.0f} s: seed {seed - 1}, {told}", flush=True)
    print(f"{done} kills survived: every export was loaded once and in order, every profile is right, no mistake seen")


if __name__ == "__main__":
    main()
