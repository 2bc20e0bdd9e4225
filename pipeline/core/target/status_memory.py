"""The number of statuses that Target keeps, learned by probing batches that are already complete.

An old page of Adobe's says that the statuses of the last 10 batches submitted are kept; in practice it was more. Most
loads really meet this limit: no more batches may be under way than statuses are kept. So once 20 batches have been
submitted after a complete one, its status is asked for again. If it still answers, 20 are kept; then 40, 80 and 160 are
tried. Nothing is at risk, since that batch is settled. A size that Target does not keep is not tried again for a day.

Newer batches are counted low: those that may have been submitted before the probed one, or may never have arrived, do
not count. So the learned size is never too large. Times are UTC times of day.
"""

from bisect import bisect_right, insort
from dataclasses import dataclass
from datetime import datetime, timedelta

#: Statuses that Target keeps per client code: those of the last ten batches submitted (an old page of Adobe's).
STATUSES_KEPT = 10
#: The sizes that are tried, each after the one before it has held. Ours: at 160 the calls are the limit, whatever time
#: batches take to complete.
SIZES_TRIED = (20, 40, 80, 160)
#: The time after which a size that did not hold is tried again. Ours.
TRY_AGAIN_AFTER = timedelta(days=1)
#: The age up to which a lost status says something about the number kept. An older one may be lost for its age: the
#: same page says that a status is kept for 24 hours at most. Ours: half of that.
TELLING_FOR = timedelta(hours=12)
#: Batches that must be accepted after an unanswered probe before the next one. Ours: it costs one call in 40 at most.
_UNANSWERED_REST = 20


@dataclass(frozen=True, slots=True)
class Learned:
    """The learned number of statuses, as the ledger keeps it.

    `size`: the number of statuses that are kept for sure.
    `failed_at`: the time at which the next size did not hold, or None; with a time zone.

    Raises `ValueError` for values that no version of this program can have learned.
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
    """A second look at the status of a settled batch: if Target answers, it keeps `size` statuses."""

    status_url: str
    size: int


class StatusMemory:
    """The learning of one process. Batches are noted in the order in which Target accepted them."""

    def __init__(self, learned: Learned) -> None:
        self.learned = learned
        self._accepted = 0
        self._rests_until = 0
        # Complete batches, the oldest first: the number accepted up to it (at most), its time, its status URL.
        self._complete: list[tuple[int, datetime, str]] = []
        self._following: dict[int, tuple[int, datetime]] = {}
        self._looking: Probe | None = None

    def note_accepted(self, post_number: int, under_way: int, now: datetime) -> None:
        """Note that a batch was accepted.

        `under_way`: the number of other POSTs under way, which may have been submitted before it or after.
        """
        self._accepted += 1
        self._following[post_number] = self._accepted + under_way, now

    def note_complete(self, post_number: int, status_url: str) -> None:
        """Note that a batch is complete; one that an earlier process saw accepted is ignored."""
        accepted = self._following.pop(post_number, None)
        if accepted is not None:
            insort(self._complete, (*accepted, status_url))
            del self._complete[: -2 * SIZES_TRIED[-1]]

    def forget(self, post_number: int) -> None:
        """Stop following the batch of this POST."""
        self._following.pop(post_number, None)

    def take_look(self, now: datetime) -> Probe | None:
        """The probe that would teach something now, or None. Its result must be given to `note_look`."""
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
        """Note the result of a probe; True if anything was learned.

        `is_kept`: True if the status is still kept, False if not, None if there was no answer.
        """
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
        """Note that a batch accepted `age` ago lost its status; True if that lowers the learned size.

        It then falls back to `STATUSES_KEPT`, and the result of a probe under way is ignored.
        """
        if self.learned.size <= STATUSES_KEPT or age > TELLING_FOR:
            return False
        self._looking = None
        self.learned = Learned(failed_at=now)
        return True

    def _may_try(self, now: datetime) -> bool:
        failed_at = self.learned.failed_at
        # A time in the future means that the clock was wrong then, or is now.
        return failed_at is None or failed_at > now or now - failed_at >= TRY_AGAIN_AFTER
