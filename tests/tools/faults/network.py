"""Loads exports through a network that breaks in every way, by real TCP, and checks what they come to.

`python -m tests.tools.faults.network --loads 200`, with `--family` for one of them. Between the program's own client
and the sandbox stands the proxy of `proxy.py`. Loads run on a fast event loop, so that half a minute of silence can be
among the troubles. Three families:

* `broken`: resets, cuts, silence, drips, narrow and slow lines, a port that is closed, full, or slow to accept;
* `wide`: the same with bodies of half a megabyte, so that they break in the middle of sending;
* `echoing`: answers that quote rows and token in every place, and addresses of statuses that nobody may ask.

In all of them each profile is as the exports say but for those of rows that the report gives up, no older version is
written over a newer one, and no canary is told.
"""

import asyncio
import random
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Literal

from yarl import URL

from pipeline.sandbox import serving
from tests.tools.faults.loading import Export, make_export
from tests.tools.faults.plans import Told, check_status, load_and_check, rows_of, sandbox_for
from tests.tools.faults.proxy import NetworkPlan, Port, Trouble, through
from tests.tools.faults.tally import Tally
from tests.tools.support import run_fast

Family = Literal["broken", "wide", "echoing"]
FAMILIES: tuple[Family, ...] = ("broken", "wide")
ROWS = 240
#: Bytes of each cell of a wide export.
_WIDE_BYTES = 9_000
#: They cost half a minute each.
_SLOW = {Trouble.NOT_READ, Trouble.SILENT_LOST, Trouble.SILENT_TAKEN, Trouble.DRIPPED_ANSWER, Trouble.DRIPPED_BODY_LOST}


def make_plan(seed: int, family: Family) -> NetworkPlan:
    """Random chances of some troubles; a fifth to a half of the connections meet one."""
    draw = random.Random(f"{seed} {family}")
    if family == "echoing":
        return NetworkPlan(seed, {Trouble.ECHOED_LOST: draw.uniform(0.2, 0.6)})
    weights = {each: draw.random() ** 3 for each in Trouble if each is not Trouble.ECHOED_LOST}
    total, chance = sum(weights.values()), draw.uniform(0.2, 0.5)
    chances: dict[Trouble, float] = {
        each: min(0.03 if each in _SLOW else 1.0, weight / total * chance) for each, weight in weights.items()
    }
    return NetworkPlan(seed, chances, {each: draw.uniform(0.0, 0.2) for each in Port})


def make_exports(seed: int, family: Family) -> list[Export]:
    """One export, or two of which the second has half of its ids in common with the first."""
    count = 1 + seed // len(FAMILIES) % 2
    rows = (ROWS // 3 if family == "wide" else ROWS) // count
    wide_bytes = _WIDE_BYTES if family == "wide" else 0
    return [
        make_export(
            rows, 10 * seed + place, repeated=0.35, rejected=0.02, first_id=place * rows // 2, wide_bytes=wide_bytes
        )
        for place in range(count)
    ]


def load_through_trouble(seed: int, family: Family) -> Told:
    """One load. Raises `AssertionError` where the promise is broken."""
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-network-") as name:
        folder = Path(name)
        told = run_fast(_load(folder, seed, family))
        asyncio.run(check_status(folder))
    return told


async def _load(folder: Path, seed: int, family: Family) -> Told:
    exports = make_exports(seed, family)
    # The proxy loses answers that the sandbox gave: by them it cannot tell a late copy from a new statement.
    sandbox = sandbox_for(seed, exports, can_replace=family != "echoing", says_all_once=True)
    async with serving(sandbox) as run, through(URL(run.base_url).port or 0, make_plan(seed, family)) as proxy:
        reports = await load_and_check(folder, exports, sandbox, f"http://127.0.0.1:{proxy.port}")
    return Told(rows_of(reports), +proxy.met)


def one_run(seed: int) -> Tally:
    """The load with that seed through a network that breaks, of the family whose turn it is."""
    return _run(seed, FAMILIES[seed % len(FAMILIES)])


def one_echoing_run(seed: int) -> Tally:
    """The load with that seed to somebody who quotes all that it is sent."""
    return _run(seed, "echoing")


def _run(seed: int, family: Family) -> Tally:
    told = load_through_trouble(seed, family)
    return Tally(runs=1, rows=told.rows["read"], events=told.met.total() - told.met["none"])


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--loads", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--family", choices=("broken", "wide", "echoing"))
    arguments = parser.parse_args()
    started, met, rows = time.monotonic(), Counter[str](), Counter[str]()
    for seed in range(arguments.first, arguments.first + arguments.loads):
        family: Family = arguments.family or FAMILIES[seed % len(FAMILIES)]
        try:
            told = load_through_trouble(seed, family)
        except BaseException as error:
            error.add_note(f"--first {seed} --loads 1 --family {family}")
            raise
        met += told.met
        rows.update(told.rows)
        if seed % 10 == 9:
            print(f"seed {seed}, {time.monotonic() - started:,.0f} s", flush=True)
    for trouble, count in sorted(met.items()):
        print(f"{count:6} {trouble}")
    print(f"{arguments.loads} loads through {met.total() - met['none']:,} troubles survived; rows: {dict(rows)}")


if __name__ == "__main__":
    main()
