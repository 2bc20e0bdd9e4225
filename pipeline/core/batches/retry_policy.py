"""Whether and when a batch is sent again: the only place that decides it.

Only ambiguous attempts are counted: after one of them Target may have the batch, and each copy may be applied late.
Being throttled, not reaching Target, or being refused for the token costs no attempt: nothing was taken.
"""

from dataclasses import dataclass

from pipeline.core.batches.lifecycle import (
    Fact,
    GivenUp,
    InDoubt,
    Life,
    NotTaken,
    RefusedAs,
    Taken,
)
from pipeline.core.target.replies import Accepted, Ambiguous, PostOutcome, Refused, Throttled, Unauthorized, Unreachable

#: A batch that Target calls stuck is sent once more; twice stuck is unconfirmed.
MAX_STUCK = 2


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

    def giving_up(self, life: Life) -> GivenUp | None:
        """The fact that ends a batch that waits to be sent, if it has had all its attempts."""
        if life.ambiguous >= self.attempts:
            last = f", the last: {life.last.why}" if isinstance(life.last, InDoubt) else ""
            return GivenUp(f"all {self.attempts} attempts used, none with a usable answer{last}")
        if life.stuck >= MAX_STUCK:
            return GivenUp("Target called the batch stuck twice")
        return None


def attempt_fact(outcome: PostOutcome) -> Fact:
    """What the outcome of a POST says about the batch."""
    match outcome:
        case Accepted(status_url):
            return Taken(status_url)
        case Refused(message):
            return RefusedAs(message)
        case Ambiguous(why):
            return InDoubt(why)
        case Throttled():
            return NotTaken("too many calls")
        case Unreachable(why):
            return NotTaken(why)
        case Unauthorized(http_status):
            return NotTaken(f"HTTP {http_status}: the token was refused")
