"""Empties the memory when somebody asks for it, and lets go of what was not sent for long."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import anyio.lowlevel

from pipeline.core.errors import ExitCode, PipelineError
from pipeline.core.memory.times import minutes_of
from pipeline.edges.store.memory.files import remove_all
from pipeline.edges.store.state import State
from pipeline.jobs.gathering.merge import count_next

#: What is said when the memory was emptied.
EMPTIED = (
    "the memory is empty: everything that is loaded from now on is sent once more. What was loaded already, "
    "`load --again` loads"
)


async def rebuild_memory(state: State, *, is_at_work: Callable[[], bool]) -> str:
    """Empty the memory of a state directory, also a damaged one; return what was done, in words.

    `is_at_work`: tells if a job runs. Raises `PipelineError` (75) then: it may just be adding to the memory.
    """
    _check_left_alone(is_at_work)
    # A merge that is under way reads files that go. Until it has ended, a job may begin.
    async with state.turn_to_merge, state.turn_to_remember:
        _check_left_alone(is_at_work)
        await state.in_turn(_empty, state)
    return EMPTIED


def _check_left_alone(is_at_work: Callable[[], bool]) -> None:
    if is_at_work():
        raise PipelineError(
            "a job is under way, which adds to the memory: nothing was changed. Ask again when it has ended, as "
            "`status` says.",
            exit_code=ExitCode.UNFINISHED,
        )


def _empty(state: State) -> None:
    ledger, memory = state.ledger, state.memory
    if memory is None:
        # The catalog first: files that are in none are nobody's, and what a kill leaves of them the next call removes.
        ledger.clear_memory()
        remove_all(state.directory / "memory")
        return
    remembers, target = ledger.remembers, ledger.remembered_of
    memory.rebuild()
    ledger.begin_memory(remembers, target)


async def expire_memory(state: State, keep_days: int, now: datetime) -> int:
    """Let go of ids of which nothing was sent for so many days; return how many entries went.

    Raises `FatalError` (74) if the disk refuses, or the memory is damaged.
    """
    memory, run = state.memory, state.host.run_blocking
    if memory is None:
        return 0
    # What is written here must count before anybody else merges, or what was erased meanwhile would come back.
    async with state.turn_to_merge:
        before = await run(memory.facts)
        merges = memory.expiry(minutes_of(now - timedelta(days=keep_days)))
        while await count_next(state, memory, partial(next, merges, None)) is not None:
            await anyio.lowlevel.checkpoint()
        return before.ids - (await run(memory.facts)).ids
