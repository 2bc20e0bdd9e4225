"""The time of the next call: Target's budget of calls, its `Retry-After`, and the status window.

Pure: times are seconds of one monotonic clock, passed in.
"""

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: The length of Target's budget window in seconds (Adobe: 50 calls a minute, above it HTTP 503).
MINUTE_S = 60.0
#: The longest wait that a `Retry-After` header can demand, in seconds. Ours.
MAX_RETRY_AFTER_S = 3_600.0
#: Refusals below our own share within so many seconds of each other mean that somebody else uses the budget. Ours.
SHARED_WITHIN_S = 600.0
#: Seconds after which a share that was halved doubles again. Ours: as long as it takes to notice the next refusal.
SHARED_FOR_S = 600.0
#: Times that a share is halved at most. Ours: an eighth still sends a batch every 20 seconds.
MAX_HALVINGS = 3


def retry_after_s(text: str, now: datetime) -> float | None:
    """The seconds that a `Retry-After` header asks to wait: a number of seconds, or a date; None if it is neither.

    `now`: the time of day by the clock of whoever wrote the date, such as the answer's own `Date`.
    """
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,300}", text):
        return float(text)
    then = http_date(text)
    return None if then is None else max(0.0, (then - now).total_seconds())


def http_date(text: str) -> datetime | None:
    """The moment that an HTTP header names, or None."""
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


@dataclass(frozen=True, slots=True)
class Shared:
    """Somebody else uses the budget too: Target refused a call after only so many of ours in a minute.

    `calls`: ours in that minute.
    `share`: the calls a minute that are made from now on.
    """

    calls: int
    share: int


class CallBudget:
    """At most `calls_per_minute` calls in any minute, POSTs and status GETs together; it may change at any time.

    A call counts from its beginning until a minute after its *end*, since Target may have counted it at any moment in
    between. A 503 without `Retry-After` uses up a whole minute: waiting only for the rest of it meets 503 again.

    Target's budget is of the whole account. If it refuses calls again and again although we made fewer than
    `calls_per_minute`, somebody else makes calls too. Then our share is halved, and doubles again as time passes.
    """

    def __init__(self, calls_per_minute: int) -> None:
        self.calls_per_minute = calls_per_minute
        self._under_way = 0
        self._ended: deque[float] = deque()
        self._blocked_until = float("-inf")
        self._halvings = 0
        self._grows_at = float("inf")
        self._refused_below_share_at = float("-inf")

    def share(self, now: float) -> int:
        """The calls a minute that are made now: all of the budget, or less while somebody else uses it."""
        while self._halvings and now >= self._grows_at:
            self._halvings -= 1
            self._grows_at += SHARED_FOR_S
        return max(1, self.calls_per_minute >> self._halvings)

    def is_shared(self, now: float) -> bool:
        """True while the share is less than the budget, as somebody else uses it."""
        return self.share(now) < self.calls_per_minute

    def is_refused(self, now: float) -> bool:
        """True while calls wait because Target said that there were too many."""
        return self._blocked_until > now

    def wait_s(self, now: float) -> float | None:
        """Seconds until the next call may begin, 0 if it may now; None if a call under way must end first."""
        made = self.calls(now)
        if self._blocked_until > now:
            return self._blocked_until - now
        # This many of the calls that count must end and be a minute old, the oldest first.
        too_many = made - self.share(now) + 1
        if too_many <= 0:
            return 0.0
        return self._ended[too_many - 1] + MINUTE_S - now if too_many <= len(self._ended) else None

    def used(self, now: float) -> float:
        """The share of the budget that is used up, from 0 to 1."""
        if self.wait_s(now) != 0.0:
            return 1.0
        return self.calls(now) / self.share(now)

    def begin(self) -> None:
        """Count a call that begins."""
        self._under_way += 1

    def end(self, now: float) -> None:
        """Note that a call has ended, with or without success."""
        self._under_way -= 1
        self._ended.append(now)

    def exhaust(self, now: float, retry_after_s: float | None = None) -> Shared | None:
        """Stop calls after Target said that there were too many: for as long as it asks, else for a minute.

        Returns what is known of others, if this was not the first refusal below our own share.
        """
        is_first_of_its_minute = now >= self._blocked_until
        wait_s = MINUTE_S if retry_after_s is None else min(retry_after_s, MAX_RETRY_AFTER_S)
        self._blocked_until = max(self._blocked_until, now + wait_s)
        made = self.calls(now)
        if not is_first_of_its_minute or made >= self.calls_per_minute:
            return None
        is_again = now - self._refused_below_share_at <= SHARED_WITHIN_S + wait_s
        self._refused_below_share_at = now
        if not is_again:
            return None
        share = self.share(now)
        self._halvings = min(self._halvings + 1, MAX_HALVINGS) if share > 1 else self._halvings
        self._grows_at = now + wait_s + SHARED_FOR_S
        return Shared(made, self.share(now))

    def calls(self, now: float) -> int:
        """The number of calls that count: those under way, and those that ended within the last minute."""
        while self._ended and self._ended[0] + MINUTE_S <= now:
            self._ended.popleft()
        return self._under_way + len(self._ended)


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
    def awaited(self) -> int:
        """The number of POSTs that are under way, or of which the status is awaited."""
        return len(self._counted_from)

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
