"""The next step of a batch, and if and when it is sent again: the only place that decides it.

Only ambiguous attempts are counted: after one of them Target may have the batch, and each copy may be applied late.
Being throttled, not reaching Target, or being refused for the token costs no attempt: nothing was taken.
"""

from dataclasses import dataclass
from enum import IntEnum

from pipeline.core.batches.lifecycle import (
    Fact,
    GivenUp,
    InDoubt,
    Life,
    NotTaken,
    Phase,
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


class EndStage(IntEnum):
    """How far the end of a job has come; each stage includes those before it."""

    #: It goes on.
    NONE = 0
    #: No batch is sent for the first time: the export cannot be used. What Target may have is followed to its outcome.
    NO_FIRST_ATTEMPTS = 1
    #: Nor is one sent again: the job was abandoned. Statuses are still asked for.
    NO_ATTEMPTS = 2
    #: Nothing is begun any more, POSTs under way come to their end: an error, a signal, a time limit. Run again.
    LET_POSTS_END = 3
    #: POSTs under way are cut off too.
    NOW = 4


@dataclass(frozen=True, slots=True)
class Attempt:
    """Send the batch."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Ask for the status of the accepted attempt until it is final."""


@dataclass(frozen=True, slots=True)
class Narrow:
    """Find the rows for which the batch is refused: split it, or judge its one row."""


@dataclass(frozen=True, slots=True)
class Record:
    """Write this fact down; nothing is to be done for it."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class Leave:
    """Do nothing: the job ends, and the batch stays as it is."""


@dataclass(frozen=True, slots=True)
class Done:
    """Do nothing: the batch is settled."""


Next = Attempt | Follow | Narrow | Record | Leave | Done

#: An abandoned job does not repeat an attempt that Target may have.
NOT_REPEATED = GivenUp("abandoned: an attempt without a usable answer was not repeated")


def next_step(life: Life, policy: RetryPolicy, ending: EndStage) -> Next:
    """What is to be done with a batch now. A batch that is being posted is left to whoever posts it."""
    match life.phase:
        case Phase.SETTLED:
            return Done()
        case Phase.FOLLOWING:
            return Follow()
        case Phase.POSTING:
            return Leave()
    if ending >= EndStage.LET_POSTS_END:
        return Leave()
    if life.phase is Phase.REFUSED:
        return Narrow()
    if given_up := policy.giving_up(life):
        return Record(given_up)
    if ending is EndStage.NO_ATTEMPTS and life.open_since:
        return Record(NOT_REPEATED)
    if ending is EndStage.NO_ATTEMPTS or (ending is EndStage.NO_FIRST_ATTEMPTS and not life.open_since):
        return Leave()
    return Attempt()
