"""Logs the outcome of a drop, once, when the last of its jobs has ended."""

import anyio
import structlog

from pipeline.core.drop.signals import shown
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State

log = structlog.get_logger()


class EndedDrops:
    """The drops that have ended and are not logged yet.

    The transaction that ends the last job of a drop puts it into the ledger's list, and `tell` takes it out. So a drop
    is logged once, however many of its jobs end together; twice only if a crash comes right after its line in the log.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._turn = anyio.Lock()

    async def tell(self) -> None:
        """Write one line to the log about each of them."""
        state = self._state
        async with self._turn:
            for drop in await state.in_turn(state.ledger.ended_drops):
                jobs = await state.in_turn(state.ledger.jobs_of_drop, drop)
                with anyio.CancelScope(shield=True):
                    _tell_of(drop, jobs)
                    await state.in_turn(state.ledger.forget_ended_drop, drop)


def _tell_of(drop: str, jobs: list[JobRecord]) -> None:
    rows = [job.report.rows for job in jobs if job.report]
    log.info(
        "drop_finished",
        drop=drop,
        signal=next((shown(job.claim.signal) for job in jobs if job.claim), None),
        exports=len(jobs),
        not_done=sum(job.state not in ("done", "skipped") for job in jobs),
        read=sum(each.read for each in rows),
        confirmed=sum(each.confirmed for each in rows),
    )
