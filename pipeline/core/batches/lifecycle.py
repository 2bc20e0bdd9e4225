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

The ledger keeps the facts of a batch and nothing else about it. `Begun` is recorded before the first byte of a POST
leaves, so that an attempt cut off by a crash is known; it becomes ambiguous once, when its job goes on.
An attempt is *open* while Target may have it and its own `complete` was not seen. Its age counts from the end of the
attempt, or, if it was accepted, from the end of following it. When every open attempt is older than the hold, the
batch may be released: its ids are free. Times are seconds of the monotonic clock of this process. After a restart all
ages count from the restart, since nothing tells how long the process was away; not so where a process runs a job again.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.core.errors import FatalError
from pipeline.core.target.messages import is_empty_batch


@dataclass(frozen=True, slots=True)
class Begun:
    """The first byte of an attempt is about to leave; `post_number` counts all POSTs of the client code."""

    post_number: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Target accepted the attempt; its status is asked for at `status_url`."""

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
    """Target refused the batch for its content, and would again; `message` is Target's."""

    message: str


@dataclass(frozen=True, slots=True)
class SeenComplete:
    """The status of the accepted attempt is `complete`, with Target's counts and the ids it named.

    `failed_ids`: named as failed. `unconfirmed_ids`: named, and neither applied nor failed.
    `batch_size`: the number of rows that Target read, if it read other ones than were sent; else None.
    """

    failed: int
    unconfirmed: int
    failed_ids: tuple[str, ...] = ()
    unconfirmed_ids: tuple[str, ...] = ()
    batch_size: int | None = None

    @property
    def lost_ids(self) -> tuple[str, ...]:
        """The ids that Target named and did not apply for certain."""
        return self.failed_ids + self.unconfirmed_ids


@dataclass(frozen=True, slots=True)
class SeenStuck:
    """The status of the accepted attempt is `stuck`."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The batch's outcome stays unknown: status lost, deadline passed, or all attempts used."""

    why: str


@dataclass(frozen=True, slots=True)
class SplitUp:
    """Two smaller batches replace the refused one, and have its rows, ids and open attempts."""

    children: tuple[int, int]


@dataclass(frozen=True, slots=True)
class RowRejected:
    """The only row of the refused batch, from `line` of the export, is rejected with Target's `message`."""

    message: str
    line: int
    row: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The refused batch is not split any further: its rows fail."""

    why: str


@dataclass(frozen=True, slots=True)
class NeverSent:
    """The job ended before Target took the batch: its rows are unsent."""


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
    """The state of a batch, folded from its facts.

    `attempts`: POSTs that Target accepted, refused for their content, or may have. `open_since`: for each open attempt
    the time from which its age counts. `last`: the latest fact but `Begun` and `Released`.
    `is_refused_as_empty`: Target found no row in it, at least once.
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
    is_refused_as_empty: bool = False

    @property
    def is_never_sent(self) -> bool:
        """True if the job ended before Target took the batch."""
        return isinstance(self.last, NeverSent)

    @property
    def may_be_applied(self) -> bool:
        """True if Target may have applied a copy, or may do so yet, and did not refuse the rows for their content."""
        if isinstance(self.last, RowRejected | Failed | NeverSent):
            return False
        is_under_way = self.phase in (Phase.POSTING, Phase.FOLLOWING)
        return is_under_way or bool(self.open_since) or isinstance(self.last, SeenComplete)


#: The facts that may happen in each phase.
LEGAL: dict[Phase, tuple[type[Fact], ...]] = {
    Phase.READY: (Begun, GivenUp, NeverSent),
    Phase.POSTING: (NotTaken, InDoubt, Taken, RefusedAs),
    Phase.FOLLOWING: (SeenStuck, SeenComplete, GivenUp),
    # Begun: after `try_again` it is READY. The others split it, judge it, or leave it.
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
        case RefusedAs(message):
            is_empty = life.is_refused_as_empty or is_empty_batch(message)
            life = replace(life, phase=Phase.REFUSED, attempts=life.attempts + 1, last=fact)
            return replace(life, is_refused_as_empty=is_empty)
        case SeenStuck():
            life = replace(life, phase=Phase.READY, stuck=life.stuck + 1, last=fact)
            return replace(life, open_since=(*life.open_since, at))
        case GivenUp():
            if life.phase is Phase.FOLLOWING:
                life = replace(life, open_since=(*life.open_since, at))
            return replace(life, phase=Phase.SETTLED, last=fact)
        case SeenComplete(unconfirmed_ids=unconfirmed_ids) if unconfirmed_ids:
            # What was pending may be applied yet.
            return replace(life, phase=Phase.SETTLED, open_since=(*life.open_since, at), last=fact)
        case SeenComplete() | SplitUp() | RowRejected() | Failed() | NeverSent():
            return replace(life, phase=Phase.SETTLED, last=fact)
        case Released():
            return replace(life, is_released=True)


def born_of(parent: Life) -> Life:
    """The life of a child of a split batch: its rows may be in each open attempt of its parent."""
    return Life(open_since=parent.open_since)


def try_again(life: Life) -> Life:
    """Let a refused batch be sent once more: its content may not have been the reason. Others stay as they are."""
    return replace(life, phase=Phase.READY) if life.phase is Phase.REFUSED else life


@dataclass(frozen=True, slots=True)
class Ages:
    """The times of a life that this process knows from an earlier run of its job; see `Life`."""

    open_since: tuple[float, ...]
    posted_at: float


def after_restart(life: Life, now: float, ages: Ages | None = None) -> tuple[Life, Fact | None]:
    """The life of a batch in a new process: holds begin anew, and a cut-off attempt is in doubt.

    `ages`: those that this process knows of it, if any: then holds and the deadline go on. A job that is run again and
    again would else hold up its ids, and those behind it, for ever.

    A refused batch is sent again: the reason may have been the configuration, which may have changed.

    The caller must record the returned fact, so that the next restart does not count the same attempt again.
    """
    # An attempt more than was known is one that nobody saw end.
    if ages is None or len(ages.open_since) != len(life.open_since):
        ages = Ages(open_since=(now,) * len(life.open_since), posted_at=now)
    life = try_again(replace(life, open_since=ages.open_since, posted_at=ages.posted_at))
    if life.phase is not Phase.POSTING:
        return life, None
    fact = InDoubt("the process ended in the middle of it")
    return fold(life, fact, now), fact


def release_at(life: Life, *, settled_at: float, hold_s: float) -> float:
    """The time at which the ids of a settled batch are free: no open copy can be applied after it."""
    return max([settled_at, *(since + hold_s for since in life.open_since)])
