"""How many statuses Target keeps: learned by looking again at batches that are complete anyway.

An old page of Adobe's says that the statuses of the last 10 batches submitted are kept; the field saw more. It is the
limit that most loads really meet: no more batches may be under way than statuses are kept. So once 20 batches have been
submitted after a complete one, its status is asked for again: if it still answers, 20 are kept; then 40, 80 and 160 are
tried. Nothing is risked by it, since the batch looked at is settled. What Target has forgotten is not tried again for a
day.
"""

from bisect import bisect_right, insort
from dataclasses import dataclass
from datetime import datetime, timedelta

#: Statuses Target keeps per client code: those of the last ten batches submitted (an old page of Adobe's).
STATUSES_KEPT = 10
#: The sizes that are tried, each after the one before it has held. Ours: at 160 the calls are the limit, no known
#: time-to-complete is.
SIZES_TRIED = (20, 40, 80, 160)
#: What did not hold is tried again after so long. Ours.
TRY_AGAIN_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Learned:
    """What the ledger keeps: `size` statuses are kept for sure; the next size did not hold at `failed_at`, or None."""

    size: int = STATUSES_KEPT
    failed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """A look at the status of a settled batch: if it answers, `size` statuses are kept."""

    status_url: str
    size: int


class StatusMemory:
    """What is learned in one process. Batches are told in the order in which Target accepted them."""

    def __init__(self, learned: Learned, now: datetime) -> None:
        self.learned = learned
        self._may_try = learned.failed_at is None or now - learned.failed_at >= TRY_AGAIN_AFTER
        self._accepted = 0
        # Of complete batches, the oldest first: what was accepted up to then, and the status URL.
        self._complete: list[tuple[int, str]] = []
        self._counted_from: dict[int, int] = {}
        self._is_looking = False

    def note_accepted(self, post_number: int, under_way: int) -> None:
        """A batch was accepted; `under_way` other POSTs were, which may have been submitted before it or after."""
        self._accepted += 1
        self._counted_from[post_number] = self._accepted + under_way

    def note_complete(self, post_number: int, status_url: str) -> None:
        """A batch that was accepted in this process is complete."""
        counted_from = self._counted_from.pop(post_number, None)
        if counted_from is not None:
            insort(self._complete, (counted_from, status_url))
            del self._complete[: -2 * SIZES_TRIED[-1]]

    def take_look(self) -> Look | None:
        """The look that would teach something now, if there is one; it is to be followed by `note_look`."""
        size = next((size for size in SIZES_TRIED if size > self.learned.size), None)
        if size is None or not self._may_try or self._is_looking:
            return None
        old = bisect_right(self._complete, self._accepted - size, key=lambda each: each[0])
        if not old:
            return None
        self._is_looking = True
        return Look(self._complete[old - 1][1], size)

    def note_look(self, look: Look, *, is_kept: bool | None, now: datetime) -> bool:
        """What a look showed, None if there was no answer; whether anything was learned."""
        self._is_looking = False
        if is_kept is None:
            return False
        self._may_try = is_kept
        self.learned = Learned(look.size) if is_kept else Learned(self.learned.size, failed_at=now)
        return True

    def note_lost(self, now: datetime) -> None:
        """A status was lost that should have been kept: nothing is certain any more."""
        self._may_try = False
        self.learned = Learned(failed_at=now)
