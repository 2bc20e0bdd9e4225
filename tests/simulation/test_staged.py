"""The stage in virtual time: an example of a load, of one that is stopped and gone on with, and of what Target does."""

from pathlib import Path
from typing import Any

from pipeline.sandbox import Fault, FaultPlan
from tests.simulation.loop import run_virtually
from tests.simulation.staged import deliver, staged
from tests.tools.support import SIX_ROWS, profiles_after

ONE_BY_ONE: dict[str, Any] = {"batch": {"max_rows": 2}, "upload": {"concurrency": 1}}
HOLDING: dict[str, Any] = {"settle": {"ambiguous_hold_s": 7_200.0}}


def test_a_load_through_hours_of_faults_takes_no_time(tmp_path: Path) -> None:
    faults = FaultPlan(posts={1: Fault.HANG_TAKEN, 2: Fault.THROTTLE_429, 3: Fault.REFUSE})
    delivery = deliver(tmp_path, *SIX_ROWS, "u0,silver,", faults=faults, **ONE_BY_ONE, **HOLDING)
    assert delivery.report["seconds"] > 7_200
    assert delivery.profiles == profiles_after(*SIX_ROWS, "u0,silver,")


def test_a_load_that_is_stopped_goes_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with staged(tmp_path) as stage:
            stopped = await stage.load(*SIX_ROWS, stop_when=lambda _: stage.posts, **ONE_BY_ONE)
            assert (stopped["exit_code"], stopped["state"]) == (75, "unfinished")
            assert (await stage.load(**ONE_BY_ONE))["rows"]["confirmed"] == 6
            assert len(stage.posts) == 3

    run_virtually(run())
