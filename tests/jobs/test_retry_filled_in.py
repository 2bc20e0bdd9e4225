"""Lost rows that were filled in with what is remembered: only what they say themselves comes back; in virtual time."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.erasure import Wanted
from pipeline.edges.store.state import open_state
from pipeline.jobs.forgetting.receipt import Receipt
from pipeline.jobs.forgetting.store import erase_from_store
from pipeline.jobs.one_shot import load_exports
from pipeline.jobs.retries.lost_rows import begin_retry
from pipeline.sandbox import Fault, FaultPlan
from pipeline.settings.tenants import Tenant
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually

MEMORY = {"remember": "values", "send": "changes"}
SETTLE = {"poll_first_s": 0.05, "poll_max_s": 0.2, "ambiguous_hold_s": 2.0}
FAILED = dict.fromkeys((2, 3), Fault.FAIL_ROWS)


async def load(stage: Stage, number: int, header: str, *lines: str, **sections: Any) -> dict[str, Any]:
    return await stage.load(*lines, name=f"{number}.csv", header=header, settle=SETTLE, memory=MEMORY, **sections)


async def send_again(stage: Stage, job: str) -> tuple[str, list[str]]:
    """Ask for a retry and run it; what was answered, and the rows that it sends."""
    async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
        answer = await begin_retry(state, job)
    if answer.job is None:
        return answer.told, []
    tenant = Tenant.of_one(stage.settings(settle=SETTLE, memory=MEMORY))
    async for _ in load_exports([], tenant, host=stage.host, only_retries=True):
        pass
    return answer.told, (stage.state / "jobs" / answer.job / "retry.csv").read_text().splitlines()


@virtually
@pytest.mark.parametrize("is_older_first", [True, False])
async def test_a_value_that_a_lost_row_was_filled_in_with_never_goes_over_a_newer_one(
    tmp_path: Path, is_older_first: bool
) -> None:
    """The newest `a` was lost; the next row has the one before it, and is lost too. Then both are sent again."""
    async with staged(tmp_path, faults=FaultPlan(posts=FAILED, failing_rows=2)) as stage:
        await load(stage, 1, "id,a", "u1,1")
        older = await load(stage, 2, "id,a", "u1,2")
        newer = await load(stage, 3, "id,b", "u1,3")
        assert (older["rows"]["failed"], newer["rows"]["failed"]) == (1, 1)
        for job in (older, newer) if is_older_first else (newer, older):
            told, rows = await send_again(stage, job["job"])
            assert "overtaken" not in told
            assert rows == (
                ['"thirdPartyId","a"', '"u1","2"'] if job is older else ['"thirdPartyId","b","a"', '"u1","3",""']
            )
        stage.sandbox.apply_all()
        assert stage.sandbox.profiles() == {"u1": {"a": "2", "b": "3"}}


@virtually
async def test_a_row_of_which_later_rows_have_all_that_it_says_does_not_come_back(tmp_path: Path) -> None:
    async with staged(tmp_path, faults=FaultPlan(posts=FAILED, failing_rows=2)) as stage:
        await load(stage, 1, "id,a", "u1,1")
        await load(stage, 2, "id,a", "u1,2")
        newer = await load(stage, 3, "id,b", "u1,3")
        await load(stage, 4, "id,b", "u1,4")
        told, rows = await send_again(stage, newer["job"])
        assert "overtaken by later rows and left alone: u1" in told
        assert rows == []


@virtually
async def test_where_no_row_was_lost_before_all_that_is_remembered_may_come_back(tmp_path: Path) -> None:
    """Nothing newer can be sent before it."""
    async with staged(tmp_path, faults=FaultPlan(posts={2: Fault.FAIL_ROWS}, failing_rows=2)) as stage:
        await load(stage, 1, "id,a", "u1,1")
        newer = await load(stage, 2, "id,b", "u1,3")
        await send_again(stage, newer["job"])
        stage.sandbox.apply_all()
        assert stage.sandbox.profiles() == {"u1": {"a": "1", "b": "3"}}


@virtually
async def test_what_is_sent_again_is_sent_though_it_is_known(tmp_path: Path) -> None:
    """Nobody knew of the first row, the second one took its value along, and was confirmed."""
    async with staged(tmp_path, faults=FaultPlan(statuses={1: Fault.STATUS_LOST})) as stage:
        lost = await load(stage, 1, "id,a", "u1,1")
        assert lost["rows"]["unconfirmed"] == 1
        await load(stage, 2, "id,b", "u1,2")
        _, rows = await send_again(stage, lost["job"])
        assert rows[1:] == ['"u1","1"']
        assert len(stage.posts) == 3


@virtually
async def test_what_a_row_was_filled_in_with_says_nothing_of_another_row_of_its_id(tmp_path: Path) -> None:
    """Two rows of an id fit in no batch together. The first is filled in; the second is as it was, with a new `b`."""
    async with staged(tmp_path, faults=FaultPlan(posts={2: Fault.FAIL_ROWS}, failing_rows=1)) as stage:
        await load(stage, 1, "id,c", "u1,1")
        lost = await load(stage, 2, "id,b", "u1,old")
        assert lost["rows"]["failed"] == 1
        rows = [f"u1,{'x' * 700},", f"u1,,{'y' * 700}"]
        await load(stage, 3, "id,a,b", *rows, batch={"max_bytes": 1_024})
        assert [post["rows"] for post in stage.posts[2:]] == [1, 1]
        _, again = await send_again(stage, lost["job"])
        assert again == ['"thirdPartyId","b","c"', '"u1","","1"']


@virtually
async def test_forget_erases_what_is_known_of_rows_that_were_filled_in(tmp_path: Path) -> None:
    """Of those that Target took, too: no body of theirs is there any more."""
    async with staged(tmp_path, faults=FaultPlan(posts={2: Fault.FAIL_ROWS}, failing_rows=1)) as stage:
        await load(stage, 1, "id,a", "u1,1")
        await load(stage, 2, "id,a", "u1,2")
        await load(stage, 3, "id,b", "u1,3")
        await load(stage, 4, "id,b", "u1,4")
        async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
            (known,) = [state.ledger.filled_in(3)]
            assert [*known.values()] == [{"a"}]
            await erase_from_store(state, Wanted.of([b"u1"]), Receipt())
            assert state.ledger.filled_in(3) == {}
