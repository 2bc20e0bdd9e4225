"""Rows are sent anew in time, also where a clock was ahead when they were sent."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.loop import run_virtually
from tests.simulation.staged import staged


@pytest.mark.parametrize(("days_ahead", "unchanged"), [(1, 1), (365, 0)])
def test_what_a_clock_that_was_ahead_calls_sent_goes_again(tmp_path: Path, days_ahead: int, unchanged: int) -> None:
    async def load() -> Any:
        async with staged(tmp_path) as stage:
            now = stage.host.clock.utc_now

            def ahead() -> datetime:
                return now() + timedelta(days=days_ahead)

            early = replace(stage, host=replace(stage.host, clock=replace(stage.host.clock, utc_now=ahead)))
            memory = {"remember": "digests", "send": "changes"}
            await early.load("u1,gold,1", name="1.csv", memory=memory)
            return await stage.load("u1,gold,1", name="2.csv", memory=memory)

    assert run_virtually(load())["rows"]["unchanged"] == unchanged
