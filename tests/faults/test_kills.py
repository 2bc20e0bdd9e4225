"""Twenty kills at random moments; `python -m tests.tools.faults.kills` does any number."""

import asyncio
import signal

import pytest

from tests.tools.faults.kills import kill_in_each, kill_until_done
from tests.tools.faults.kinds import Drawn, all_kinds

KILLS = 20
AT_ONCE = 2


async def test_twenty_kills_at_random_moments_lose_nothing_and_overwrite_nothing() -> None:
    killed = seed = 0
    while killed < KILLS:
        per_load = -(-(KILLS - killed) // AT_ONCE)
        loads = (kill_until_done(per_load, rows=6_000, seed=seed + part, rejected=0.02) for part in range(AT_ONCE))
        killed += sum(told["kills"] for told in await asyncio.gather(*loads))
        seed += AT_ONCE
        assert seed <= KILLS, "hardly any load lives long enough to be killed"


async def test_a_load_that_is_stopped_again_and_again_says_where_each_row_is_and_goes_on() -> None:
    loads = (kill_until_done(3, rows=6_000, seed=seed, rejected=0.3, number=signal.SIGTERM) for seed in (1, 2))
    assert all(told["kills"] for told in await asyncio.gather(*loads))


@pytest.mark.parametrize("drawn", all_kinds(), ids=str)
async def test_a_load_is_killed_in_the_middle_of_an_export_of_each_kind(drawn: Drawn) -> None:
    hit = await kill_in_each(drawn, rows=120 * len(drawn.kinds))
    assert {kind.name for kind in drawn.kinds} <= hit.keys(), drawn
