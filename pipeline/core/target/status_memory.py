"""How many statuses Target keeps: learned by looking again at batches that are complete anyway.

An old page of Adobe's says that the statuses of the last 10 batches submitted are kept; the field saw more. It is the
limit that most loads really meet: no more batches may be under way than statuses are kept. So once 20 batches have been
submitted after a complete one, its status is asked for again: if it still answers, 20 are kept; then 40, 80 and 160 are
tried. Nothing is risked by it, since the batch looked at is settled. What Target has forgotten is not tried again for a
day.

Newer batches are counted low: those that may have been submitted before, or may never have arrived, do not count. So
what is learned is never too much. Times are those of the day, in UTC.
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
#: An older batch may be forgotten for its age (a status is kept for 24 hours at most, says the same page), which tells
#: nothing of how many are kept. Ours: half of it.
TELLING_FOR = timedelta(hours=12)
#: So many batches are accepted after a look without an answer before the next. Ours: it costs one call in 40 at most.
_UNANSWERED_REST = 20


@dataclass(frozen=True, slots=True)
class Learned:
    """What the ledger keeps: `size` statuses are kept for sure; the next size did not hold at `failed_at`, or None.

    Raises `ValueError` for what no version of this program can have learned.
    """

    size: int = STATUSES_KEPT
    failed_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"{self.size} statuses cannot be kept")
        if self.failed_at is not None and self.failed_at.tzinfo is None:
            raise ValueError(f"{self.failed_at} is of no time zone")


@dataclass(frozen=True, slots=True)
class Probe:
    """A look at the status of a settled batch: if it answers, `size` statuses are kept."""

    status_url: str
    size: int


class StatusMemory:
    """What is learned in one process. Batches are told in the order in which Target accepted them."""

    def __init__(self, learned: Learned) -> None:
        self.learned = learned
        self._accepted = 0
        self._rests_until = 0
        # Of complete batches, the oldest first: what was accepted up to then, when, and the status URL.
        self._complete: list[tuple[int, datetime, str]] = []
        self._following: dict[int, tuple[int, datetime]] = {}
        self._looking: Probe | None = None

    def note_accepted(self, post_number: int, under_way: int, now: datetime) -> None:
        """A batch was accepted; `under_way` other POSTs were, which may have been submitted before it or after."""
        self._accepted += 1
        self._following[post_number] = self._accepted + under_way, now

    def note_complete(self, post_number: int, status_url: str) -> None:
        """A batch that was accepted in this process is complete."""
        accepted = self._following.pop(post_number, None)
        if accepted is not None:
            insort(self._complete, (*accepted, status_url))
            del self._complete[: -2 * SIZES_TRIED[-1]]

    def forget(self, post_number: int) -> None:
        """The batch of this POST is not followed any more."""
        self._following.pop(post_number, None)

    def take_look(self, now: datetime) -> Probe | None:
        """The look that would teach something now, if there is one; it is to be followed by `note_look`."""
        size = next((size for size in SIZES_TRIED if size > self.learned.size), None)
        if size is None or self._looking or self._accepted < self._rests_until or not self._may_try(now):
            return None
        old = bisect_right(self._complete, self._accepted - size, key=lambda each: each[0])
        if not old:
            return None
        _, accepted_at, status_url = self._complete[old - 1]
        if now - accepted_at > TELLING_FOR:
            return None
        self._looking = Probe(status_url, size)
        return self._looking

    def note_look(self, look: Probe, *, is_kept: bool | None, now: datetime) -> bool:
        """What a look showed, None if there was no answer; whether anything was learned."""
        if look is not self._looking:
            # A status was lost meanwhile.
            return False
        self._looking = None
        if is_kept is None:
            self._rests_until = self._accepted + _UNANSWERED_REST
            return False
        self.learned = Learned(look.size) if is_kept else Learned(self.learned.size, failed_at=now)
        return True

    def note_lost(self, age: timedelta, now: datetime) -> bool:
        """The status of a batch accepted so long ago is lost; whether that tells that fewer are kept than was learned.

        If so, nothing is certain any more, not even what a look under way will show.
        """
        if self.learned.size <= STATUSES_KEPT or age > TELLING_FOR:
            return False
        self._looking = None
        self.learned = Learned(failed_at=now)
        return True

    def _may_try(self, now: datetime) -> bool:
        failed_at = self.learned.failed_at
        # In the future: the clock was wrong then, or is now.
        return failed_at is None or failed_at > now or now - failed_at >= TRY_AGAIN_AFTER
