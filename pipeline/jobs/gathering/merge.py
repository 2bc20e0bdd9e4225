"""Merges the files of the memory beside a job, so that they stay few.

Each step is short, and one transaction. A job that ends waits for the step that is under way: else its file would be
nobody's, with what is remembered in it, and each job to come might do the work once more. What a kill cuts off leaves
such a file, which the next start removes.
"""

import anyio
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
            while await _merge_one(state, memory):
                pass
        except FatalError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            # The files are as they were, and as right: it is tried again when more is remembered.
            log.warning("memory_not_merged", why=str(error))
        await remembered.wait()
        state.remembered = anyio.Event() if state.remembered is remembered else state.remembered


async def _merge_one(state: State, memory: Memory) -> bool:
    """Do one step, as a whole; False if nothing is due."""
    async with state.turn_to_merge:
        with anyio.CancelScope(shield=True):
            merge = await state.host.run_blocking(memory.write_merge)
            if merge is not None:
                await state.in_turn(memory.enter_merge, merge)
    return merge is not None
