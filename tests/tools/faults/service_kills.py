"""Kills the service at random moments while exports are dropped, and checks what is in the sandbox at the end.

`python -m tests.tools.faults.service_kills --kills 200` or `make service-kill-test N=200`. A writer drops exports with
ids in common, in all forms of signals and of kinds that the seed draws, whether the service runs or not; half of the
kills come while something is being taken. With `--client-codes 2`, so many are served at once, each with a drop
directory, a ledger and a sandbox of its own.
"""

import asyncio
import random
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pipeline.sandbox import Running, SandboxOptions, running
from tests.tools.faults.canaries import TOKEN, check_told
from tests.tools.faults.kinds import PLAIN, Drawn, Kind, draw_kinds, told_with
from tests.tools.faults.loading import (
    Export,
    check_equation,
    check_exact,
    check_left_over,
    check_order,
    check_rejects,
    ledger_of,
    make_export,
    run,
    write_config,
)
from tests.tools.faults.tally import Tally, hold

#: Rows of an export, and of a batch; the share of rows that are rejected.
ROWS, BATCH_ROWS, REJECTED = 300, 60, 0.05
#: Kinds of which the exports of one client code are.
_KINDS = 6
#: What the drop directory keeps when all is loaded.
_OWN = {".processing", ".processing/lock"}


def _make(seed: int) -> Export:
    return make_export(ROWS, seed)


@dataclass(slots=True)
class Writer:
    """Drops exports, and knows what is to come of them: names in their order, rows, profiles.

    `make` makes one from a seed; each has a seed of its own. `drawn`: the kinds of which they are by turns, and which
    make them then; None: all are plain. `made`: the exports of each drop.
    """

    drop: Path
    make: Callable[[int], Export] = _make
    drawn: Drawn | None = None
    names: list[str] = field(default_factory=list)
    made: list[list[Export]] = field(default_factory=list)
    profiles: dict[str, dict[str, str]] = field(default_factory=dict)
    rows: int = 0

    def put(self, number: int) -> None:
        """Drop an export, every third one as a subdirectory; the order of their signals is that of the numbers."""
        kind = self.drawn.kinds[number % len(self.drawn.kinds)] if self.drawn else PLAIN
        is_group = number % 3 == 2 or kind.is_directory
        name = f"group-{number:03d}" if is_group else f"x{number:03d}-0{kind.ending}"
        place, signal = self.drop, (f"{name}.ready", f"{name.partition('.')[0]}.FIN")[number // 2 % 2]
        if is_group and number % 4 < 2:
            # Half of the directories have their signal in them, the others beside them.
            place, signal = self.drop / name, "_SUCCESS"
        exports = self._write_group(number, kind) if is_group else [self._export(number * 10, kind)]
        if not is_group:
            self._write(exports[0], kind, self.drop / name)
        self.names.append(name)
        self.made.append(exports)
        (place / ".signal").write_text(f"rows={sum(export.rows for export in exports)}\nsequence={number}\n")
        (place / ".signal").rename(place / signal)

    def _write_group(self, number: int, kind: Kind) -> list[Export]:
        """A subdirectory with two exports, each a part or, if it is an archive, several; or with one in many parts."""
        directory = self.drop / f"group-{number:03d}"
        if kind.is_directory:
            return [kind.export(directory, self._export(number * 10, kind))]
        directory.mkdir()
        exports = [self._export(number * 10 + part, kind) for part in range(2)]
        for part, export in enumerate(exports):
            self._write(export, kind, path := directory / f"x{number:03d}-{part}{kind.ending}")
            # Of an archive that is not alone, parts have its name before theirs.
            own = [(file if file == path.name else f"{path.name}/{file}", line) for file, line in export.places]
            export.places = own
        return exports

    def _write(self, export: Export, kind: Kind, path: Path) -> None:
        """Write an export under another name, and rename it when it is whole."""
        temporary = path.with_name(f"{path.name}.tmp")
        if self.drawn:
            kind.export(temporary, export)
            export.places = [(path.name if file == temporary.name else file, line) for file, line in export.places]
        else:
            # What `make` made may be no plain CSV any more.
            temporary.write_text(export.text, newline="")
        temporary.rename(path)

    def _export(self, seed: int, kind: Kind) -> Export:
        export = (
            self.drawn.export(kind, ROWS, seed, rejected=REJECTED, day=seed // 10) if self.drawn else self.make(seed)
        )
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
        with ledger_of(self.state) as ledger:
            jobs = ledger.jobs()
        for job, made in zip(jobs, self.writer.made, strict=True):
            folder = self.state / "jobs" / job.job_id
            check_rejects(folder, orjson.loads((folder / "report.json").read_bytes()), made)
        check_exact(self.run.sandbox.profiles(), self.writer.profiles)
        check_order(self.run.sandbox.mistakes)


@asynccontextmanager
async def clients_in(folder: Path, drawn: Sequence[Drawn], seed: int) -> AsyncIterator[list[Client]]:
    """A client code for each, and their configuration: the first is the file's top level, the others are routes."""
    clients: list[Client] = []
    async with AsyncExitStack() as stack:
        for number in range(len(drawn)):
            options = SandboxOptions(
                client_code=f"demo{number or ''}",
                seed=seed + number,
                apply_min_s=0.01,
                apply_max_s=0.3,
                calls_per_minute=None,
                override=drawn[number].override,
                token=TOKEN,
            )
            run = await stack.enter_async_context(running(options))
            (drop := folder / f"drop{number}").mkdir()
            state = folder / "state" / (f"clients/{options.client_code}" if number else "")
            clients.append(Client(Writer(drop, drawn=drawn[number]), state, run))
        first, *others = clients
        key, config = drawn[0].key, folder / "config.toml"
        write_config(config, first.run.base_url, first.state, batch_rows=BATCH_ROWS, hold_s=0.5, export_key=key)
        with config.open("a") as file:
            file.write(drawn[0].sections(folder))
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
    draw, first = random.Random(seed), draw_kinds(seed, _KINDS)
    # The keys of the file's top level are those of all.
    others = [draw_kinds(seed + number, _KINDS, first=first.kinds[0].name) for number in range(1, client_codes)]
    drawn = [first, *(each.in_one_file_with(first) for each in others)]
    telling = told_with("; ".join(map(str, drawn)))
    with telling, tempfile.TemporaryDirectory(prefix="profile-pipeline-service-kill-") as folder:
        config = Path(folder) / "config.toml"
        async with clients_in(Path(folder), drawn, seed) as clients:
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
            own = [config.with_name("token"), config.with_name("salt"), *(client.writer.drop for client in clients)]
            await check_told(Path(folder), Path(folder) / "state", config, *said, exports=own)
    return {
        "kills": killed,
        "exports": sum(len(client.writer.names) for client in clients),
        "rows": sum(client.writer.rows for client in clients),
        "drawn": "; ".join(map(str, drawn)),
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
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    arguments = parser.parse_args()
    done, seed, started = 0, arguments.seed, time.monotonic()
    while done < arguments.kills:
        told = asyncio.run(
            kill_until_loaded(arguments.per_run, drops=15, seed=seed, client_codes=arguments.client_codes)
        )
        done += told["kills"]
        seed += 1
        print(f"{done} kills, {time.monotonic() - started:,.0f} s: {told.pop('drawn')}; {told}", flush=True)
    print(f"{done} kills survived: every export was loaded once and in order, every profile is right, no mistake seen")


if __name__ == "__main__":
    main()
