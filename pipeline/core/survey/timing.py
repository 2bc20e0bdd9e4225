"""Estimates how long Target takes for batches, by the limits that are met: calls a minute, and statuses that it keeps.

The arithmetic is that of a sender that asks for the status of a batch just when it is complete. What takes place in
earnest takes up to a quarter longer (`make bench-pacing`), since nobody knows when that is.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.batches.progress import Progress
from pipeline.core.model import BatchState
from pipeline.core.target.pacing import MINUTE_S

#: Bytes a second at which a body is thought to be uploaded. Ours: a full batch takes five seconds.
UPLOAD_BYTES_S = 10_000_000.0
#: Seconds that a call takes beside its body. Ours.
CALL_S = 0.2
#: Calls to Target for each batch, at the least: a POST, and a status GET.
CALLS_OF_A_BATCH = 2
#: Times that Target may take to complete a batch for which it is told how long a load takes, in minutes.
COMPLETION_MINUTES = (1, 10, 60)
#: Batches of which the time left is told, and by how many of the last ones. Ours: it is told four times a second.
_MOST_LEFT, _REMEMBERED = 1_000, 20


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch that a load would send.

    `after`: the number of the batch that has to be complete before this one is sealed, as rows wait for it; 0 for none.
    Batches are numbered from 1.
    """

    rows: int
    size_bytes: int
    after: int = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """The limits of a load.

    `status_window`: batches that may be under way, since Target keeps so many statuses.
    `concurrency`: POSTs at once.
    """

    calls_per_minute: int
    status_window: int
    concurrency: int


def seconds_of(batches: Sequence[PlannedBatch], completion_s: float, pace: Pace) -> float:
    """Seconds from the first POST until the last batch is seen complete, if each takes `completion_s` to complete."""
    made: deque[float] = deque(maxlen=pace.calls_per_minute)
    posted: list[float] = []
    seen: list[float] = []
    # Calls that may be made, each with the time from which on, and the number of its batch; POSTs are negative.
    ready: list[tuple[float, int]] = []
    next_post = 0
    while len(seen) < len(batches):
        if (at := _post_from(next_post, batches, posted, seen, pace)) is not None:
            heapq.heappush(ready, (at, -1))
            next_post += 1
        at, kind = heapq.heappop(ready)
        if len(made) == made.maxlen:
            at = max(at, made[0] + MINUTE_S)
        made.append(at)
        if kind == -1:
            ended = at + CALL_S + batches[len(posted)].size_bytes / UPLOAD_BYTES_S
            posted.append(ended)
            heapq.heappush(ready, (ended + completion_s, 1))
        else:
            seen.append(at + CALL_S)
    return max(seen, default=0.0)


def seconds_left(progress: Progress, now: float, pace: Pace) -> float | None:
    """Seconds until a load is done, if batches go on to take as long as the last ones; None if none is complete yet.

    `now`: the monotonic time.

    While the export is read, the batches to come are as many as those so far, by the share of it that is read.
    """
    book = progress.book
    completed = [each for each in book.settled[-_REMEMBERED:] if each.state is BatchState.COMPLETE]
    if not completed:
        return None
    took = sum(each.release_at - book.life(each.batch.batch_id).posted_at for each in completed) / len(completed)
    left = book.unsettled_count + bool(progress.unplaced_rows)
    if not progress.reading_is_done and progress.export_bytes and progress.bytes_read:
        left += round(len(book) * (progress.export_bytes / progress.bytes_read - 1))
    posted_at = [life.posted_at for batch in book.unsettled if (life := book.life(batch.batch_id)).posted_at]
    # The first of them have waited for a while already.
    waited = min(took, max(0.0, now - min(posted_at))) if posted_at else 0.0
    return max(0.0, seconds_of([PlannedBatch(1, 0)] * min(left, _MOST_LEFT), took, pace) - waited)


def _post_from(
    index: int, batches: Sequence[PlannedBatch], posted: list[float], seen: list[float], pace: Pace
) -> float | None:
    """The time from which on the next POST may be made; None if that hangs on calls that were not made yet.

    All batches take the same time, so they are seen complete in the order in which they were posted.
    """
    if index >= len(batches) or index > len(posted):
        return None
    at = posted[index - pace.concurrency] if index >= pace.concurrency else 0.0
    for needed in (index + 1 - pace.status_window, batches[index].after):
        if needed > len(seen):
            return None
        if needed > 0:
            at = max(at, seen[needed - 1])
    return at
