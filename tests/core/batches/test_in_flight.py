"""What each job sees of the batches in flight, and when a batch is over."""

import numpy as np

from pipeline.core.batches.in_flight import Due, InFlight, JobView
from pipeline.core.batches.tracker import Tracker
from pipeline.core.model import Hashes

NAMES = ("tier",)
#: The ids of batches that are in flight when a job begins.
SPOOL = {5: 9, 10: 1}


def ids(*numbers: int) -> Hashes:
    return np.array(numbers, dtype=np.uint64)


def spooled(batch_id: int) -> Hashes:
    return ids(SPOOL[batch_id])


def tracker() -> Tracker:
    return Tracker(max_held_rows=10, max_held_bytes=10_000, max_row_bytes=1_000, salt=1)


def entered(in_flight: InFlight, *jobs: int) -> list[JobView]:
    for job in jobs:
        in_flight.enter(job)
    return [in_flight.join(job, tracker()) for job in jobs]


def flags_of(view: JobView, *numbers: int) -> list[bool]:
    flags: list[bool] = view.tracker.is_in_flight(ids(*numbers)).tolist()
    return flags


def due(batch_id: int, at: float = 5.0) -> Due:
    return Due(at, batch_id, may_be_applied=True, failed_ids=())


def test_a_job_sees_what_it_and_earlier_ones_have_in_flight_and_not_what_later_ones_have() -> None:
    in_flight = InFlight(spooled)
    first, second = entered(in_flight, 1, 2)
    in_flight.add(1, 10, ids(1), NAMES)
    in_flight.add(2, 20, ids(2), NAMES)
    assert (flags_of(first, 1, 2), flags_of(second, 1, 2)) == ([True, False], [True, True])
    in_flight.split(10, {11: ids(1), 12: ids(3)})
    assert (flags_of(first, 1, 2, 3), flags_of(second, 1, 2, 3)) == ([True, False, True], [True] * 3)


def test_what_a_job_holds_is_in_flight_for_later_ones_until_it_is_in_a_batch_or_the_job_has_ended() -> None:
    in_flight = InFlight(spooled)
    first, second = entered(in_flight, 1, 2)
    in_flight.hold(1, ids(1, 2), NAMES)
    assert (in_flight.is_read(1), in_flight.is_read(2)) == (True, False)
    assert (flags_of(first, 1, 2), flags_of(second, 1, 2)) == ([False, False], [True, True])
    in_flight.enter(3)
    third = in_flight.join(3, tracker())
    assert flags_of(third, 1, 2) == [True, True]
    assert in_flight.hashes(-1).tolist() == [1, 2]
    in_flight.add(1, 10, ids(1), NAMES)
    in_flight.hold(1, ids(2), NAMES)
    assert flags_of(second, 1, 2) == [True, True]
    in_flight.finish(1, [])
    assert in_flight.hashes(-1).tolist() == []
    released = second.take_due(0.0)
    assert released is not None
    assert (released.batch_id, released.may_be_applied) == (-1, False)


def test_a_batch_is_over_when_the_last_job_that_awaits_it_has_sealed() -> None:
    in_flight = InFlight(spooled)
    first, second = entered(in_flight, 1, 2)
    in_flight.add(1, 10, ids(1), NAMES)
    in_flight.settle(due(10))
    assert [view.next_release_at for view in (first, second)] == [5.0, 5.0]
    assert (first.take_due(4.9), first.take_due(5.0), second.take_due(5.0)) == (None, due(10), due(10))
    assert in_flight.closing(1, [10]) == []
    in_flight.closed(1, [10])
    assert in_flight.closing(2, [10]) == [10]
    # A job that begins before that seal is durable awaits it no more: its body goes.
    (third,) = entered(in_flight, 3)
    assert flags_of(third, 1) == [False]


def test_a_job_that_is_to_go_on_awaits_what_is_in_flight_before_it_runs() -> None:
    in_flight = InFlight(spooled, begun=[1, 2])
    in_flight.add(0, 5, ids(9), NAMES, due(5))
    entered(in_flight, 1)
    assert in_flight.closing(1, [5]) == []
    in_flight.closed(1, [5])
    (second,) = entered(in_flight, 2)
    assert flags_of(second, 9) == [True]
    assert in_flight.hashes(5).tolist() == [9]
    assert second.take_due(6.0) == due(5)


def test_what_is_over_at_the_end_of_a_job() -> None:
    in_flight = InFlight(spooled)
    _, second = entered(in_flight, 1, 2)
    for batch_id, at in ((10, 5.0), (11, 50.0)):
        in_flight.add(1, batch_id, ids(batch_id), NAMES)
        in_flight.settle(due(batch_id, at))
    in_flight.add(1, 12, ids(12), NAMES)
    assert in_flight.take_over(1, 6.0, (10, 11)) == []
    in_flight.finish(1, [12])
    assert in_flight.hashes(12).tolist() == []
    # It was never sent: nothing waits for it any more.
    assert second.take_due(0.0) == Due.at_once(12)
    assert in_flight.take_over(2, 6.0, (10, 11)) == [10]
    assert in_flight.take_over(2, 60.0, (11,)) == [11]


def test_rows_that_a_new_job_may_have_to_carry_bring_their_parameters() -> None:
    in_flight = InFlight(spooled)
    entered(in_flight, 1, 2)
    in_flight.add(1, 10, ids(1), ("tier", "ltv"))
    in_flight.hold(1, ids(), ("tier", "city"))
    assert in_flight.parameters(2) == ("tier", "ltv", "city")
