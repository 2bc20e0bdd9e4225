"""The memory is emptied when somebody asks for it, and forgets what was not sent for long."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio
import pytest

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.lifecycle import Begun, Life, Phase, Released, SeenComplete, Taken
from pipeline.core.batches.tracker import NO_CHANGES
from pipeline.core.errors import ExitCode, PipelineError
from pipeline.core.memory.row_fates import row_fates
from pipeline.core.memory.times import minutes_of
from pipeline.edges.host import Host
from pipeline.edges.store.mailbox import Request
from pipeline.edges.store.memory.memory import Memory
from pipeline.edges.store.state import State, open_state
from pipeline.jobs.control import REBUILD_MEMORY, carry_out
from pipeline.jobs.forgetting.forget import forget
from pipeline.jobs.gathering.memory_upkeep import expire_memory, rebuild_memory
from tests.edges.store.memory.builders import content_of
from tests.edges.store.test_ledger import job_of
from tests.tools.support import names_in

NOW = datetime(2026, 11, 23, 2, 14, tzinfo=UTC)
TARGET = "https://demo.tt.omtrdc.net"


@asynccontextmanager
async def opened(directory: Path, remember: str = "digests") -> AsyncIterator[State]:
    async with open_state(directory, "demo", Host(), min_free_bytes=0, remember=remember, target=TARGET) as state:
        yield state


def release(state: State, *profile_ids: str, days_ago: float = 0.0) -> None:
    """Let a batch with a row of each of these be released, and what it sent be remembered."""
    ledger, memory = state.ledger, state.memory
    assert memory is not None
    job = ledger.begin_job(job_of(f"j{len(ledger.jobs())}"))
    batch_id = ledger.allot_batch_id()
    content = content_of([f"{each},gold\n".encode() for each in profile_ids], "thirdPartyId,tier")
    ledger.seal(job, Checkpoint(), state.spool.write(batch_id, 1, content), held=NO_CHANGES, released=[], overtaken={})
    for fact in (Begun(batch_id), Taken("url"), SeenComplete(0, 0)):
        ledger.add_fact(batch_id, fact)
    life = Life(phase=Phase.SETTLED, last=SeenComplete(0, 0))
    memory.remember(batch_id, row_fates(life), at_minutes=minutes_of(NOW - timedelta(days=days_ago)))
    remembered = state.pending
    ledger.seal(job, Checkpoint(), None, held=NO_CHANGES, released=[batch_id], overtaken={}, remembered=remembered)
    state.note_remembered([batch_id])
    record = ledger.batch(batch_id)
    assert record is not None
    assert Released() in record.facts


def known(state: State) -> int:
    assert state.memory is not None
    return state.memory.facts().ids


async def test_what_was_not_sent_for_long_is_forgotten(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        release(state, "a", "b", "c", days_ago=401)
        release(state, "c", "d", days_ago=399)
        assert await expire_memory(state, 402, NOW) == 0
        # The older entry of c, too.
        assert await expire_memory(state, 400, NOW) == 3
        assert known(state) == 2
        assert await expire_memory(state, 400, NOW) == 0
    async with opened(tmp_path) as state:
        assert known(state) == 2
        assert await expire_memory(state, 1, NOW) == 2
        assert (known(state), names_in(tmp_path / "memory")) == (0, [])


async def test_without_a_memory_nothing_is_forgotten(tmp_path: Path) -> None:
    async with opened(tmp_path, "nothing") as state:
        assert await expire_memory(state, 1, NOW) == 0


async def test_it_is_empty_once_it_was_rebuilt_and_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        release(state, "a", "b")
        told = await carry_out(Request("", REBUILD_MEMORY, None), state, running=list)
        assert "the memory is empty" in told
        assert (known(state), names_in(tmp_path / "memory"), state.ledger.remembers) == (0, [], "digests")
        release(state, "a")
        assert known(state) == 1
    async with opened(tmp_path) as state:
        assert known(state) == 1


async def test_it_is_left_alone_while_a_job_may_add_to_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        release(state, "a", "b")
        with pytest.raises(PipelineError, match="a job is under way") as caught:
            await rebuild_memory(state, is_at_work=lambda: True)
        assert caught.value.exit_code is ExitCode.UNFINISHED
        assert known(state) == 2


async def test_it_is_emptied_when_a_merge_that_is_under_way_has_ended(tmp_path: Path) -> None:
    async with opened(tmp_path) as state, anyio.create_task_group() as tasks:
        release(state, "a", "b")
        async with state.turn_to_merge:
            tasks.start_soon(partial(rebuild_memory, state, is_at_work=lambda: False))
            await anyio.wait_all_tasks_blocked()
            assert known(state) == 2
    async with opened(tmp_path) as state:
        assert known(state) == 0


async def test_it_is_left_alone_if_a_job_began_before_a_merge_has_ended(tmp_path: Path) -> None:
    jobs: list[str] = []

    async def rebuild() -> None:
        with pytest.raises(PipelineError, match="a job is under way"):
            await rebuild_memory(state, is_at_work=lambda: bool(jobs))

    async with opened(tmp_path) as state, anyio.create_task_group() as tasks:
        release(state, "a", "b")
        async with state.turn_to_merge:
            tasks.start_soon(rebuild)
            await anyio.wait_all_tasks_blocked()
            jobs.append("j")
    async with opened(tmp_path) as state:
        assert known(state) == 2


@pytest.mark.parametrize("kind", ["rebuild", "forget"])
async def test_batches_are_remembered_while_whoever_empties_it_waits_for_a_merge(tmp_path: Path, kind: str) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("a\n")
    async with opened(tmp_path / "state") as state:
        release(state, "a", "b")
        async with anyio.create_task_group() as tasks, state.turn_to_merge:
            if kind == "forget":
                tasks.start_soon(forget, state, ids)
            else:
                tasks.start_soon(partial(rebuild_memory, state, is_at_work=lambda: False))
            await anyio.wait_all_tasks_blocked()
            await anyio.sleep(0.1)
            with anyio.fail_after(5):
                async with state.turn_to_remember:
                    assert known(state) == 2


@pytest.mark.parametrize("damage", ["lost", "cut", "none"])
async def test_a_damaged_one_is_emptied_by_who_does_not_look_at_it(tmp_path: Path, damage: str) -> None:
    async with opened(tmp_path) as state:
        release(state, "a", "b")
    (file,) = (tmp_path / "memory").iterdir()
    if damage == "lost":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    # As a kill leaves it.
    (tmp_path / "memory" / ".x.tmp").write_bytes(b"a row")
    async with opened(tmp_path, "nothing") as state:
        await rebuild_memory(state, is_at_work=lambda: False)
        assert names_in(tmp_path / "memory") == []
    async with opened(tmp_path, "values") as state:
        assert known(state) == 0


async def test_one_that_lacks_what_was_sent_but_has_nothing_left_begins_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        release(state, "a")
    async with opened(tmp_path, "nothing") as state:
        ledger = state.ledger
        job, batch_id = ledger.begin_job(job_of("off")), ledger.allot_batch_id()
        batch = state.spool.write(batch_id, 1, content_of([b"a,tin\n"], "thirdPartyId,tier"))
        ledger.seal(job, Checkpoint(), batch, held=NO_CHANGES, released=[], overtaken={})
        for fact in (Begun(batch_id), Taken("url"), SeenComplete(0, 0)):
            ledger.add_fact(batch_id, fact)
        ledger.seal(job, Checkpoint(), None, held=NO_CHANGES, released=[batch_id], overtaken={})
        assert ledger.is_memory_behind
        Memory(tmp_path / "memory", state.spool, ledger, with_values=False).expire(2**31)
    for _ in range(2):
        async with opened(tmp_path) as state:
            assert known(state) == 0
            assert not state.ledger.is_memory_behind
