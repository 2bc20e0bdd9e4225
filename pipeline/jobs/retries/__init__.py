"""Sends rows of an ended job after all: those that Target lost, and rejected ones that somebody mended."""

from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State
from pipeline.jobs.retries.lost_rows import lost_left
from pipeline.jobs.retries.mended_rows import mended_left


async def rows_left(state: State, retry: JobRecord) -> JobRecord:
    """Write the export of a retry that is about to begin anew, without what was overtaken since the request."""
    if retry.is_of_mended:
        return await mended_left(state, retry)
    return await state.in_turn(lost_left, state, retry)
