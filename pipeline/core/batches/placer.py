"""Puts the rows of one job into the open batch or holds them, and collects the content of each seal. It does no I/O.

The order of versions depends on this: freed rows are placed before new ones, a row of an id in flight is held, and the
changes among held rows go into the same transaction as the batch.
"""

from dataclasses import dataclass

from pipeline.core.batches.chunker import Chunker
from pipeline.core.batches.tracker import HeldChanges, Tracker
from pipeline.core.model import BatchContent, Rows


@dataclass(frozen=True, slots=True)
class Placed:
    """The fate of a list of rows: all before row `stop` are in the open batch or held.

    `superseded`: the number of rows, of these or earlier ones, that merged into a later one.
    `must_seal`: the open batch is full; seal it before anything else is placed.
    """

    stop: int
    superseded: int
    must_seal: bool


@dataclass(frozen=True, slots=True)
class Seal:
    """The rows of one seal transaction.

    `content`: the open batch, or None if it has no rows.
    `held`: the changes of held rows.
    `released`: ids of batches of which nothing is needed any more once this seal is durable.
    """

    content: BatchContent | None
    held: HeldChanges
    released: tuple[int, ...]


class Placer:
    """The open batch and the tracker, and the releases that are not durable yet."""

    def __init__(self, chunker: Chunker, tracker: Tracker) -> None:
        self.chunker = chunker
        self.tracker = tracker
        self._released: list[int] = []

    @property
    def open_rows(self) -> int:
        """The number of rows in the open batch."""
        return self.chunker.rows

    def place(self, rows: Rows) -> Placed:
        """Place new rows as far as the open batch has room."""
        stop = superseded = 0
        while stop < len(rows):
            taken = self.chunker.take(rows, stop, self.tracker.must_wait(rows.hashes[stop:]))
            superseded += taken.superseded + self.tracker.hold(rows, taken.to_hold)
            # Merging may have made rows shorter, so go on until no row fits.
            is_full = taken.is_full or taken.stop == stop
            stop = taken.stop
            if is_full:
                return Placed(stop, superseded, must_seal=True)
        return Placed(stop, superseded, must_seal=False)

    def place_freed(self, rows: Rows, unfilled: Rows | None = None) -> Placed:
        """Place rows that were freed; those without room are held again, in front of the held rows of their ids.

        `unfilled`: the same as they were held, if any was filled in: so they are held again, also over a restart.
        """
        taken = self.chunker.take(rows, 0, self.tracker.is_in_flight(rows.hashes))
        self.tracker.put_back(rows if unfilled is None else unfilled, [*taken.to_hold, *range(taken.stop, len(rows))])
        return Placed(taken.stop, taken.superseded, taken.is_full or taken.stop < len(rows))

    def release(self, batch_id: int, earlier: dict[bytes, bytes]) -> Rows:
        """Release a batch; return the rows that it frees, which must be placed at once.

        `earlier`: encoded id -> encoded row of the batch, for the rows held for it to carry.
        """
        self.tracker.carry(earlier)
        self.tracker.release(batch_id)
        self._released.append(batch_id)
        return self.tracker.free()

    def seal(self) -> Seal:
        """Close the open batch; return it with everything that must be durable together with it."""
        content = self.chunker.seal() if self.chunker.rows else None
        released, self._released = tuple(self._released), []
        return Seal(content, self.tracker.take_changes(), released)
