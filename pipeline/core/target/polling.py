"""The plan for asking about the status of a batch, made from how long the last batches took.

Target allows only a few calls a minute. A status call that comes too early is wasted. One that comes too late settles
the batch late, and the next batch may have to wait for it. So the plan depends on how much of the budget is used:

* while most of it is free, a batch is asked about as soon as it may be complete, and then at ages that grow slowly;
* when it is used up, a batch is asked about only when it is most likely complete.

In between, the plan changes gradually. Pure: times are ages, in seconds since a batch was accepted.
"""

from bisect import bisect_right
from collections import deque

#: Batches that are remembered. Ours: enough for a quantile, few enough to follow a Target that becomes slower.
_REMEMBERED = 50
#: The assumed time of a batch that was complete at the first question, as a share of its age then. It took less than
#: that age, nobody knows how much less. Ours: the next ones are asked about a little earlier, until some are too early.
_EARLIER = 0.9
#: The share of batches that are complete at the first question: while the budget is free, and when it is used up.
_EAGER, _PATIENT = 0.1, 0.9
#: The growth of the age from one question to the next, in the same two cases.
_EAGER_GROWTH, _PATIENT_GROWTH = 1.06, 1.5
#: The least growth, as a share of `first_s`. Ours: 6 % of a very small age would be almost nothing.
_LEAST_GROWTH = 0.1


class PollPlan:
    """Plans the ages at which to ask, from the ages at which the last batches were complete.

    `first_s`: the least age at which to ask, and the age to begin with while nothing is known.
    `max_s`: while calls are free, a batch is asked about at least every `max_s` seconds.
    """

    def __init__(self, *, first_s: float, max_s: float) -> None:
        self.take(first_s=first_s, max_s=max_s)
        self._latest: deque[float] = deque(maxlen=_REMEMBERED)
        self._sorted: list[float] = []
        # The greatest age of an incomplete batch. It is the only thing known until a first batch is complete.
        self._not_yet = 0.0

    def take(self, *, first_s: float, max_s: float) -> None:
        """Plan with other bounds from now on; what was learned stays."""
        self._first_s = first_s
        self._max_s = max_s

    def next_age(self, asked_at: float | None, pressure: float) -> float:
        """The age at which to ask about a batch next.

        `asked_at`: the age at the last question, when it was not complete; None before the first.
        `pressure`: the share of the budget of calls that is used, from 0 to 1.
        """
        if asked_at is None and self._sorted:
            eager, patient = (max(self._first_s, _quantile(self._sorted, share)) for share in (_EAGER, _PATIENT))
        elif asked_at is None:
            eager, patient = self._first_s, max(self._first_s, self._not_yet * _PATIENT_GROWTH)
        else:
            later = self._sorted[bisect_right(self._sorted, asked_at) :]
            eager = max(asked_at * _EAGER_GROWTH, asked_at + _LEAST_GROWTH * self._first_s)
            patient = max(asked_at * _PATIENT_GROWTH, eager)
            patient = max(patient, _quantile(later, _PATIENT)) if later else patient
        age = _between(eager, patient, pressure)
        longest = (asked_at or 0.0) + self._max_s
        return age if age < longest else longest + (age - longest) * pressure

    def note_incomplete(self, age: float) -> None:
        """Note that a batch was not complete at that age."""
        self._not_yet = max(self._not_yet, age)

    def note_complete(self, asked_at: float | None, age: float) -> None:
        """Note that a batch was complete at the age `age`.

        `asked_at`: the age at the question before, when it was not complete yet; None if there was none.
        """
        self._latest.append((asked_at + age) / 2 if asked_at else age * _EARLIER)
        self._sorted = sorted(self._latest)


def _between(low: float, high: float, pressure: float) -> float:
    # Squared: calls count for little until half of the budget is used.
    return low + (high - low) * pressure * pressure


def _quantile(ages: list[float], share: float) -> float:
    return ages[min(len(ages) - 1, int(share * len(ages)))]
