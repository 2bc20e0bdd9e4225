"""The budget of calls a minute that Target answers."""

from collections import deque


class CallBudget:
    """At most `calls` calls in any `minute_s` seconds; None for no limit. Refused calls take nothing."""

    def __init__(self, calls: int | None, minute_s: float) -> None:
        self._calls = calls
        self._minute_s = minute_s
        self._taken_at_s: deque[float] = deque()

    def take(self, now_s: float) -> bool:
        """Take one call; False if there is none left in this sliding minute."""
        if self._calls is None:
            return True
        while self._taken_at_s and self._taken_at_s[0] <= now_s - self._minute_s:
            self._taken_at_s.popleft()
        if len(self._taken_at_s) >= self._calls:
            return False
        self._taken_at_s.append(now_s)
        return True

    def give_back(self) -> None:
        """Undo the last `take`: the call was answered with a throttling fault, which costs nothing."""
        if self._taken_at_s:
            self._taken_at_s.pop()
