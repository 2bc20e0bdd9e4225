"""Checks all of a ledger that is too large to be checked at each start, while the service runs."""

from contextlib import closing
from pathlib import Path
from threading import Event

from anyio.to_thread import run_sync

from pipeline.edges.store.ledger_file import connect_to_read, examine_whole, is_large

#: Steps of SQLite's machine between two looks if the check is still wanted: some milliseconds.
_STEPS = 10_000


async def check_ledger(path: Path) -> None:
    """Check a ledger of which the start has checked only what is unfinished. Raises `FatalError` (74) for a damage."""
    if not await run_sync(is_large, path):
        return
    is_over = Event()
    try:
        await run_sync(_check, path, is_over, abandon_on_cancel=True)
    finally:
        is_over.set()


def _check(path: Path, is_over: Event) -> None:
    with closing(connect_to_read(path)) as database:
        database.set_progress_handler(is_over.is_set, _STEPS)
        examine_whole(database, path)
