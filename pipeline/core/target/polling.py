"""When to ask for the status of a batch: planned by how long the last batches took.

A status call is one of the few calls a minute that Target allows. Asked too early it is wasted, asked too late the
batch is settled late, and the next one may have to wait for it. So what a call is worth decides: while most of the
budget is free, a batch is asked for as soon as it may be complete, and then at ages that grow by a few per cent; when
the budget is used up, only when it most likely is complete. In between it goes smoothly. Pure: times are ages, seconds
since a batch was accepted.
"""

from bisect import bisect_right
from collections import deque

#: So many batches are remembered. Ours: enough for a quantile, few enough to follow a Target that becomes slower.
_REMEMBERED = 50
#: A batch that was complete when it was first asked for took less than that, by how much is not known. Ours: so the
#: next ones are asked for a little earlier, until some are not complete yet.
_EARLIER = 0.9
#: The share of batches that are complete when they are first asked for: while the budget is free, and when it is used.
_EAGER, _PATIENT = 0.1, 0.9
#: By how much the age grows from one time of asking to the next, in the same two cases.
_EAGER_GROWTH, _PATIENT_GROWTH = 1.06, 1.5
#: The least growth, as a share of the age to ask at first. Ours: 6 % of next to nothing is next to nothing.
_LEAST_GROWTH = 0.1


class PollPlan:
    """What is known of how long Target takes. `first_s` is the least age to ask at, and that where nothing is known.

    While calls are free, a batch is asked for every `max_s` seconds at least.
    """

    def __init__(self, *, first_s: float, max_s: float) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._latest: deque[float] = deque(maxlen=_REMEMBERED)
        self._sorted: list[float] = []
        # As long as no batch was complete, one that was asked for speaks for the others.
        self._not_yet = 0.0

    def next_age(self, asked_at: float | None, pressure: float) -> float:
        """The age at which to ask a batch that was not complete at the age `asked_at`; None: it was not asked for.

        `pressure` is what share of the budget of calls is used, from 0 to 1.
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
        """A batch was not complete at that age."""
        self._not_yet = max(self._not_yet, age)

    def note_complete(self, asked_at: float | None, age: float) -> None:
        """A batch was seen complete at that age; it was not yet at the age `asked_at`, where it was asked for."""
        self._latest.append((asked_at + age) / 2 if asked_at else age * _EARLIER)
        self._sorted = sorted(self._latest)


def _between(low: float, high: float, pressure: float) -> float:
    # Squared: up to half of the budget a call costs next to nothing.
    return low + (high - low) * pressure * pressure


def _quantile(ages: list[float], share: float) -> float:
    return ages[min(len(ages) - 1, int(share * len(ages)))]
