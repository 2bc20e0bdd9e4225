"""A sample of the calls that fail, each time another; `python -m tests.tools.faults.failing --every` takes them all."""

import pytest

from tests.tools.drawn import SEED
from tests.tools.faults.failing import fail_loads, fail_service
from tests.tools.faults.steps import remembering_course, small_course, why_not

#: Loads and services of a run, in each of which a call fails.
LOADS, SERVICES = 2, 1

reason = why_not()
pytestmark = pytest.mark.skipif(reason is not None, reason=reason or "")


async def test_a_write_that_fails_loses_nothing() -> None:
    told = await fail_loads(small_course(), LOADS, seed=SEED)
    assert told.broken == []
    assert told.runs == LOADS


async def test_a_write_of_the_memory_that_fails_loses_nothing() -> None:
    told = await fail_loads(remembering_course(), LOADS, seed=SEED, of_memory=True)
    assert told.broken == []
    assert told.runs == LOADS


async def test_a_write_of_the_service_that_fails_loses_nothing() -> None:
    told = await fail_service(SERVICES, seed=SEED)
    assert told.broken == []
    assert told.runs == SERVICES
