"""Kills a load, alters one thing of its state directory, and gives the same command again.

`python -m tests.tools.faults.altered --runs 60`. Each run ends right, as if nothing had been altered (the altered byte
was of no use any more), or is refused with 74; and nothing is at Target that no export has, or that is older than what
was there. Anything else is wrong.
"""

import asyncio
import random
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from pipeline.sandbox import Sandbox, SandboxOptions, running
from tests.tools.faults.canaries import check_told
from tests.tools.faults.loading import (
    MEMORY_OF_ALL,
    Export,
    check_exact,
    check_order,
    make_export,
    merged_profiles,
    run,
    run_load,
    write_config,
)
from tests.tools.faults.tally import FoundError, Tally, hold

#: Rows of each of the two exports, which have half of their ids in common, and of a batch.
ROWS, BATCH_ROWS = 160, 20
#: The outcomes of a run.
RIGHT, REFUSED = "right", "refused with 74"
_DISK_OR_LEDGER = 74
#: Alters a file: its content, and a generator to draw from -> its new content; None removes it.
Alteration = Callable[[bytes, random.Random], bytes | None]


def flipped(content: bytes, draw: random.Random) -> bytes:
    """With one bit flipped."""
    if not content:
        return b"\1"
    at = draw.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]


def _other_value(content: bytes, draw: random.Random) -> bytes:
    """With a byte in its last half replaced by a letter, as if somebody had edited it."""
    at = draw.randrange(len(content) // 2, max(1, len(content) - 1)) if len(content) > 2 else 0
    return content[:at] + (b"Q" if content[at : at + 1] != b"Q" else b"R") + content[at + 1 :]


#: How a file is altered.
ALTERATIONS: dict[str, Alteration] = {
    "a bit flipped": flipped,
    "removed": lambda _, __: None,
    "emptied": lambda _, __: b"",
    "cut": lambda content, draw: content[: draw.randrange(len(content) or 1)],
    "longer": lambda content, _: content + content[-40:],
    "edited": _other_value,
    "zeros": lambda content, _: bytes(len(content)),
}
#: The files of a state directory, by pattern; of several one is drawn.
FILES = {
    "log": "ledger.db-wal",
    "ledger": "ledger.db",
    "body": "spool/*.body",
    "ids": "spool/*.ids",
    "lines": "spool/*.lines",
    "mark": "spool/mark",
    "memory": "memory/*",
    "gathered": "gathered/*/*",
}
#: Those that only a load with a memory has.
_OF_MEMORY = ("memory", "gathered")


async def alter_once(file: str, alteration: str, seed: int) -> str:
    """Kill a load, alter one of these files, and give the same command again: the outcome.

    Raises `AssertionError` if it is neither right nor refused.
    """
    draw = random.Random(seed)
    made = [make_export(ROWS, 100 * seed + place, first_id=place * ROWS // 2) for place in range(2)]
    options = SandboxOptions(seed=seed, apply_min_s=0.05, apply_max_s=0.3, calls_per_minute=None)
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-altered-") as name:
        folder = Path(name)
        paths = [folder / f"export{place}.csv" for place in range(len(made))]
        for path, export in zip(paths, made, strict=True):
            path.write_text(export.text)
        async with running(options) as running_sandbox:
            write_config(
                folder / "config.toml",
                running_sandbox.base_url,
                folder / "state",
                batch_rows=BATCH_ROWS,
                hold_s=0.5,
                memory=MEMORY_OF_ALL if file in _OF_MEMORY else "",
            )
            posts = draw.randrange(1, 12)
            code, out, err = await run_load(
                paths, folder / "config.toml", kill_when=lambda: running_sandbox.sandbox.counts()["batches"] >= posts
            )
            if code != -9:
                # It came to its end before it was killed.
                return RIGHT
            altered = alter(folder / "state", file, ALTERATIONS[alteration], draw)
            said = [out, err]
            code, out, err = await run_load(paths, folder / "config.toml")
            outcome = judged(code, err.decode(), running_sandbox.sandbox, made, altered)
            if outcome == REFUSED and file == "memory":
                said += [out, err]
                await _empty_and_load(paths, folder / "config.toml", running_sandbox.sandbox, made)
        config = folder / "config.toml"
        await check_told(folder, folder / "state", config, *said, out, err, exports=[*paths, folder / "token"])
        return outcome


async def _empty_and_load(paths: list[Path], config: Path, sandbox: Sandbox, made: list[Export]) -> None:
    """The memory is emptied, as it is advised, and the load goes on to a right end."""
    code, _, err = await run("memory", "rebuild", "--config", str(config))
    assert code == 0, err.decode()
    code, _, err = await run_load(paths, config)
    assert judged(code, err.decode(), sandbox, made, "the memory that was emptied is") == RIGHT, err.decode()


def alter(state: Path, file: str, alteration: Alteration, draw: random.Random) -> str:
    """Alter one of these files; its name."""
    found = sorted(path for path in state.glob(FILES[file]) if path.exists())
    if not found:
        return "nothing"
    chosen = draw.choice(found)
    content = alteration(chosen.read_bytes(), draw)
    if content is None:
        chosen.unlink()
    else:
        chosen.write_bytes(content)
    return chosen.name


def judged(code: int, err: str, sandbox: Sandbox, made: list[Export], altered: str) -> str:
    """The outcome of a run. Raises `AssertionError` if it is neither, `HarmError` if rows are harmed."""
    sandbox.apply_all()
    profiles, wanted = sandbox.profiles(), merged_profiles(made)
    known = {cell for export in made for line in export.text.splitlines() for cell in line.split(",")}
    foreign = [each for each, cells in profiles.items() if each not in wanted or not known.issuperset(cells.values())]
    last = err.strip().splitlines()[-1] if err.strip() else ""
    seen = f"{altered} altered, exit {code}: {last}"
    check_order(sandbox.mistakes, and_no_other=False)
    hold("lost", not foreign, f"{len(foreign)} profiles hold what no export has; {seen}", len(foreign))
    if code == _DISK_OR_LEDGER:
        return REFUSED
    assert code == 0, seen
    check_exact(profiles, wanted)
    assert not sandbox.mistakes, (seen, sandbox.mistakes[:3])
    return RIGHT


def plan(runs: int, seed: int) -> list[tuple[str, str, int]]:
    """So many runs: file, alteration and seed. Half are bits flipped in the ledger and its log."""
    draw = random.Random(seed)
    others = [(file, alteration) for file in FILES for alteration in ALTERATIONS]
    draw.shuffle(others)
    chosen = []
    for number in range(runs):
        file, alteration = (
            (("log", "ledger")[number // 2 % 2], "a bit flipped") if number % 2 else others[number // 2 % len(others)]
        )
        chosen.append((file, alteration, seed + number))
    return chosen


async def alter_many(runs: list[tuple[str, str, int]], *, at_once: int = 2) -> tuple[Tally, list[str]]:
    """What these runs came to, and in words what was wrong."""
    limit, tally, wrong = asyncio.Semaphore(at_once), Tally(), list[str]()

    async def one(file: str, alteration: str, seed: int) -> None:
        tally.runs, tally.events, tally.rows = tally.runs + 1, tally.events + 1, tally.rows + 2 * ROWS
        async with limit:
            try:
                tally.refused += await alter_once(file, alteration, seed) == REFUSED
            except AssertionError as error:
                tally.note(error)
                wrong.append(f"{file} {alteration}, seed {seed}: {error}")

    async with asyncio.TaskGroup() as tasks:
        for run in runs:
            tasks.create_task(one(*run))
    return tally, wrong


def one_run(seed: int) -> Tally:
    """Two altered state directories. Raises `FoundError` if what was altered is sent, or older values win."""
    tally, wrong = asyncio.run(alter_many(plan(2, seed)))
    if wrong:
        raise FoundError(tally, wrong)
    return tally


def main() -> int:
    """Run, and print what came of it; 1 if anything was wrong."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--file", choices=FILES, help="only this one")
    parser.add_argument("--how", choices=ALTERATIONS, help="only so")
    arguments = parser.parse_args()
    runs = [
        (arguments.file or file, arguments.how or alteration, seed)
        for file, alteration, seed in plan(arguments.runs, arguments.seed)
    ]
    began = time.monotonic()
    tally, wrong = asyncio.run(alter_many(runs))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    right = tally.runs - tally.refused - len(wrong)
    told = f"{right} right, {tally.refused} refused with 74, {len(wrong)} wrong"
    print(f"{len(runs)} altered state directories, {time.monotonic() - began:.0f} s: {told}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
