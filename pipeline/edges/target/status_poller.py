"""Follows an accepted batch: asks for its status when a call is worth it, until the answer is final."""

from collections.abc import Awaitable, Callable

from pipeline.core.target.polling import PollPlan
from pipeline.core.target.replies import Complete, Incomplete, StatusLost, StatusOutcome, Stuck, Unauthorized, Uncounted
from pipeline.edges.clock import Clock
from pipeline.edges.target.call_queue import CallQueue

#: The plan may change while a batch waits for its next question. So it is consulted again after this share of the
#: batch's age, and after at least so many seconds.
_LOOK_AGAIN_SHARE = 0.05
_LOOK_AGAIN_S = 0.5
#: A batch that Target does not know may be too new for the host that is asked: batches are accepted by one host, and
#: their statuses told by another (seen in the field). Ours: it is asked about this often, each time at twice the age at
#: which it was not known, and not once it is older than these seconds.
NOT_YET_TRIES = 5
NOT_YET_S = 180.0
#: Times that a batch is asked about which is complete with counts that cannot be read. Ours: the answer is final, but a
#: counter may be being renewed.
UNCOUNTED_TRIES = 4


class StatusPoller:
    """Follows the batches of a run, each for at most `deadline_s` seconds. Pauses of a time window do not count."""

    def __init__(self, plan: PollPlan, calls: CallQueue, clock: Clock, *, deadline_s: float) -> None:
        self._plan = plan
        self._calls = calls
        self._clock = clock
        self.deadline_s = deadline_s

    def take(self, *, first_s: float, max_s: float, deadline_s: float) -> None:
        """Replace the bounds of the plan and the deadline, from now on; what was learned stays."""
        self._plan.take(first_s=first_s, max_s=max_s)
        self.deadline_s = deadline_s

    async def follow(
        self, posted_at: float, ask: Callable[[], Awaitable[StatusOutcome]], *, is_age_known: bool = True
    ) -> StatusOutcome | None:
        """The final answer for the batch accepted at `posted_at` (monotonic seconds); None if none comes in time.

        A token that is refused for good is final too.
        `is_age_known`: False if the batch may be older; then its time teaches nothing.
        """
        asked_at: float | None = None
        # True if the last question had an answer (or there was none yet).
        was_answered = True
        # The number of times that Target did not know the batch, none once it did; and the age at the last of them.
        not_yet: int | None = 0
        unknown_at = 0.0
        uncounted = 0
        while True:
            # Not twice the age at a question without an answer: through an outage that would grow to hours, for which
            # the status window stays closed to all other batches.
            await self._until_due(posted_at, asked_at, 2.0 * unknown_at)
            outcome = await ask()
            age = self._clock.monotonic() - posted_at
            match outcome:
                case StatusLost(is_unknown=True) if (
                    not_yet is not None and not_yet + 1 < NOT_YET_TRIES and age < NOT_YET_S
                ):
                    not_yet, unknown_at = not_yet + 1, age
                case Uncounted() if uncounted + 1 < UNCOUNTED_TRIES:
                    uncounted += 1
                case Complete():
                    if is_age_known and was_answered and not self._has_paused(posted_at + (asked_at or 0.0)):
                        self._plan.note_complete(asked_at, age)
                    return outcome
                case Stuck() | StatusLost() | Uncounted() | Unauthorized(is_final=True):
                    return outcome
            was_answered = isinstance(outcome, Incomplete)
            if was_answered:
                not_yet, unknown_at = None, 0.0
                self._plan.note_incomplete(age)
            asked_at = age
            if age >= self._deadline_age(posted_at):
                return None

    async def _until_due(self, posted_at: float, asked_at: float | None, least_age: float) -> None:
        while True:
            age = self._clock.monotonic() - posted_at
            planned = max(least_age, self._plan.next_age(asked_at, self._calls.pressure))
            due = min(planned, self._deadline_age(posted_at))
            if age >= due:
                return
            await self._clock.sleep(min(due - age, max(_LOOK_AGAIN_S, _LOOK_AGAIN_SHARE * age)))

    def _deadline_age(self, posted_at: float) -> float:
        """The age at which a batch is given up, as far as is known now."""
        return self.deadline_s + self._calls.windows.paused_s(posted_at)

    def _has_paused(self, since: float) -> bool:
        """True if calls have paused since then: a batch may have been complete long before it was seen."""
        return self._calls.windows.paused_s(since) > 0
