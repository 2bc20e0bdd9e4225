"""Merges the files of the memory beside a job, so that they stay few.

Each step is short, and one transaction; a job that ends waits for the one that has begun. What a crash cuts off leaves
a file that the ledger does not know, which the next start removes.
"""

from collections.abc import Callable

import anyio
import anyio.lowlevel
import structlog

from pipeline.core.errors import FatalError
from pipeline.edges.store.memory.files import Merge
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
                while await count_next(state, memory, memory.write_merge):
                    await anyio.lowlevel.checkpoint()
        except FatalError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            # The files are as they were, and as right: it is tried again when more is remembered.
            log.warning("memory_not_merged", why=str(error))
        await remembered.wait()
        state.remembered = anyio.Event() if state.remembered is remembered else state.remembered


async def count_next(state: State, memory: Memory, write: Callable[[], Merge | None]) -> bool | None:
    """Write the next merge, and let it count; None if there is none, False if another one came first.

    `write`: writes it, and blocks. `State.turn_to_merge` is the caller's.

    It is not cancelled on the way: a file that was written and does not count would lie there while the process lives.
    """
    counts: bool | None = None
    with anyio.CancelScope(shield=True):
        # What a merge takes does not stand beside what remembering a batch takes.
        async with state.turn_to_write_memory:
            merge = await state.host.run_blocking(write)
        if merge is not None:
            counts = await state.in_turn(memory.enter_merge, merge)
    return counts
