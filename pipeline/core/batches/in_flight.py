"""What is in flight for which job, where jobs of one client code overlap: an id is in flight once, its rows in order.

    job A   read ......... EOF | held rows go as batches are released | its batches are followed | ended
    job B                      | begins: read ......... EOF | held rows go ............ | followed | ended
    job C                                                   | begins: ...

A job is *read* when the end of its export is durable. What it has still to send is then held, and known: no id comes to
it any more. So the next job begins, long before the first has ended, and holds what may not be sent yet:

* the rows of ids that are in a batch of an earlier job, until that batch is released; they carry what was in it;
* the rows of ids of which an earlier job *holds* a row, until that row is in a batch, and then for that batch.

Each job's producer has a tracker of its own, and its `View` puts into that what earlier jobs have in flight: their
batches under their numbers, and the ids that they hold under the number of the job, negative. When an earlier job seals
a batch of held rows, the batch comes into the view before its ids leave what that job holds: in between an id may be in
both, never in none. Later jobs are in nobody's view: a job that is read sends ids that it holds, and those are in no
batch of a later job, because it waits for them. That is as true of hashes as of ids, since all of it is decided by
hashes: a collision may hold a row needlessly, never free one. A split changes nothing, its parts have the same ids.

After a crash this is still so. A job's held rows are in the ledger until the seal that has them in a batch, so what it
holds then is what it held in the views, or less. A later job is sealed only after an earlier one is read. And the order
of jobs is durable: `Checkpoint.turn` counts them as they begin, because their claims may come in another order.

A batch is released in each view by itself, and each seal writes the releases of its view down, with which its rows were
placed: so of the batches of which no release is written down, at most one holds an id. But its body may be wanted in
another view, where a row that is held for it is to carry what was in it. So the batch is *over*, and its body removed,
with the seal of the last job that awaits it; until then a new process takes it up as one that is due at once.

Rows carry from the newest earlier batch that holds their id only: not from one whose id is in flight elsewhere too,
which was sealed behind it or is held by an earlier job. (Should that job be abandoned, its held row is never sent, and
nothing is carried past it.)

A job of which reading failed is never read: the next one begins when it has ended. One that is abandoned when it is
read keeps what it holds until its end is durable: whoever goes on after a crash must not find a row that may be sent
still. A retry begins alone, because which of its rows are overtaken is known when all earlier rows are sealed.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from pipeline.core.batches.tracker import Tracker
from pipeline.core.model import Hashes

#: The time of what is due at once, on any clock.
_LONG_AGO = float("-inf")


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """A settled batch and when its ids are free, in seconds of the monotonic clock."""

    release_at: float
    batch_id: int
    may_be_applied: bool
    failed_ids: tuple[str, ...]

    @classmethod
    def at_once(cls, batch_id: int) -> "Due":
        """What was never sent, or is not held any more: nothing is to be carried from it."""
        return cls(_LONG_AGO, batch_id, may_be_applied=False, failed_ids=())


@dataclass(slots=True)
class _Flight:
    """A batch that is not over: `due` as soon as it is settled, and the jobs that await its release."""

    parameters: tuple[str, ...]
    due: Due | None
    awaited_by: set[int]


@dataclass(frozen=True, slots=True)
class _Holding:
    """The ids of the rows that a job holds when it is read, and the parameters of its rows."""

    hashes: Hashes
    parameters: tuple[str, ...]


class InFlight:
    """The jobs of one client code that are under way, named by their `seq` in the ledger, and their batches.

    `begun` are those unfinished jobs that began in an earlier process, in their order: they await all that is not over,
    though they may not have come to run again. `hashes_of` gives the sorted hashes of a batch's ids, which are in the
    spool: only trackers keep them.
    """

    def __init__(self, hashes_of: Callable[[int], Hashes], begun: Iterable[int] = ()) -> None:
        self._hashes_of = hashes_of
        self._jobs = list(begun)
        self._flights: dict[int, _Flight] = {}
        self._holding: dict[int, _Holding] = {}
        self._views: dict[int, JobView] = {}

    @property
    def views(self) -> int:
        """Jobs that have rows to place: they read, or hold rows."""
        return len(self._views)

    def is_read(self, job: int) -> bool:
        """Whether the whole export of a job was read, and is durable as such."""
        return job in self._holding

    def enter(self, job: int) -> None:
        """A job begins behind all others, or goes on."""
        if job not in self._jobs:
            self._jobs.append(job)
            for flight in self._flights.values():
                flight.awaited_by.add(job)

    def add(self, job: int, batch_id: int, hashes: Hashes, parameters: tuple[str, ...], due: Due | None = None) -> None:
        """A batch of a job is in flight, with the sorted hashes of its ids; or is settled already, and `due`."""
        flight = _Flight(parameters, due, set(self._from(job)))
        self._flights[batch_id] = flight
        for view in self._awaiting(flight):
            view.put(batch_id, hashes, due)

    def hashes(self, number: int) -> Hashes:
        """The sorted hashes of what is in flight under this number: of a batch, or of what a job holds.

        None of what is in flight no more: a batch that was dropped is not in the spool, before each view has let it go.
        """
        if -number in self._holding:
            return self._holding[-number].hashes
        return self._hashes_of(number) if number in self._flights else np.empty(0, dtype=np.uint64)

    def parameters(self, job: int) -> tuple[str, ...]:
        """Those of everything from which rows of a job that begins may have to carry something."""
        before = self._jobs[: self._jobs.index(job)]
        all_of = [flight.parameters for flight in self._flights.values()]
        all_of += [self._holding[other].parameters for other in before if other in self._holding]
        return tuple(dict.fromkeys(name for parameters in all_of for name in parameters))

    def join(self, job: int, tracker: Tracker) -> "JobView":
        """A job comes to place rows: from now on its tracker knows what is in flight for it."""
        view = self._views[job] = JobView(self, job, tracker)
        for batch_id, flight in self._flights.items():
            if job in flight.awaited_by:
                view.put(batch_id, self._hashes_of(batch_id), flight.due)
        for other in self._jobs[: self._jobs.index(job)]:
            if other in self._holding and len(self._holding[other].hashes):
                view.put(-other, self._holding[other].hashes, None)
        return view

    def settle(self, due: Due) -> None:
        """A batch is settled."""
        flight = self._flights[due.batch_id]
        flight.due = due
        for view in self._awaiting(flight):
            view.note_due(due)

    def split(self, batch_id: int, children: dict[int, Hashes]) -> None:
        """A batch was replaced by others that hold the same ids between them."""
        flight = self._flights.pop(batch_id)
        for view in self._awaiting(flight):
            view.tracker.split(batch_id, children)
        for child_id in children:
            self._flights[child_id] = _Flight(flight.parameters, None, set(flight.awaited_by))

    def hold(self, job: int, hashes: Hashes, parameters: tuple[str, ...]) -> None:
        """A job that is read holds rows of these ids, and no others; those that it held before are in batches."""
        self._holding[job] = _Holding(hashes, parameters)
        for other in self._from(job)[1:]:
            if other in self._views:
                self._views[other].put(-job, hashes, None)

    def take_over(self, job: int, now: float) -> list[int]:
        """The batches that are over by now, with a job that ends: released, and awaited by no other."""
        return self._take(
            [
                batch_id
                for batch_id, flight in self._flights.items()
                if flight.due is not None and flight.due.release_at <= now and flight.awaited_by <= {job}
            ]
        )

    def finish(self, job: int, never_sent: Iterable[int]) -> None:
        """A job has ended for good: what it held is held no more, and these of its batches are over."""
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
        """A job places no rows any more."""
        self._views.pop(job, None)
        for flight in self._flights.values():
            flight.awaited_by.discard(job)

    def held_before(self, job: int) -> tuple[int, int]:
        """Rows and bytes that earlier jobs hold in memory."""
        trackers = [self._views[other].tracker for other in self._jobs if other in self._views]
        before = trackers[: trackers.index(self._views[job].tracker)]
        return sum(tracker.held_rows for tracker in before), sum(tracker.held_bytes for tracker in before)

    def closing(self, job: int, batch_ids: Iterable[int]) -> list[int]:
        """Which of the batches released in a job's view are over with the seal that it is about to write."""
        flights = self._flights
        return self._take([each for each in batch_ids if each in flights and flights[each].awaited_by <= {job}])

    def closed(self, job: int, batch_ids: Iterable[int]) -> None:
        """That seal is durable."""
        for batch_id in batch_ids:
            if batch_id in self._flights:
                self._flights[batch_id].awaited_by.discard(job)

    def _take(self, batch_ids: list[int]) -> list[int]:
        # At once, so that no job that begins meanwhile awaits a batch of which the body is removed.
        for batch_id in batch_ids:
            del self._flights[batch_id]
        return batch_ids

    def _from(self, job: int) -> list[int]:
        """A job and those behind it; all, if it has ended."""
        return self._jobs[self._jobs.index(job) :] if job in self._jobs else self._jobs

    def _awaiting(self, flight: _Flight) -> list["JobView"]:
        return [view for job, view in self._views.items() if job in flight.awaited_by]


@dataclass(slots=True)
class JobView:
    """What is in flight for one job while it places rows; made by `InFlight.join`."""

    in_flight: InFlight
    job: int
    tracker: Tracker
    _due: list[Due] = field(default_factory=list)

    @property
    def next_release_at(self) -> float:
        """When the next batch is released, as far as is known: infinity, unless one is settled."""
        return self._due[0].release_at if self._due else float("inf")

    @property
    def is_full(self) -> bool:
        """Whether the job may hold no more rows beside those that earlier jobs hold."""
        return self.tracker.is_full_beside(*self.in_flight.held_before(self.job))

    def take_due(self, now: float) -> Due | None:
        """A batch that is to be released now."""
        return heapq.heappop(self._due) if self.next_release_at <= now else None

    def add(self, batch_id: int, hashes: Hashes, parameters: tuple[str, ...]) -> None:
        """The job has sealed a batch."""
        self.in_flight.add(self.job, batch_id, hashes, parameters)

    def closing(self, released: Iterable[int]) -> list[int]:
        """Which of the batches released here are over with the seal that is about to be written."""
        return self.in_flight.closing(self.job, released)

    def closed(self, released: Iterable[int]) -> None:
        """That seal is durable."""
        self.in_flight.closed(self.job, released)

    def hold(self, hashes: Hashes, parameters: tuple[str, ...]) -> None:
        """The job is read, and holds rows of these ids, sorted hashes of shape (n,), and of no others."""
        self.in_flight.hold(self.job, hashes, parameters)

    def put(self, number: int, hashes: Hashes, due: Due | None) -> None:
        """These ids are in flight from now on; for a number that is known, these and no others any more."""
        if number < 0 and not len(hashes):
            self.tracker.forget(number)
        elif number < 0 or not self.tracker.has_in_flight(number):
            self.tracker.seal(number, hashes)
        if due is not None:
            self.note_due(due)

    def note_due(self, due: Due) -> None:
        """A batch that is in flight here is settled."""
        heapq.heappush(self._due, due)
