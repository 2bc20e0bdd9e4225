"""No schedule of rows, answers, delays, crashes and failures breaks the promise, and each does what its seed says.

`SIMULATION_SCHEDULES=20000 pytest tests/simulation/test_promise.py` looks for longer, and so does `make simulate`.
"""

import os

import pytest

from tests.simulation.schedule import run_schedule, run_schedules
from tests.simulation.weather import FAILING

SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "150"))
#: So many schedules are one test, so that several processes can share them.
AT_ONCE = 25


@pytest.mark.parametrize("first", range(0, SCHEDULES, AT_ONCE))
def test_no_schedule_breaks_the_promise(first: int) -> None:
    run_schedules(first, min(AT_ONCE, SCHEDULES - first))


@pytest.mark.parametrize("first", range(0, SCHEDULES // 2, AT_ONCE))
def test_no_step_that_fails_breaks_the_promise(first: int) -> None:
    run_schedules(first, min(AT_ONCE, SCHEDULES // 2 - first), FAILING)


def test_a_schedule_does_what_its_seed_says() -> None:
    assert run_schedule(7) == run_schedule(7)
