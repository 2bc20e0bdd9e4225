"""What is learned of how many statuses Target keeps: never more than it keeps, and not less for ever."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.target.pacing import StatusWindow
from pipeline.core.target.status_memory import (
    SIZES_TRIED,
    STATUSES_KEPT,
    TELLING_FOR,
    TRY_AGAIN_AFTER,
    Learned,
    Probe,
    StatusMemory,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def remembering(*complete: int, accepted: int, learned: Learned | None = None) -> StatusMemory:
    """POSTs 0 to `accepted`, one after the other, all now; the batches of some are complete."""
    memory = StatusMemory(learned or Learned())
    for number in range(accepted):
        memory.note_accepted(number, 0, NOW)
    for number in complete:
        memory.note_complete(number, f"status {number}")
    return memory


class TestWhenToLook:
    def test_as_soon_as_twenty_newer_ones_are_accepted(self) -> None:
        memory = remembering(0, accepted=20)
        assert memory.take_look(NOW) is None
        memory.note_accepted(20, 0, NOW)
        assert memory.take_look(NOW) == Probe("status 0", 20)

    @pytest.mark.parametrize(("learned", "tried"), [(10, 20), (15, 20), (20, 40), (40, 80), (79, 80), (80, 160)])
    def test_each_size_after_the_one_before(self, learned: int, tried: int) -> None:
        memory = remembering(0, accepted=tried, learned=Learned(learned))
        assert memory.take_look(NOW) is None
        memory.note_accepted(tried, 0, NOW)
        assert memory.take_look(NOW) == Probe("status 0", tried)

    @pytest.mark.parametrize("learned", [160, 320])
    def test_not_beyond_the_last_size(self, learned: int) -> None:
        assert remembering(0, accepted=1_000, learned=Learned(learned)).take_look(NOW) is None

    def test_at_the_newest_that_is_old_enough(self) -> None:
        """An older one might be forgotten where that many are kept."""
        assert remembering(0, 3, 9, 10, 29, accepted=30).take_look(NOW) == Probe("status 9", 20)

    def test_in_whatever_order_they_complete(self) -> None:
        assert remembering(9, 3, 29, 0, 10, accepted=30).take_look(NOW) == Probe("status 9", 20)

    def test_not_at_one_that_is_not_complete(self) -> None:
        assert remembering(accepted=100).take_look(NOW) is None

    def test_one_look_at_a_time(self) -> None:
        memory = remembering(0, accepted=100)
        look = memory.take_look(NOW)
        assert look is not None
        assert memory.take_look(NOW) is None
        memory.note_look(look, is_kept=True, now=NOW)
        assert memory.take_look(NOW) == Probe("status 0", 40)

    def test_not_at_one_that_may_be_forgotten_for_its_age(self) -> None:
        memory = remembering(0, accepted=21)
        assert memory.take_look(NOW + TELLING_FOR + SECOND) is None
        assert memory.take_look(NOW + TELLING_FOR) is not None

    def test_a_younger_one_serves_in_its_place(self) -> None:
        memory = remembering(0, accepted=1)
        for number in range(1, 25):
            memory.note_accepted(number, 0, NOW + 20 * HOUR)
        memory.note_complete(2, "status 2")
        assert memory.take_look(NOW + 20 * HOUR) == Probe("status 2", 20)

    def test_posts_under_way_do_not_count_as_newer(self) -> None:
        """They may have been submitted before it."""
        memory = StatusMemory(Learned())
        memory.note_accepted(3, 3, NOW)
        memory.note_complete(3, "status 3")
        for number in (0, 1, 2, *range(4, 23)):
            memory.note_accepted(number, 0, NOW)
        assert memory.take_look(NOW) is None
        memory.note_accepted(23, 0, NOW)
        assert memory.take_look(NOW) == Probe("status 3", 20)

    def test_a_batch_of_an_earlier_process_teaches_nothing(self) -> None:
        memory = StatusMemory(Learned())
        for number in range(100, 200):
            memory.note_accepted(number, 0, NOW)
        memory.note_complete(7, "status 7")
        assert memory.take_look(NOW) is None

    def test_nor_one_that_is_not_followed_any_more(self) -> None:
        memory = remembering(accepted=100)
        memory.forget(5)
        memory.note_complete(5, "status 5")
        assert memory.take_look(NOW) is None

    def test_what_is_remembered_is_bounded_and_enough(self) -> None:
        memory = remembering(*range(2_000), accepted=2_000, learned=Learned(80))
        assert memory.take_look(NOW) == Probe("status 1839", 160)


class TestWhatALookShows:
    def test_kept(self) -> None:
        memory = remembering(0, accepted=21)
        assert memory.note_look(looking(memory), is_kept=True, now=NOW)
        assert memory.learned == Learned(20)

    def test_forgotten(self) -> None:
        memory = remembering(0, accepted=41, learned=Learned(20))
        assert memory.note_look(looking(memory), is_kept=False, now=NOW)
        assert memory.learned == Learned(20, failed_at=NOW)

    def test_forgotten_is_not_tried_again_that_day(self) -> None:
        memory = remembering(0, accepted=21)
        memory.note_look(looking(memory), is_kept=False, now=NOW)
        next_day = NOW + TRY_AGAIN_AFTER
        for number in range(21, 60):
            memory.note_accepted(number, 0, next_day)
            memory.note_complete(number, f"status {number}")
        assert memory.take_look(NOW) is None
        assert memory.take_look(next_day - SECOND) is None
        assert memory.take_look(next_day) == Probe("status 39", 20)

    @pytest.mark.parametrize("learned", [Learned(10, NOW), Learned(40, NOW)])
    def test_nor_by_another_process(self, learned: Learned) -> None:
        memory = remembering(0, accepted=200, learned=learned)
        assert memory.take_look(NOW) is None
        assert memory.take_look(NOW + HOUR) is None

    def test_a_day_later_another_process_tries(self) -> None:
        failed_at = NOW - TRY_AGAIN_AFTER
        assert remembering(0, accepted=200, learned=Learned(10, failed_at)).take_look(NOW) is not None

    def test_a_clock_that_was_set_back_does_not_stop_it(self) -> None:
        assert remembering(0, accepted=200, learned=Learned(10, NOW + SECOND)).take_look(NOW) is not None

    def test_no_answer_teaches_nothing_and_is_not_tried_again_at_once(self) -> None:
        memory = remembering(*range(21), accepted=21)
        assert not memory.note_look(looking(memory), is_kept=None, now=NOW)
        assert memory.learned == Learned()
        for number in range(21, 40):
            memory.note_accepted(number, 0, NOW)
            assert memory.take_look(NOW) is None
        memory.note_accepted(40, 0, NOW)
        assert memory.take_look(NOW) is not None


class TestALostStatus:
    def test_nothing_is_certain_any_more_for_a_day(self) -> None:
        memory = remembering(0, accepted=200, learned=Learned(80))
        assert memory.note_lost(HOUR, NOW)
        assert memory.learned == Learned(STATUSES_KEPT, failed_at=NOW)
        assert memory.take_look(NOW) is None
        assert not memory.note_lost(HOUR, NOW + HOUR), "the others that are lost now tell nothing new"
        assert memory.learned.failed_at == NOW

    def test_of_a_batch_that_is_old_it_tells_nothing(self) -> None:
        memory = StatusMemory(Learned(80))
        assert not memory.note_lost(TELLING_FOR + SECOND, NOW)
        assert memory.learned == Learned(80)
        assert memory.note_lost(TELLING_FOR, NOW)

    def test_where_nothing_was_learned_it_tells_nothing(self) -> None:
        memory = StatusMemory(Learned())
        assert not memory.note_lost(HOUR, NOW)
        assert memory.learned == Learned()

    @pytest.mark.parametrize("is_kept", [True, False, None])
    def test_a_look_under_way_does_not_count_any_more(self, is_kept: bool | None) -> None:
        memory = remembering(0, accepted=100, learned=Learned(20))
        look = looking(memory)
        memory.note_lost(HOUR, NOW)
        assert not memory.note_look(look, is_kept=is_kept, now=NOW + HOUR)
        assert memory.learned == Learned(failed_at=NOW)


def looking(memory: StatusMemory) -> Probe:
    look = memory.take_look(NOW)
    assert look is not None
    return look


@pytest.mark.parametrize(("size", "failed_at"), [(0, None), (-20, None), (10, NOW.replace(tzinfo=None))])
def test_what_cannot_have_been_learned(size: int, failed_at: datetime | None) -> None:
    with pytest.raises(ValueError, match=r"statuses|time zone"):
        Learned(size, failed_at)


# Against a Target.


@dataclass
class Sender:
    """Sends as the window allows to a Target that keeps the statuses of the last `kept` batches submitted.

    POSTs are submitted and answered in any order; some are refused, of some no answer comes although they were taken.
    """

    kept: int
    concurrency: int
    draw: random.Random
    memory: StatusMemory = field(default_factory=lambda: StatusMemory(Learned()))
    window: StatusWindow = field(default_factory=lambda: StatusWindow(STATUSES_KEPT))
    begun: int = 0
    begun_not_submitted: list[int] = field(default_factory=list)
    unanswered: list[int] = field(default_factory=list)
    submitted: list[int] = field(default_factory=list)
    unseen: list[int] = field(default_factory=list)
    looks: list[Probe] = field(default_factory=list)

    def begin(self) -> None:
        if self.window.is_open and len(self.begun_not_submitted) + len(self.unanswered) < self.concurrency:
            self.begun_not_submitted.append(self.window.begin_post())
            self.begun += 1

    def submit(self) -> None:
        if self.begun_not_submitted:
            number = self.any_of(self.begun_not_submitted)
            self.submitted.append(number)
            self.unanswered.append(number)

    def answer(self) -> None:
        if self.unanswered:
            number = self.any_of(self.unanswered)
            self.window.end_post(number)
            self.memory.note_accepted(number, self.window.under_way, NOW)
            self.unseen.append(number)

    def stay_silent(self) -> None:
        if self.unanswered:
            self.window.forget(self.any_of(self.unanswered))

    def refuse(self) -> None:
        if self.begun_not_submitted:
            self.window.forget(self.any_of(self.begun_not_submitted))

    def see(self) -> None:
        if self.unseen:
            number = self.any_of(self.unseen)
            self.memory.note_complete(number, str(number))
            self.window.forget(number)

    def look(self) -> None:
        look = self.memory.take_look(NOW)
        if look:
            self.looks.append(look)

    def learn(self) -> None:
        if self.looks:
            look = self.looks.pop()
            self.memory.note_look(look, is_kept=self.is_kept(int(look.status_url)), now=NOW)
            self.window.size = self.memory.learned.size

    def start_anew(self) -> None:
        """Our process ends while no POST is under way, and begins anew with what it has learned."""
        if not self.begun_not_submitted and not self.unanswered and self.draw.random() < 0.05:
            self.looks.clear()
            self.memory = StatusMemory(self.memory.learned)
            self.window = StatusWindow(
                self.memory.learned.size, next_number=self.begun, unsettled=self.unseen, overlap=self.concurrency - 1
            )

    def is_kept(self, number: int) -> bool:
        return number in self.submitted[-self.kept :]

    def any_of(self, numbers: list[int]) -> int:
        return numbers.pop(self.draw.randrange(len(numbers)))

    def run(self, steps: int) -> None:
        often = (self.begin, self.submit, self.answer, self.see, self.look, self.learn)
        seldom = (self.refuse, self.stay_silent, self.start_anew)
        for _ in range(steps):
            self.draw.choice(often if self.draw.random() < 0.95 else seldom)()
            assert self.memory.learned.size <= max(STATUSES_KEPT, self.kept), "more was learned than is true"
            assert all(map(self.is_kept, self.unseen)), "a status is forgotten"


@given(
    st.sampled_from([10, 11, 17, 18, 19, 20, 21, 37, 38, 39, 40, 41, 78, 79, 80, 81, 161]),
    st.integers(1, 6),
    st.integers(0, 2**32),
)
def test_never_more_than_is_true_and_no_status_is_forgotten(kept: int, concurrency: int, seed: int) -> None:
    Sender(kept, concurrency, random.Random(seed)).run(1_200)


@pytest.mark.parametrize(
    ("kept", "learned"), [(10, 10), (20, 10), (21, 20), (40, 20), (41, 40), (81, 80), (161, 160), (100_000, 160)]
)
def test_with_one_post_at_a_time_all_that_is_true_is_learned(kept: int, learned: int) -> None:
    sender = Sender(kept, 1, random.Random(0))
    looks = 0
    for _ in range(1_000):
        for step in (sender.begin, sender.submit, sender.answer, sender.see, sender.look):
            step()
        looks += len(sender.looks)
        sender.learn()
    assert sender.memory.learned.size == learned
    assert looks == min(4, [10, *SIZES_TRIED].index(learned) + 1), "one call for each size, the last failing"
