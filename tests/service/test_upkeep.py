"""What meets a bug is told and tried again, less and less often, and is well when it went well."""

import asyncio
from itertools import pairwise

import anyio
import pytest
from structlog.testing import capture_logs

from pipeline.core.errors import ExitCode, FatalError
from pipeline.service.upkeep import Upkeep
from tests.simulation.host import virtual_clock
from tests.simulation.virtually import virtually


@virtually
async def test_a_task_that_meets_a_bug_is_begun_anew_and_told_less_and_less_often() -> None:
    upkeep = Upkeep(virtual_clock())
    begun: list[float] = []

    async def task() -> None:
        begun.append(asyncio.get_running_loop().time())
        if len(begun) < 4:
            raise ValueError("u1,gold")
        upkeep.note_well("looking")

    with capture_logs() as logs:
        await upkeep.keep("looking", task)
    waits = [round(after - before) for before, after in pairwise(begun)]
    assert waits == [60, 120, 240]
    assert [each["event"] for each in logs] == ["unexpected_error"] * 3
    assert "gold" not in repr(logs)
    assert upkeep.failing == []


@virtually
async def test_the_service_notes_what_it_takes_up_again() -> None:
    upkeep = Upkeep(virtual_clock())
    with capture_logs() as logs:
        for _ in range(100):
            try:
                raise KeyError("u1")
            except KeyError as error:
                upkeep.note("taking", error)
            await anyio.sleep(5)
    # In 500 seconds: at once, after one minute and after two more.
    assert len(logs) == 4
    (told,) = upkeep.failing
    assert (told["what"], told["times"], told["since"]) == ("taking", 4, "2026-11-23T12:00:00+00:00")
    upkeep.note_well("taking")
    assert upkeep.failing == []


@virtually
async def test_an_error_of_ours_is_raised() -> None:
    async def task() -> None:
        raise FatalError("the disk is full", exit_code=ExitCode.DISK_OR_LEDGER)

    with pytest.raises(FatalError, match="full"):
        await Upkeep(virtual_clock()).keep("looking", task)
