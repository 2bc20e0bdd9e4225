"""`make simulate N=2000`: runs schedules on all processors, then each mutant until it is found, and prints the figures.

`python -m tests.simulation --seed 7` runs one schedule and prints what is logged. Options: see `--help`.
"""

import os
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count, islice

from tests.simulation.climate import ANY
from tests.simulation.figures import Figures
from tests.simulation.mutants import MUTANTS
from tests.simulation.mutation import in_a_fork
from tests.simulation.schedule import PromiseBrokenError, is_broken, run_schedule
from tests.simulation.weather import (
    FAILING,
    GUARDING,
    REMEMBERING,
    REMEMBERING_AND_CRASHING,
    REMEMBERING_AND_FAILING,
    REMEMBERING_AND_LOSING,
    REMEMBERING_AND_OVERLAPPING,
    REMEMBERING_AND_REFRESHING,
    REMEMBERING_AND_RETRYING,
    REMEMBERING_AND_SQUEEZING,
)

#: Schedules that a process runs in one go.
_AT_ONCE = 20
#: The climates by the names that bring them back.
CLIMATES = {
    "any": ANY,
    "failing": FAILING,
    "guarding": GUARDING,
    "remembering": REMEMBERING,
    "remembering-and-crashing": REMEMBERING_AND_CRASHING,
    "remembering-and-failing": REMEMBERING_AND_FAILING,
    "remembering-and-losing": REMEMBERING_AND_LOSING,
    "remembering-and-overlapping": REMEMBERING_AND_OVERLAPPING,
    "remembering-and-refreshing": REMEMBERING_AND_REFRESHING,
    "remembering-and-retrying": REMEMBERING_AND_RETRYING,
    "remembering-and-squeezing": REMEMBERING_AND_SQUEEZING,
}
#: Schedules after which a mutant survives.
_MUTANT_SCHEDULES = 500


def main() -> int:
    """Print the figures; 1 if a promise was broken or a mutant survived."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=2_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, help="run this schedule only, and see its log")
    parser.add_argument("--climate", choices=CLIMATES, help="in this one only")
    parser.add_argument("--mutants", default="", help="only those with this in their names")
    options = parser.parse_args()
    if options.seed is not None:
        run_schedule(options.seed, CLIMATES[options.climate or "any"], is_heard=True)
        return 0
    began = time.monotonic()
    figures, broken = Figures(), []
    seeds = range(options.first, options.first + options.schedules)
    with ProcessPoolExecutor(options.processes) as processes:
        for done, some in processes.map(partial(_run_some, options.climate), _in_turn(seeds)):
            figures.add(done)
            broken += some
        mutants = [mutant.name for mutant in MUTANTS if options.mutants in mutant.name]
        survivors = [name for name, is_found in processes.map(_is_found, mutants) if not is_found]
    for why in broken:
        print(why)
    for name in survivors:
        print(f"not found: {name}")
    print(
        f"{figures.schedules:,} schedules, {figures.crashes:,} crashes, {figures.failed_steps:,} failed steps, "
        f"{figures.steps:,} durable steps, {figures.unchanged:,} rows unchanged, {len(broken)} promises broken, "
        f"{len(mutants) - len(survivors)} of {len(mutants)} mutants found, {time.monotonic() - began:,.0f} s"
    )
    return 1 if broken or survivors else 0


def _in_turn(seeds: range) -> Iterator[range]:
    for first in islice(count(0, _AT_ONCE), -(-len(seeds) // _AT_ONCE)):
        yield seeds[first : first + _AT_ONCE]


def _run_some(only: str | None, seeds: range) -> tuple[Figures, list[str]]:
    figures, broken = Figures(), []
    for seed, name in ((seed, name) for seed in seeds for name in ([only] if only else _climates_of(seeds))):
        try:
            figures.add(run_schedule(seed, CLIMATES[name]))
        except PromiseBrokenError as error:
            broken.append(f"{error} --climate {name}")
            figures.schedules += 1
    return figures, broken


def _climates_of(seeds: range) -> tuple[str, ...]:
    """Each seed is drawn in four: where anything happens, steps fail, rows are lost, or something is remembered."""
    if seeds.start // _AT_ONCE % 2:
        return "any", "failing", "remembering", "remembering-and-retrying"
    return "any", "remembering-and-failing", "guarding", "remembering-and-losing"


def _is_found(name: str) -> tuple[str, bool]:
    """The name of a mutant, and whether a schedule breaks the promise with it, and not without."""
    said = in_a_fork(name, _MUTANT_SCHEDULES)
    if not said["found"]:
        return name, False
    (climate,) = (mutant.climate for mutant in MUTANTS if mutant.name == name)
    return name, not is_broken(said["schedules"] - 1, climate)


if __name__ == "__main__":
    sys.exit(main())
