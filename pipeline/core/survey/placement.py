"""Places rows in batches as a load does, and sends none: the oldest batch is complete when no more may be under way.

A load reads faster than Target applies. So its reading waits until one batch more may be sealed, and the oldest one is
complete then. Rows of ids that are in a batch under way are held meanwhile, as in a load. They carry nothing, since no
body is kept.
"""

from collections import deque

from pipeline.core.batches.placer import Placer
from pipeline.core.errors import FatalError
from pipeline.core.model import Rows
from pipeline.core.survey.timing import PlannedBatch

#: Bytes of a row in the spool, besides its text: hash and offset of its id, and its line.
SPOOLED_ROW_BYTES = 20


class Placement:
    """The batches of an export; `most_under_way`: those that are sealed and not complete, at most."""

    def __init__(self, placer: Placer, most_under_way: int) -> None:
        self._placer = placer
        self._most_under_way = most_under_way
        self._under_way: deque[tuple[int, int]] = deque()
        self._spooled_bytes = 0
        self._last_complete = 0
        #: The batches so far, the rows that merged into later ones, and the most bytes that the spool holds at once.
        self.batches: list[PlannedBatch] = []
        self.superseded = 0
        self.spool_bytes = 0

    def place(self, rows: Rows) -> None:
        """Place the rows of a block."""
        while len(rows):
            placed = self._placer.place(rows)
            self.superseded += placed.superseded
            if placed.must_seal:
                if not placed.stop and not self._placer.open_rows:
                    raise FatalError("a row fits in no batch: a bug in profile-pipeline, please report it.")
                self._seal()
            rows = rows.behind(placed.stop)
        while self._placer.tracker.is_full and self._under_way:
            self._seal()
            self._complete_oldest()

    def finish(self) -> None:
        """Place what is held, when nothing more is read."""
        self._seal()
        while self._placer.tracker.held_rows:
            self._complete_oldest()
            self._seal()

    def _seal(self) -> None:
        self._close()
        while len(self._under_way) > self._most_under_way:
            self._complete_oldest()

    def _close(self) -> None:
        content = self._placer.seal().content
        if content is None:
            return
        number = len(self.batches) + 1
        self._placer.tracker.seal(number, content.hashes)
        self.batches.append(PlannedBatch(content.rows, content.size_bytes, self._last_complete))
        size_bytes = content.size_bytes + SPOOLED_ROW_BYTES * content.rows
        self._under_way.append((number, size_bytes))
        self._spooled_bytes += size_bytes
        self.spool_bytes = max(self.spool_bytes, self._spooled_bytes)

    def _complete_oldest(self) -> None:
        number, size_bytes = self._under_way.popleft()
        self._last_complete = number
        self._spooled_bytes -= size_bytes
        rows = self._placer.release(number, {})
        while len(rows):
            placed = self._placer.place_freed(rows)
            self.superseded += placed.superseded
            if not placed.must_seal:
                return
            self._close()
            rows = self._placer.tracker.free()
