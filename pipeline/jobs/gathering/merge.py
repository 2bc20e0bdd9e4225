"""Merges the files of the memory beside a job, so that they stay few.

Each step is short, and one transaction; a job that ends waits for the one that has begun. What a crash cuts off leaves
a file that the ledger does not know, which the next start removes.
"""

import anyio
import anyio.lowlevel
import structlog

from pipeline.core.errors import FatalError
from pipeline.edges.store.memory.memory import Memory
from pipeline.edges.store.state import State

log = structlog.get_logger()


async def merge_memory(state: State) -> None:
    """Merge what is due, now and whenever more is remembered; it runs until it is cancelled.

    A disk that refuses ends nothing. Raises `FatalError` (74) if the memory is damaged.
    """
    memory = state.memory
    if memory is None:
        return
    while True:
        remembered = state.remembered
        try:
            async with state.turn_to_merge:
                while await _merge_one(state, memory):
                    await anyio.lowlevel.checkpoint()
        except FatalError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            # The files are as they were, and as right: it is tried again when more is remembered.
            log.warning("memory_not_merged", why=str(error))
        await remembered.wait()
        state.remembered = anyio.Event() if state.remembered is remembered else state.remembered


async def _merge_one(state: State, memory: Memory) -> bool:
    """Merge what is most in need of it; False if nothing is due, or another merge came first.

    It is not cancelled on the way: a file that was written and does not count would lie there while the process lives.
    """
    counts = False
    with anyio.CancelScope(shield=True):
        # What a merge takes does not stand beside what remembering a batch takes.
        async with state.turn_to_write_memory:
            merge = await state.host.run_blocking(memory.write_merge)
        if merge is not None:
            counts = await state.in_turn(memory.enter_merge, merge)
    return counts
