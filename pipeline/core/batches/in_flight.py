"""The ids in flight while jobs of one client code overlap: each id is in flight at most once, its rows go in order.

    job A   read ......... EOF | held rows go as batches are released | its batches are followed | ended
    job B                      | begins: read ......... EOF | held rows go ............ | followed | ended
    job C                                                   | begins: ...

A job is *read* when the end of its export is durable. All rows that it has still to send are held then, so its ids are
known and no new one comes. The next job begins then, long before the first has ended, and holds what must wait:

* rows whose id is in a batch of an earlier job, until that batch is released; they carry that batch's cells;
* rows whose id an earlier job *holds*, until that job's row is in a batch, and then until that batch is released.

Each job's producer has a tracker of its own. The job's `JobView` tells it what earlier jobs have in flight: their
batches by `batch_id`, and the ids that they hold under minus the job's `seq`. When an earlier job seals a batch of held
rows, the batch enters the view before its ids leave the job's held ids: in between an id may be in both, never in none.
Later jobs are in nobody's view: a job that is read sends only ids that it holds, and those are in no batch of a later
job, because that one waits for them. All this is decided by hashes, and holds for hashes as for ids: a collision may
hold a row needlessly, but never frees one. A split changes nothing, since the children have the same ids.

A crash changes nothing either. The ledger has a job's held rows until the seal that puts them in a batch, so a job
holds no more after a crash than it held in the views. A later job seals only after an earlier one is read. The order of
jobs is durable: `Checkpoint.turn` counts them as they begin, because their claims may come in another order.

Each view releases a batch by itself. Each seal records the releases after which its rows were placed, so of all batches
without a recorded release at most one holds an id. But another view may still need the body, because a row held there
is to carry cells from it. So the batch is *over*, and its body removed, with the seal of the last job that awaits it.
Until then a new process takes it up as one that is due at once.

Rows carry only from the newest earlier batch with their id: not from one whose id is also in flight elsewhere, in a
batch sealed after it or held by an earlier job. (If that job is abandoned, its held row is never sent, and nothing is
carried past it.)

A job whose reading failed is never read: the next one begins when it has ended. A job that is abandoned after it is
read keeps its held ids until its end is durable: after a crash no row of it may look as if it could still be sent.
A retry begins alone: its overtaken rows are known only when all earlier rows are sealed.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from pipeline.core.batches.tracker import Tracker
from pipeline.core.model import Hashes

#: A time that is past on any clock.
_LONG_AGO = float("-inf")


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """A settled batch and the time at which its ids are free, in seconds of the monotonic clock."""

    release_at: float
    batch_id: int
    may_be_applied: bool
    failed_ids: tuple[str, ...]

    @classmethod
    def at_once(cls, batch_id: int) -> "Due":
        """A batch that was never sent, or a job's held ids that are held no more: nothing is carried from them."""
        return cls(_LONG_AGO, batch_id, may_be_applied=False, failed_ids=())


@dataclass(slots=True)
class _Flight:
    """A batch that is not over; `due` is None until it is settled. `awaited_by`: the jobs that await its release."""

    parameters: tuple[str, ...]
    due: Due | None
    awaited_by: set[int]


@dataclass(frozen=True, slots=True)
class _Holding:
    """The sorted hashes of the ids that a job holds once it is read, and the parameters of its rows."""

    hashes: Hashes
    parameters: tuple[str, ...]


class InFlight:
    """The jobs of one client code that are under way, named by their `seq` in the ledger, and their batches.

    `begun`: unfinished jobs that began in an earlier process, in their order; they await every batch that is not over,
    even before they run again. `hashes_of` reads the sorted hashes of a batch's ids from the spool, since only trackers
    keep them in memory.
    """

    def __init__(self, hashes_of: Callable[[int], Hashes], begun: Iterable[int] = ()) -> None:
        self._hashes_of = hashes_of
        self._jobs = list(begun)
        self._flights: dict[int, _Flight] = {}
        self._holding: dict[int, _Holding] = {}
        self._views: dict[int, JobView] = {}

    @property
    def views(self) -> int:
        """The number of jobs that have rows to place: they read, or hold rows."""
        return len(self._views)

    def is_read(self, job: int) -> bool:
        """True if the end of the job's export is durable."""
        return job in self._holding

    def enter(self, job: int) -> None:
        """Put a job that begins behind all others; one that goes on keeps its place."""
        if job not in self._jobs:
            self._jobs.append(job)
            for flight in self._flights.values():
                flight.awaited_by.add(job)

    def add(self, job: int, batch_id: int, hashes: Hashes, parameters: tuple[str, ...], due: Due | None = None) -> None:
        """Add a batch of a job, with the sorted hashes of its ids; with `due` if it is settled already."""
        flight = _Flight(parameters, due, set(self._from(job)))
        self._flights[batch_id] = flight
        for view in self._awaiting(flight):
            view.put(batch_id, hashes, due)

    def hashes(self, number: int) -> Hashes:
        """The sorted hashes of the ids in flight under this number: a `batch_id`, or minus the `seq` of a job.

        Empty if nothing is any more: the body of a batch never sent is gone before every view has let go of it.
        """
        if -number in self._holding:
            return self._holding[-number].hashes
        return self._hashes_of(number) if number in self._flights else np.empty(0, dtype=np.uint64)

    def parameters(self, job: int) -> tuple[str, ...]:
        """The parameters of all batches and held rows from which rows of a job that begins may carry cells."""
        before = self._jobs[: self._jobs.index(job)]
        all_of = [flight.parameters for flight in self._flights.values()]
        all_of += [self._holding[other].parameters for other in before if other in self._holding]
        return tuple(dict.fromkeys(name for parameters in all_of for name in parameters))

    def join(self, job: int, tracker: Tracker) -> "JobView":
        """Let a job place rows: from now on its tracker is told what is in flight for it."""
        view = self._views[job] = JobView(self, job, tracker)
        for batch_id, flight in self._flights.items():
            if job in flight.awaited_by:
                view.put(batch_id, self._hashes_of(batch_id), flight.due)
        for other in self._jobs[: self._jobs.index(job)]:
            if other in self._holding and len(self._holding[other].hashes):
                view.put(-other, self._holding[other].hashes, None)
        return view

    def settle(self, due: Due) -> None:
        """Note that a batch is settled."""
        flight = self._flights[due.batch_id]
        flight.due = due
        for view in self._awaiting(flight):
            view.note_due(due)

    def split(self, batch_id: int, children: dict[int, Hashes]) -> None:
        """Replace a batch by its children, which share out its ids; `children`: their sorted hashes by `batch_id`."""
        flight = self._flights.pop(batch_id)
        for view in self._awaiting(flight):
            view.tracker.split(batch_id, children)
        for child_id in children:
            self._flights[child_id] = _Flight(flight.parameters, None, set(flight.awaited_by))

    def hold(self, job: int, hashes: Hashes, parameters: tuple[str, ...]) -> None:
        """Note the ids that a job holds once it is read; ids that it held before are in batches by now."""
        self._holding[job] = _Holding(hashes, parameters)
        for other in self._from(job)[1:]:
            if other in self._views:
                self._views[other].put(-job, hashes, None)

    def pass_over(self, job: int) -> None:
        """Note that nothing of a job is sent any more but what is in batches: jobs behind it may begin."""
        self.hold(job, np.empty(0, dtype=np.uint64), ())
        self.leave(job)

    def over_with(self, job: int, now: float) -> list[int]:
        """The batches that are over when a job ends: due by now, and awaited by no other job."""
        return [
            batch_id
            for batch_id, flight in self._flights.items()
            if flight.due is not None and flight.due.release_at <= now and flight.awaited_by <= {job}
        ]

    def take_over(self, job: int, now: float, among: Iterable[int]) -> list[int]:
        """Remove and return those `among` some batches that are over when a job ends."""
        over = self.over_with(job, now)
        return self._take([batch_id for batch_id in among if batch_id in over])

    def finish(self, job: int, never_sent: Iterable[int]) -> None:
        """Remove a job that has ended for good: it holds nothing any more, and its batches `never_sent` are over."""
        holding = self._holding.pop(job, None)
        for batch_id in never_sent:
            for view in self._awaiting(self._flights.pop(batch_id)):
                view.note_due(Due.at_once(batch_id))
        if holding is not None and len(holding.hashes):
            for other in self._from(job)[1:]:
                if other in self._views:
                    self._views[other].note_due(Due.at_once(-job))
        self.leave(job)
        self._jobs.remove(job)

    def leave(self, job: int) -> None:
        """Note that a job places no rows any more, so awaits no batch."""
        self._views.pop(job, None)
        for flight in self._flights.values():
            flight.awaited_by.discard(job)

    def held_before(self, job: int) -> tuple[int, int]:
        """The number of rows, and of their bytes, that earlier jobs hold in memory."""
        trackers = [self._views[other].tracker for other in self._jobs if other in self._views]
        before = trackers[: trackers.index(self._views[job].tracker)]
        return sum(tracker.held_rows for tracker in before), sum(tracker.held_bytes for tracker in before)

    def closing(self, job: int, batch_ids: Iterable[int]) -> list[int]:
        """Remove and return the batches, of those released in a job's view, that its next seal makes over."""
        flights = self._flights
        return self._take([each for each in batch_ids if each in flights and flights[each].awaited_by <= {job}])

    def closed(self, job: int, batch_ids: Iterable[int]) -> None:
        """Note that the seal which records these releases is durable: the job awaits them no more."""
        for batch_id in batch_ids:
            if batch_id in self._flights:
                self._flights[batch_id].awaited_by.discard(job)

    def _take(self, batch_ids: list[int]) -> list[int]:
        # At once, so that no job which begins meanwhile awaits a batch whose body is removed.
        for batch_id in batch_ids:
            del self._flights[batch_id]
        return batch_ids

    def _from(self, job: int) -> list[int]:
        """The job and those behind it; all jobs, if it has ended."""
        return self._jobs[self._jobs.index(job) :] if job in self._jobs else self._jobs

    def _awaiting(self, flight: _Flight) -> list["JobView"]:
        return [view for job, view in self._views.items() if job in flight.awaited_by]


@dataclass(slots=True)
class JobView:
    """The batches and ids in flight for one job while it places rows; made by `InFlight.join`."""

    in_flight: InFlight
    job: int
    tracker: Tracker
    _due: list[Due] = field(default_factory=list)

    @property
    def next_release_at(self) -> float:
        """The time of the next release; infinity if no batch is settled."""
        return self._due[0].release_at if self._due else float("inf")

    @property
    def is_full(self) -> bool:
        """True if the job may hold no more rows, counting those that earlier jobs hold."""
        return self.tracker.is_full_beside(*self.in_flight.held_before(self.job))

    def take_due(self, now: float) -> Due | None:
        """Remove and return a batch that is to be released now, if any."""
        return heapq.heappop(self._due) if self.next_release_at <= now else None

    def put(self, number: int, hashes: Hashes, due: Due | None) -> None:
        """Tell the tracker the ids in flight under a number. For a job's held ids, these replace those before."""
        if number < 0 and not len(hashes):
            self.tracker.forget(number)
        elif number < 0 or not self.tracker.has_in_flight(number):
            self.tracker.seal(number, hashes)
        if due is not None:
            self.note_due(due)

    def note_due(self, due: Due) -> None:
        """Note that a batch, or what a job held, is due for release."""
        heapq.heappush(self._due, due)
