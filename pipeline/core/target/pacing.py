"""The time of the next call: Target's budget of calls, and the status window.

Pure: times are seconds of one monotonic clock, passed in.
"""

from collections import deque
from collections.abc import Iterable

#: The length of Target's budget window in seconds (Adobe: 50 calls a minute, above it HTTP 503).
MINUTE_S = 60.0
#: The longest wait that a `Retry-After` header can demand, in seconds. Ours.
MAX_RETRY_AFTER_S = 3_600.0


class CallBudget:
    """At most `calls_per_minute` calls in any minute, POSTs and status GETs together; it may change at any time.

    A call counts from its beginning until a minute after its *end*, since Target may have counted it at any moment in
    between. A 503 uses up a whole minute: waiting only for the rest of it meets 503 again.
    """

    def __init__(self, calls_per_minute: int) -> None:
        self.calls_per_minute = calls_per_minute
        self._under_way = 0
        self._ended: deque[float] = deque()
        self._blocked_until = float("-inf")

    def wait_s(self, now: float) -> float | None:
        """Seconds until the next call may begin, 0 if it may now; None if a call under way must end first."""
        while self._ended and self._ended[0] + MINUTE_S <= now:
            self._ended.popleft()
        if self._blocked_until > now:
            return self._blocked_until - now
        # This many of the calls that count must end and be a minute old, the oldest first.
        too_many = self._under_way + len(self._ended) - self.calls_per_minute + 1
        if too_many <= 0:
            return 0.0
        return self._ended[too_many - 1] + MINUTE_S - now if too_many <= len(self._ended) else None

    def used(self, now: float) -> float:
        """The share of the budget that is used up, from 0 to 1."""
        if self.wait_s(now) != 0.0:
            return 1.0
        return (self._under_way + len(self._ended)) / self.calls_per_minute

    def begin(self) -> None:
        """Count a call that begins."""
        self._under_way += 1

    def end(self, now: float) -> None:
        """Note that a call has ended, with or without success."""
        self._under_way -= 1
        self._ended.append(now)

    def exhaust(self, now: float, retry_after_s: float | None = None) -> None:
        """Stop calls for a minute after Target said that there were too many, or for longer if it asks for more."""
        wait_s = max(MINUTE_S, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))
        self._blocked_until = max(self._blocked_until, now + wait_s)


class StatusWindow:
    """Keeps Target from forgetting a status before it was seen.

    Target keeps the statuses of the last `size` batches submitted. POSTs are numbered as they begin. The next POST may
    begin if its number is less than `size` above the lowest number whose batch is not settled.

    POSTs that were under way when another began may be submitted after it. So that one counts as if it had begun before
    them: its number is reduced by the number of those POSTs. After a restart nobody knows which POSTs overlapped.

    `size`: may change at any time.
    `unsettled`: the numbers of POSTs of an earlier process.
    `overlap`: the number by which each of those is reduced.
    """

    def __init__(self, size: int, *, next_number: int = 0, unsettled: Iterable[int] = (), overlap: int = 0) -> None:
        self.size = size
        self._next_number = next_number
        self._counted_from = {number: number - overlap for number in unsettled}
        self._under_way: set[int] = set()

    @property
    def under_way(self) -> int:
        """The number of POSTs that have begun and not ended."""
        return len(self._under_way)

    @property
    def is_open(self) -> bool:
        """True if another POST may begin."""
        oldest = min(self._counted_from.values(), default=self._next_number)
        return not self._counted_from or self._next_number - oldest < self.size

    def begin_post(self) -> int:
        """Begin a POST; return its number."""
        number = self._next_number
        self._next_number += 1
        self._counted_from[number] = number - len(self._under_way)
        self._under_way.add(number)
        return number

    def end_post(self, number: int) -> None:
        """Note that this POST was answered."""
        self._under_way.discard(number)

    def forget(self, number: int) -> None:
        """Stop waiting for the status of this POST: it was seen, or there is none to see."""
        self._under_way.discard(number)
        self._counted_from.pop(number, None)
