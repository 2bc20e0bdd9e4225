"""A load at one moment: the figures that a screen shows of it."""

from collections import deque
from dataclasses import dataclass, field

from pipeline.core.display.marks import Mark
from pipeline.core.model import RowCounts

#: Seconds over which a rate is taken. Ours: long enough that a batch that is sealed does not make it jump.
RATE_OVER_S = 15.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A load at one moment.

    `bytes_read`, `export_bytes`: of the export; the latter is 0 where nobody knows it.
    `rows`: by class, without those that have no outcome yet. `held_rows`: those of them that wait for an earlier batch.
    `rows_per_s`: rows read in a second, once all are read rows that came to an outcome; None if not known yet.
    `passed_s`, `left_s`: the seconds since the run began, and about how many are left, None where nobody knows.
    `marks`: of its batches, in their order.
    `does`: in words, what it does or waits for by itself. `waits`: what all loads of its client code wait for.
    """

    name: str
    bytes_read: int = 0
    export_bytes: int = 0
    is_read: bool = False
    rows: RowCounts = field(default_factory=RowCounts)
    held_rows: int = 0
    rows_per_s: float | None = None
    passed_s: float = 0.0
    left_s: float | None = None
    marks: tuple[Mark, ...] = ()
    does: str = ""
    waits: tuple[str, ...] = ()

    @property
    def under_way(self) -> int:
        """The rows that have been read and have no outcome yet."""
        return max(0, self.rows.read - self.rows.accounted)


class Rate:
    """The rate of a count that only grows, over the last `RATE_OVER_S` seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, now: float, count: int) -> float | None:
        """The growth in a second, up to this count of now; None while it is not known, for about a second."""
        self._seen.append((now, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now - RATE_OVER_S:
            self._seen.popleft()
        then, before = self._seen[0]
        return None if now - then < 1.0 else (count - before) / (now - then)
