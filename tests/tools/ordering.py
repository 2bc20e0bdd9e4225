"""The order in which jobs are to be loaded, worked out of all of them; the ledger finds the first by its indexes."""

from pipeline.core.drop.ordering import by_sequence
from pipeline.edges.store.records import JobRecord


def in_order(records: list[JobRecord]) -> list[JobRecord]:
    """Jobs that have begun, in the order they began; then the others, dropped ones by their sequence number."""
    begun = [record for record in records if record.has_begun]
    waiting = [record for record in records if not record.has_begun]
    return [
        *sorted(begun, key=lambda record: record.checkpoint.turn),
        *by_sequence(waiting, lambda record: record.sequence),
    ]
