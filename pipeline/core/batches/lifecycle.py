"""The life of a batch: facts fold into its state, and only the facts in `LEGAL` may happen in each phase.

    READY     --Begun--> POSTING
              --GivenUp, NeverSent--> SETTLED
    POSTING   --NotTaken, InDoubt--> READY
              --Taken--> FOLLOWING
              --RefusedAs--> REFUSED
    FOLLOWING --SeenStuck--> READY
              --SeenComplete, GivenUp--> SETTLED
    REFUSED   --Begun--> POSTING
              --SplitUp, RowRejected, Failed, GivenUp, NeverSent--> SETTLED
    SETTLED   --Released--> SETTLED

A fact that is not drawn cannot happen: `fold` raises `IllegalFactError` and changes nothing. A refused batch is sent
again (Begun) after `try_again`, which is no fact: when a doubt is over, and after each restart.

Facts are what happened, as the ledger keeps them; nothing else is remembered. `Begun` is a fact before the first byte
of a POST leaves, so that an attempt cut off by a crash is known; it becomes ambiguous once, when the ledger is opened.
An attempt is *open* while Target may have it and its own `complete` was not seen; it counts from when that was last
known: from the end of the attempt, or, where it was accepted, from the end of following it. When every open attempt is
older than the hold, the batch is released: its ids are free. Times are seconds of the monotonic clock of this process;
after a restart every open attempt counts from the restart, since nothing tells how long the process was away.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.core.errors import FatalError


@dataclass(frozen=True, slots=True)
class Begun:
    """The first byte of an attempt is about to leave; `post_number` counts all POSTs of the client code."""

    post_number: int


@dataclass(frozen=True, slots=True)
class Taken:
    """The attempt was accepted; its status is asked for at `status_url`."""

    status_url: str


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Target certainly does not have this attempt, and may take another: throttled, no connection, token."""

    why: str


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Target may or may not have this attempt."""

    why: str


@dataclass(frozen=True, slots=True)
class RefusedAs:
    """Target refused the batch for what is in it, and would again; `message` is Target's."""

    message: str


@dataclass(frozen=True, slots=True)
class SeenComplete:
    """The status of the accepted attempt is `complete`, with Target's counts and the ids it named as failed."""

    failed: int
    unconfirmed: int
    failed_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeenStuck:
    """The status of the accepted attempt is `stuck`."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Nothing more is done to learn of the batch: status lost, deadline passed, attempts used up."""

    why: str


@dataclass(frozen=True, slots=True)
class SplitUp:
    """The refused batch was replaced by two smaller ones, which have its rows, ids and open attempts."""

    children: tuple[int, int]


@dataclass(frozen=True, slots=True)
class RowRejected:
    """The refused batch holds one row, and that row, of that line of the export, is rejected for Target's reason."""

    message: str
    line: int
    row: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The refused batch is not split any further: its rows fail."""

    why: str


@dataclass(frozen=True, slots=True)
class NeverSent:
    """The job ended before the batch was ever sent: its rows are unsent."""


@dataclass(frozen=True, slots=True)
class Released:
    """The ids of the batch are free."""


Fact = (
    Begun
    | Taken
    | NotTaken
    | InDoubt
    | RefusedAs
    | SeenComplete
    | SeenStuck
    | GivenUp
    | SplitUp
    | RowRejected
    | Failed
    | NeverSent
    | Released
)


class Phase(StrEnum):
    """Where a batch is in its life; see the drawing above."""

    READY = "waits to be sent"
    POSTING = "is being sent"
    FOLLOWING = "is being applied by Target"
    REFUSED = "was refused"
    SETTLED = "is settled"


@dataclass(frozen=True, slots=True)
class Life:
    """What the facts of a batch add up to.

    `attempts` are POSTs that may have reached Target. `open_since` holds from when on each open attempt counts.
    `last` is the latest fact that says how it stands.
    """

    phase: Phase = Phase.READY
    attempts: int = 0
    ambiguous: int = 0
    stuck: int = 0
    open_since: tuple[float, ...] = ()
    post_number: int | None = None
    posted_at: float = 0.0
    status_url: str = ""
    last: Fact | None = None
    is_released: bool = False

    @property
    def is_never_sent(self) -> bool:
        """Whether the job ended before the batch was ever sent."""
        return isinstance(self.last, NeverSent)

    @property
    def may_be_applied(self) -> bool:
        """Whether Target may have applied any copy, or may do so yet; not what it refused for what is in it."""
        if isinstance(self.last, RowRejected | Failed | NeverSent):
            return False
        return (
            bool(self.open_since)
            or isinstance(self.last, SeenComplete)
            or self.phase
            in (
                Phase.POSTING,
                Phase.FOLLOWING,
            )
        )


#: The facts that may happen in each phase.
LEGAL: dict[Phase, tuple[type[Fact], ...]] = {
    Phase.READY: (Begun, GivenUp, NeverSent),
    Phase.POSTING: (NotTaken, InDoubt, Taken, RefusedAs),
    Phase.FOLLOWING: (SeenStuck, SeenComplete, GivenUp),
    # Sent again, split, judged, or left: after a restart, or when the doubt is over, it waits as a READY one does.
    Phase.REFUSED: (Begun, SplitUp, RowRejected, Failed, GivenUp, NeverSent),
    Phase.SETTLED: (Released,),
}


class IllegalFactError(FatalError):
    """A fact that cannot happen to a batch in its phase: a bug in profile-pipeline (70)."""


def check_legal(life: Life, fact: Fact) -> None:
    """Raise `IllegalFactError` unless this fact may happen now."""
    if not isinstance(fact, LEGAL[life.phase]):
        raise IllegalFactError(
            f"{type(fact).__name__} cannot happen to a batch that {life.phase}: a bug in profile-pipeline, "
            "please report it."
        )


def fold(life: Life, fact: Fact, at: float) -> Life:
    """The life after one more fact, which became known at `at`. Raises `IllegalFactError`."""
    check_legal(life, fact)
    match fact:
        case Begun(post_number):
            return replace(life, phase=Phase.POSTING, post_number=post_number)
        case Taken(status_url):
            life = replace(life, phase=Phase.FOLLOWING, status_url=status_url, posted_at=at)
            return replace(life, attempts=life.attempts + 1, last=fact)
        case NotTaken():
            return replace(life, phase=Phase.READY, last=fact)
        case InDoubt():
            life = replace(life, phase=Phase.READY, attempts=life.attempts + 1, ambiguous=life.ambiguous + 1)
            return replace(life, open_since=(*life.open_since, at), last=fact)
        case RefusedAs():
            return replace(life, phase=Phase.REFUSED, attempts=life.attempts + 1, last=fact)
        case SeenStuck():
            life = replace(life, phase=Phase.READY, stuck=life.stuck + 1, last=fact)
            return replace(life, open_since=(*life.open_since, at))
        case GivenUp():
            if life.phase is Phase.FOLLOWING:
                life = replace(life, open_since=(*life.open_since, at))
            return replace(life, phase=Phase.SETTLED, last=fact)
        case SeenComplete() | SplitUp() | RowRejected() | Failed() | NeverSent():
            return replace(life, phase=Phase.SETTLED, last=fact)
        case Released():
            return replace(life, is_released=True)


def born_of(parent: Life) -> Life:
    """The life of a part of a batch that was split: Target may have its rows from each open attempt of the whole."""
    return Life(open_since=parent.open_since)


def try_again(life: Life) -> Life:
    """A refused batch is sent once more: it may not have been refused for what is in it."""
    return replace(life, phase=Phase.READY) if life.phase is Phase.REFUSED else life


def after_restart(life: Life, now: float) -> tuple[Life, Fact | None]:
    """The life of a batch as a new process finds it: holds begin anew, and an attempt cut off is in doubt.

    One that stands refused is to be sent again: the reason may have been the configuration, which may have changed.

    The fact returned is to be recorded, so that the same attempt is not counted again at the next restart.
    """
    life = try_again(replace(life, open_since=(now,) * len(life.open_since), posted_at=now))
    if life.phase is not Phase.POSTING:
        return life, None
    fact = InDoubt("the process ended in the middle of it")
    return fold(life, fact, now), fact


def release_at(life: Life, *, settled_at: float, hold_s: float) -> float:
    """When the ids of a settled batch are free: when no open copy can be applied any more."""
    return max([settled_at, *(since + hold_s for since in life.open_since)])
