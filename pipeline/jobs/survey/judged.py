"""Judges an export that is planned as the guard of a load would, by what the ledger has of the jobs before."""

from contextlib import closing

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.expectations.guard import LOOKED_AT, Numbers, judged
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.settings.settings import Settings


def quarantine_of(checkpoint: Checkpoint, parameters: tuple[str, ...], settings: Settings, route: str) -> str | None:
    """The reason, in words, for which the guard would hold an export back; None if it would not. Blocks.

    `parameters`: those that are sent. Ids that are gone are not looked for.
    Raises `FatalError` (74) for a ledger that is damaged.
    """
    limits = settings.guard.limits
    ledger = read_ledger(settings.state.directory / "ledger.db") if limits.compare else None
    known: list[Numbers] = []
    if ledger is not None:
        with closing(ledger):
            known = [Numbers.of_report(report) for report in ledger.latest_done(route, LOOKED_AT)]
    checkpoint.columns_sent = parameters
    return "; ".join(judged(Numbers.of_checkpoint(checkpoint), known, limits).breaches) or None
