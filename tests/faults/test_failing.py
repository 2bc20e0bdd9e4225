"""A sample of the calls that fail; `python -m tests.tools.faults.failing --every` takes all of them."""

import pytest

from tests.tools.faults.failing import fail_loads, fail_service
from tests.tools.faults.steps import why_not

reason = why_not()
pytestmark = pytest.mark.skipif(reason is not None, reason=reason or "")


async def test_a_write_that_fails_loses_nothing() -> None:
    told = await fail_loads(5, seed=1)
    assert told.broken == []
    assert told.runs == 5


async def test_a_write_of_the_service_that_fails_loses_nothing() -> None:
    told = await fail_service(3, seed=1)
    assert told.broken == []
    assert told.runs == 3
