"""Questions to the ledger's tables of the memory, and about what it has to hear of: parts of a transaction."""

import sqlite3

from pipeline.core.batches.fact_codec import fact_kind
from pipeline.core.batches.lifecycle import Begun, InDoubt, Released, SeenStuck, SplitUp, Taken

_BEGUN, _SPLIT_UP = fact_kind(Begun(0)), fact_kind(SplitUp((0, 0)))
#: Facts by which an attempt may be applied though nobody sees it any more.
_OPEN = frozenset({fact_kind(InDoubt("")), fact_kind(SeenStuck())})
#: Facts by which Target may have a batch.
_ARRIVED = _OPEN | {fact_kind(Taken(""))}


def is_memory_empty(database: sqlite3.Connection) -> bool:
    """True if nothing is remembered of any id."""
    return database.execute("SELECT 1 FROM memory_files LIMIT 1").fetchone() is None


def may_have_arrived(database: sqlite3.Connection, batch_id: int) -> bool:
    """True if Target may have got the rows of a batch; those of a batch that was split are its children's.

    An attempt for a batch counts for its children too, if nobody knows how it ended.
    """
    kinds, parent = _history(database, batch_id)
    if _SPLIT_UP in kinds:
        return False
    # Its attempt was cut off, and nobody has noted it yet.
    if kinds[-1:] == [_BEGUN] or _ARRIVED.intersection(kinds):
        return True
    while parent is not None:
        kinds, parent = _history(database, parent)
        if _OPEN.intersection(kinds):
            return True
    return False


def _history(database: sqlite3.Connection, batch_id: int) -> tuple[list[str], int | None]:
    """The kinds of the facts about a batch but its release, in their order, and its parent."""
    query = "SELECT kind FROM facts WHERE batch_id = ? AND kind != ? ORDER BY seq"
    kinds = [row[0] for row in database.execute(query, (batch_id, fact_kind(Released())))]
    (parent,) = database.execute("SELECT parent FROM batches WHERE batch_id = ?", (batch_id,)).fetchone()
    return kinds, parent
