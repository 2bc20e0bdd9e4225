"""Puts rows into the open batch or holds them, and says what a seal makes durable. One job's, without I/O.

The order of versions hangs on this: freed rows are placed before new ones, a row of an id in flight is held, and
whatever changed among held rows goes into the same transaction as the batch.
"""

from dataclasses import dataclass

from pipeline.core.batches.chunker import Chunker
from pipeline.core.batches.tracker import HeldChanges, Tracker
from pipeline.core.model import BatchContent, Rows


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of a list of rows: all up to row `stop` are in the open batch or held.

    `superseded` rows, of these or of earlier ones, merged into a later one. With `must_seal` the open batch is full:
    seal it before anything else is placed.
    """

    stop: int
    superseded: int
    must_seal: bool


@dataclass(frozen=True, slots=True)
class Seal:
    """What one seal transaction holds of the rows: the batch, if any row is open, and the changes of held rows.

    `released` are batches of which nothing is needed any more once this seal is durable.
    """

    content: BatchContent | None
    held: HeldChanges
    released: tuple[int, ...]


class Placer:
    """The open batch and the tracker, and what of them is not durable yet."""

    def __init__(self, chunker: Chunker, tracker: Tracker) -> None:
        self.chunker = chunker
        self.tracker = tracker
        self._released: list[int] = []

    @property
    def open_rows(self) -> int:
        """Rows in the open batch."""
        return self.chunker.rows

    def place(self, rows: Rows) -> Placed:
        """Place new rows as far as the open batch has room."""
        stop = superseded = 0
        while stop < len(rows):
            taken = self.chunker.take(rows, stop, self.tracker.must_wait(rows.hashes[stop:]))
            superseded += taken.superseded + self.tracker.hold(rows, taken.to_hold)
            # Merged rows may have become shorter, so that more fit.
            is_full = taken.is_full or taken.stop == stop
            stop = taken.stop
            if is_full:
                return Placed(stop, superseded, must_seal=True)
        return Placed(stop, superseded, must_seal=False)

    def place_freed(self, rows: Rows) -> Placed:
        """Place rows that were freed; what finds no room waits once more, in front of what is held of its id."""
        taken = self.chunker.take(rows, 0, self.tracker.is_in_flight(rows.hashes))
        self.tracker.put_back(rows, [*taken.to_hold, *range(taken.stop, len(rows))])
        return Placed(taken.stop, taken.superseded, taken.is_full or taken.stop < len(rows))

    def release(self, batch_id: int, earlier: dict[bytes, bytes]) -> Rows:
        """Release a batch; the rows it frees, to be placed at once.

        `earlier` are the encoded rows of it, by encoded id, that the rows held for it are to carry.
        """
        self.tracker.carry(earlier)
        self.tracker.release(batch_id)
        self._released.append(batch_id)
        return self.tracker.free()

    def seal(self) -> Seal:
        """Close the open batch, and take what is to be written down with it."""
        content = self.chunker.seal() if self.chunker.rows else None
        released, self._released = tuple(self._released), []
        return Seal(content, self.tracker.take_changes(), released)
