"""When the next call may be made: Target's budget of calls, and the window in which it remembers statuses.

Pure: times are seconds of one monotonic clock, passed in.
"""

from collections import deque
from collections.abc import Iterable

#: The length of Target's budget window in seconds (Adobe: 50 calls a minute, above it HTTP 503).
MINUTE_S = 60.0
#: Longer than this is not waited on the word of a `Retry-After` header (seconds). Ours.
MAX_RETRY_AFTER_S = 3_600.0


class CallBudget:
    """At most `calls_per_minute` calls in any minute, POSTs and status GETs together; it may change at any time.

    A call counts from when it begins until a minute after it *ended*: at which moment in between Target counted it
    is not known. After a 503 the whole minute is used up, because waiting less than its rest meets 503 again.
    """

    def __init__(self, calls_per_minute: int) -> None:
        self.calls_per_minute = calls_per_minute
        self._under_way = 0
        self._ended: deque[float] = deque()
        self._blocked_until = float("-inf")

    def wait_s(self, now: float) -> float | None:
        """Seconds until the next call may begin, 0 if now; None if a call under way has to end first."""
        while self._ended and self._ended[0] + MINUTE_S <= now:
            self._ended.popleft()
        if self._blocked_until > now:
            return self._blocked_until - now
        # So many have to end and to be over for a minute, the oldest first.
        too_many = self._under_way + len(self._ended) - self.calls_per_minute + 1
        if too_many <= 0:
            return 0.0
        return self._ended[too_many - 1] + MINUTE_S - now if too_many <= len(self._ended) else None

    def used(self, now: float) -> float:
        """What share of the budget is used up, from 0 to 1."""
        if self.wait_s(now) != 0.0:
            return 1.0
        return (self._under_way + len(self._ended)) / self.calls_per_minute

    def begin(self) -> None:
        """A call begins."""
        self._under_way += 1

    def end(self, now: float) -> None:
        """A call ended, however."""
        self._under_way -= 1
        self._ended.append(now)

    def exhaust(self, now: float, retry_after_s: float | None = None) -> None:
        """Target said that there were too many calls: none for a minute, or for longer if it asks for that."""
        wait_s = max(MINUTE_S, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))
        self._blocked_until = max(self._blocked_until, now + wait_s)


class StatusWindow:
    """Keeps a status from being forgotten before it was seen.

    Target keeps the statuses of the last `size` batches submitted. POSTs are numbered as they begin; the next may
    begin while its number is less than `size` above that of the oldest one whose batch is not settled. POSTs that
    were under way when another began may be submitted after it: each counts against it as if it had begun later.
    After a restart nobody knows which those were: `unsettled` numbers count as if there had been `overlap` of them.
    `size` may change at any time.
    """

    def __init__(self, size: int, *, next_number: int = 0, unsettled: Iterable[int] = (), overlap: int = 0) -> None:
        self.size = size
        self._next_number = next_number
        self._counted_from = {number: number - overlap for number in unsettled}
        self._under_way: set[int] = set()

    @property
    def under_way(self) -> int:
        """POSTs that have begun and not ended."""
        return len(self._under_way)

    @property
    def is_open(self) -> bool:
        """Whether another POST may begin."""
        oldest = min(self._counted_from.values(), default=self._next_number)
        return not self._counted_from or self._next_number - oldest < self.size

    def begin_post(self) -> int:
        """A POST begins; its number."""
        number = self._next_number
        self._next_number += 1
        self._counted_from[number] = number - len(self._under_way)
        self._under_way.add(number)
        return number

    def end_post(self, number: int) -> None:
        """The answer to this POST has come."""
        self._under_way.discard(number)

    def forget(self, number: int) -> None:
        """The status of this POST is not waited for: it was seen, or there is none to see."""
        self._under_way.discard(number)
        self._counted_from.pop(number, None)
