"""A sample of the steps before which a load dies, each time another.

`python -m tests.tools.faults.steps --every` takes all of them.
"""

import pytest

from tests.tools.drawn import SEED, share
from tests.tools.faults.steps import kill_at_all, remembering_course, sample, small_course, steps_of, why_not

#: How many steps of a load, and how many of a load that goes on after a kill.
STEPS, RECOVERIES = 4, 1

reason = why_not()
pytestmark = pytest.mark.skipif(reason is not None, reason=reason or "")


async def test_death_before_any_step_on_the_disk_loses_nothing() -> None:
    course = small_course()
    steps = await steps_of(course)
    once = [(step,) for step in share(sample(steps, STEPS, SEED), STEPS)]
    twice = list(zip(share(steps, RECOVERIES), share(sample(steps, STEPS, SEED + 1), RECOVERIES), strict=False))
    outcome, broken = await kill_at_all([*once, *twice], course)
    assert broken == []
    # Timing makes steps more or less, on a busy machine many, so that those that come late are not always there.
    assert outcome.kills >= STEPS // 4


async def test_death_before_any_step_of_the_memory_loses_nothing() -> None:
    course = remembering_course()
    steps = [step for step in await steps_of(course) if step.is_of_memory]
    outcome, broken = await kill_at_all([(step,) for step in share(steps, STEPS)], course)
    assert broken == []
    assert outcome.kills
