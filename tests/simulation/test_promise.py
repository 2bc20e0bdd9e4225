"""No schedule of rows, answers, delays, crashes and failures breaks the promise, and each does what its seed says.

Each run draws others. `SIMULATION_SCHEDULES=20000 pytest tests/simulation/test_promise.py` looks for longer, and so
does `make simulate`.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.simulation.checks import check_at_the_end, check_while_it_runs
from tests.simulation.climate import ANY, Climate
from tests.simulation.schedule import run_schedule, run_schedules
from tests.simulation.weather import (
    FAILING,
    GUARDING,
    REMEMBERING,
    REMEMBERING_AND_FAILING,
    REMEMBERING_AND_LOSING,
    REMEMBERING_AND_RETRYING,
)
from tests.simulation.world import World
from tests.tools.drawn import seeds

SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "60"))
#: So many schedules are one test, so that several processes can share them.
AT_ONCE = 10
#: The seeds of this run, and those in the climate in which steps fail.
FIRST = seeds(SCHEDULES).start


@pytest.mark.parametrize("first", range(FIRST, FIRST + SCHEDULES, AT_ONCE))
def test_no_schedule_breaks_the_promise(first: int) -> None:
    run_schedules(first, min(AT_ONCE, FIRST + SCHEDULES - first))


@pytest.mark.parametrize("first", range(FIRST, FIRST + SCHEDULES // 2, AT_ONCE))
def test_no_step_that_fails_breaks_the_promise(first: int) -> None:
    run_schedules(first, min(AT_ONCE, FIRST + SCHEDULES // 2 - first), FAILING)


@pytest.mark.parametrize(
    "climate", [REMEMBERING, REMEMBERING_AND_FAILING, REMEMBERING_AND_LOSING, REMEMBERING_AND_RETRYING]
)
def test_what_is_remembered_is_right(climate: Climate) -> None:
    first = seeds(SCHEDULES // 8).start
    run_schedules(first, SCHEDULES // 8, climate)


def test_nothing_that_is_held_back_is_sent() -> None:
    run_schedules(seeds(SCHEDULES // 6).start, SCHEDULES // 6, GUARDING)


@pytest.mark.parametrize("climate", [ANY, REMEMBERING])
def test_a_schedule_does_what_its_seed_says(climate: Climate) -> None:
    assert run_schedule(7, climate) == run_schedule(7, climate)


@pytest.mark.parametrize("check", [check_while_it_runs, check_at_the_end])
def test_a_promise_that_is_broken_is_seen_though_the_product_takes_it_for_a_bug_of_its_own(
    tmp_path: Path, check: Callable[[World], None]
) -> None:
    world = World(tmp_path, 1, ANY)
    (client, *_) = world.clients
    client.is_cursed = True
    with suppress(AssertionError), client.watched():
        raise AssertionError("an older version is sent")
    with pytest.raises(AssertionError, match="an older version is sent"):
        check(world)
    world.close()
