"""The next step of a batch, and if and when it is sent again: nothing else decides these.

Only ambiguous attempts count: after each of them Target may have the batch, and may apply its copy late. Being
throttled, not reaching Target, or being refused for the token costs no attempt: Target took nothing.
"""

from dataclasses import dataclass
from enum import IntEnum

from pipeline.core.batches.lifecycle import Fact, GivenUp, InDoubt, Life, NotTaken, Phase, RefusedAs, Taken
from pipeline.core.target.replies import (
    Accepted,
    Ambiguous,
    PostOutcome,
    Refused,
    Throttled,
    Unauthorized,
    Unreachable,
    WrongAddress,
)

#: Times stuck at which a batch is unconfirmed. Stuck once, it is sent once more.
MAX_STUCK = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The limits of sending again.

    `attempts`: ambiguous attempts for each batch.
    `backoff_s`: the longest first wait; it doubles up to `backoff_max_s`, with full jitter.
    `give_up_after_s`: seconds without a usable answer from Target, pauses not counted, after which the run ends.
    """

    attempts: int
    backoff_s: float
    backoff_max_s: float
    give_up_after_s: float

    def wait_s(self, failures: int, jitter: float) -> float:
        """Seconds to wait after `failures` failures in a row (from 1). `jitter`: a random number in [0, 1)."""
        # 2 ** 60 is longer than any wait; much larger powers would not fit in a float.
        return jitter * min(self.backoff_max_s, self.backoff_s * 2.0 ** min(failures - 1, 60))

    def giving_up(self, life: Life) -> GivenUp | None:
        """The fact that gives up a batch that waits to be sent, if it has used all its attempts; else None."""
        if life.ambiguous >= self.attempts:
            last = f", the last: {life.last.why}" if isinstance(life.last, InDoubt) else ""
            return GivenUp(f"all {self.attempts} attempts used, none with a usable answer{last}")
        if life.stuck >= MAX_STUCK:
            return GivenUp("Target called the batch stuck twice")
        return None


def attempt_fact(outcome: PostOutcome) -> Fact:
    """The fact that the outcome of a POST makes of the batch."""
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
        case WrongAddress(http_status):
            return NotTaken(f"HTTP {http_status}: nobody there takes batches of this client code")
        case Unauthorized(http_status, had_token=had_token):
            why = "the token was refused" if had_token else "authentication is required, and no token is set"
            return NotTaken(f"HTTP {http_status}: {why}")


class EndStage(IntEnum):
    """The stage that the end of a job has reached; each stage includes those before it."""

    #: The job goes on.
    NONE = 0
    #: The export cannot be used: no batch is sent for the first time. Those that Target may have go to their outcome.
    NO_FIRST_ATTEMPTS = 1
    #: The job was abandoned: no batch is sent again either. Statuses are still asked for.
    NO_ATTEMPTS = 2
    #: An error, a signal or a time limit: nothing new is begun, POSTs under way come to their end. Run again.
    LET_POSTS_END = 3
    #: At once: POSTs under way are cut off too.
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
    """Record this fact; nothing else is to be done."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class Leave:
    """Do nothing: the job ends or a task is posting the batch, which stays as it is."""


@dataclass(frozen=True, slots=True)
class Done:
    """Do nothing: the batch is settled."""


Next = Attempt | Follow | Narrow | Record | Leave | Done

#: An abandoned job does not repeat an attempt that Target may have.
NOT_REPEATED = GivenUp("abandoned: an attempt without a usable answer was not repeated")


def next_step(life: Life, policy: RetryPolicy, ending: EndStage) -> Next:
    """The next step of a batch. A batch that is being posted is left to the task that posts it."""
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
