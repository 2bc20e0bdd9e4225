"""Runs schedules: each is drawn from its seed, driven to its end, and checked on the way and there."""

import tempfile
from contextlib import nullcontext
from pathlib import Path
from random import Random
from unittest.mock import patch

from structlog.testing import capture_logs

from tests.simulation.checks import check_at_the_end, check_while_it_runs
from tests.simulation.climate import ANY, Climate
from tests.simulation.figures import Figures
from tests.simulation.loop import freeze_what_was_imported
from tests.simulation.world import World

#: Files need not survive the machine, only the process.
_IN_MEMORY = Path("/dev/shm")


class PromiseBrokenError(AssertionError):
    """What must hold did not, in a schedule that its seed brings back."""

    def __init__(self, seed: int, why: BaseException) -> None:
        while isinstance(why, BaseExceptionGroup):
            why = why.exceptions[0]
        super().__init__(f"{type(why).__name__}: {why}\n    again: python -m tests.simulation --seed {seed}")
        self.seed = seed


def run_schedule(seed: int, climate: Climate = ANY, *, is_heard: bool = False) -> Figures:
    """Run one schedule; what it logs is thrown away unless it `is_heard`. Raises `PromiseBrokenError`."""
    freeze_what_was_imported()
    directory = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="simulation-", dir=directory) as name,
        nullcontext() if is_heard else capture_logs(),
        # The order of rows that are gathered hangs on the salt of the ledger.
        patch("secrets.randbits", Random(f"salts {seed}").getrandbits),
    ):
        world = World(Path(name), seed, climate)
        try:
            for _ in range(world.random.randint(climate.least, climate.most)):
                world.act()
                check_while_it_runs(world)
            world.finish()
            check_at_the_end(world)
        except Exception as error:
            raise PromiseBrokenError(seed, error) from error
        finally:
            world.close()
        return world.figures


def is_broken(seed: int, climate: Climate) -> bool:
    """Whether a schedule breaks the promise: then it does not tell a mutant from the product."""
    try:
        run_schedule(seed, climate)
    except PromiseBrokenError:
        return True
    return False


def run_schedules(first: int, count: int, climate: Climate = ANY) -> Figures:
    """Run as many schedules, one seed after the other. Raises `PromiseBrokenError` for the first that fails."""
    figures = Figures()
    for seed in range(first, first + count):
        figures.add(run_schedule(seed, climate))
    return figures
