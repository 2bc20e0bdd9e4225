"""Whether and when a batch is sent again: the only place that decides it.

Only ambiguous attempts are counted: after one of them Target may have the batch, and each copy may be applied late.
Being throttled, not reaching Target, or being refused for the token costs no attempt: nothing was taken.
"""

from dataclasses import dataclass
from enum import Enum

from pipeline.core.reply import (
    Accepted,
    Ambiguous,
    PostOutcome,
    Refused,
    Throttled,
    Unauthorized,
    Unreachable,
)


class Stop(Enum):
    """The batch is not sent again, and why."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    ATTEMPTS_USED = "all attempts used"
    UNAVAILABLE = "Target unavailable for too long"
    UNAUTHORIZED = "token refused"


@dataclass(frozen=True, slots=True)
class Again:
    """Send the same bytes again after `after_s` seconds."""

    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`attempts` ambiguous ones a batch; waits from `backoff_s` doubling to `backoff_max_s`, with full jitter.

    `give_up_after_s` without any sign of life from Target ends the run.
    """

    attempts: int
    backoff_s: float
    backoff_max_s: float
    give_up_after_s: float

    def wait_s(self, failures: int, jitter: float) -> float:
        """Seconds to wait after so many failures in a row (from 1); `jitter` is a random number in [0, 1)."""
        # 2 ** 60 is beyond any wait; larger powers would not fit in a float some day.
        return jitter * min(self.backoff_max_s, self.backoff_s * 2.0 ** min(failures - 1, 60))


class Upload:
    """The attempts to get one batch accepted."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.attempts = 0
        #: Monotonic times at which ambiguous attempts ended.
        self.open_since: list[float] = []
        self._policy = policy
        self._failures = 0
        self._token_was_reread = False

    def after(self, outcome: PostOutcome, *, now: float, silent_s: float, jitter: float) -> Again | Stop:
        """What follows this outcome. `silent_s`: how long Target has given no sign of life; `jitter` in [0, 1)."""
        self._failures += 1
        backoff_s = self._policy.wait_s(self._failures, jitter)
        match outcome:
            case Accepted():
                self.attempts += 1
                self._failures = 0
                return Stop.ACCEPTED
            case Refused():
                self.attempts += 1
                return Stop.REFUSED
            case Ambiguous():
                self.attempts += 1
                self.open_since.append(now)
                used = len(self.open_since) >= self._policy.attempts
                return Stop.ATTEMPTS_USED if used else Again(backoff_s)
            case Unauthorized():
                if self._token_was_reread:
                    return Stop.UNAUTHORIZED
                self._token_was_reread = True
                return Again(0.0)
            case Throttled() | Unreachable():
                return Stop.UNAVAILABLE if silent_s >= self._policy.give_up_after_s else Again(backoff_s)
