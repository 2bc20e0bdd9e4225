"""While it is in doubt what Target refuses, batches take turns; a row is given up only when it is certain."""

from dataclasses import dataclass, field, replace

import anyio
import pytest
from anyio.lowlevel import checkpoint

from pipeline.core.batches.lifecycle import Begun, Fact, RefusedAs, SeenComplete, Taken
from pipeline.core.batches.progress import Progress
from pipeline.core.batches.refusals import MAX_REFUSALS_IN_DOUBT, REFUSALS_BEFORE_DOUBT, Refusals, SeenAccepting
from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.errors import FatalError
from pipeline.core.model import Batch
from pipeline.jobs.delivery.probing import Probing, Verdict
from pipeline.jobs.ending import Ending


def batch(batch_id: int, rows: int = 1, parent: int | None = None) -> Batch:
    return Batch(batch_id, batch_id, rows, 100 * rows, "", parent)


@dataclass
class Trial:
    """What takes its turn, and the job it is of: what else of it is under way, and how far its end has come."""

    refusals: Refusals = field(default_factory=Refusals)
    progress: Progress = field(default_factory=Progress)
    ending: Ending = field(default_factory=Ending)

    def __post_init__(self) -> None:
        self.of = Probing(self.refusals, self.progress, self.ending)

    def seal(self, *batches: Batch) -> None:
        """These are under way."""
        for each in batches:
            self.progress.book.seal(each)

    def split(self, whole: int, *parts: int) -> None:
        """A batch was split into these parts of one row."""
        self.seal(batch(whole, len(parts)))
        self._record(whole, Begun(1), RefusedAs("no"))
        first, second = (batch(part, parent=whole) for part in parts)
        self.progress.book.split(whole, (first, second), now=0.0)

    def settle(self, batch_id: int) -> None:
        """A batch is settled."""
        self._record(batch_id, Begun(1), Taken("url"), SeenComplete(0, 0))
        self.ending.changed.tell()

    def _record(self, batch_id: int, *facts: Fact) -> None:
        for fact in facts:
            self.progress.book.record(batch_id, fact, now=0.0, hold_s=0.0)


def trial(*, in_doubt: bool, accepted: bool = False, all_sealed: bool = True) -> Trial:
    refusals = Refusals()
    if accepted:
        refusals.note_accepted()
    for _ in range(REFUSALS_BEFORE_DOUBT * in_doubt):
        refusals.note_refused(1_000, tried_alone=False)
    return Trial(refusals, Progress(is_all_sealed=all_sealed))


def trials(*, in_doubt: bool) -> Probing:
    return trial(in_doubt=in_doubt).of


def doubt(of: Probing) -> None:
    for _ in range(REFUSALS_BEFORE_DOUBT):
        of.note_refused(batch(1_000), "no")


async def settle_down() -> None:
    for _ in range(20):
        await checkpoint()


class Senders:
    """Tasks that take their turns and wait to be told to end them."""

    def __init__(self, of: Probing) -> None:
        self._of = of
        self.began: list[int] = []
        self.may_end = {number: anyio.Event() for number in range(10)}

    async def send(self, number: int, rows: int) -> None:
        async with self._of.turn(batch(number, rows)):
            self.began.append(number)
            await self.may_end[number].wait()


async def test_without_doubt_all_send_at_once() -> None:
    senders = Senders(trials(in_doubt=False))
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(senders.send, number, 5)
        await settle_down()
        assert sorted(senders.began) == [0, 1, 2]
        tasks.cancel_scope.cancel()


async def test_in_doubt_one_sends_at_a_time_the_smallest_first() -> None:
    senders = Senders(trials(in_doubt=True))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(senders.send, 0, 9)
        await settle_down()
        for number, rows in ((1, 7), (2, 1), (3, 3)):
            tasks.start_soon(senders.send, number, rows)
        await settle_down()
        assert senders.began == [0]
        for ended, expected in ((0, [0, 2]), (2, [0, 2, 3]), (3, [0, 2, 3, 1])):
            senders.may_end[ended].set()
            await settle_down()
            assert senders.began == expected
        tasks.cancel_scope.cancel()


async def test_an_acceptance_lets_all_others_go() -> None:
    of = trials(in_doubt=True)
    senders = Senders(of)
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(senders.send, number, 5)
        await settle_down()
        assert senders.began == [0]
        of.note_accepted(batch(50))
        await settle_down()
        assert sorted(senders.began) == [0, 1, 2]
        tasks.cancel_scope.cancel()


async def test_nothing_is_tried_while_a_refused_batch_is_being_split() -> None:
    of = trials(in_doubt=True)
    senders = Senders(of)
    async with anyio.create_task_group() as tasks:
        with of.splitting():
            tasks.start_soon(senders.send, 0, 9)
            await settle_down()
            assert senders.began == []
            tasks.start_soon(senders.send, 1, 1)
        await settle_down()
        assert senders.began == [1]
        tasks.cancel_scope.cancel()


async def test_one_that_is_cancelled_while_it_waits_holds_nobody_up() -> None:
    senders = Senders(trials(in_doubt=True))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(senders.send, 0, 9)
        await settle_down()
        with anyio.move_on_after(0):
            await senders.send(1, 1)
        tasks.start_soon(senders.send, 2, 5)
        senders.may_end[0].set()
        await settle_down()
        assert senders.began == [0, 2]
        tasks.cancel_scope.cancel()


async def test_only_what_was_tried_alone_counts_as_everything() -> None:
    of = trials(in_doubt=True)
    for number in range(50):
        of.note_refused(batch(number), "no")
    async with of.turn(batch(99)):
        for _ in range(MAX_REFUSALS_IN_DOUBT - 1):
            of.note_refused(batch(99), "no")
        with pytest.raises(FatalError, match=r"refuses everything \(no\)") as caught:
            of.note_refused(batch(99), "no")
    assert caught.value.exit_code == 77


async def test_a_row_is_guilty_at_once_where_another_part_of_its_batch_was_accepted() -> None:
    at = trial(in_doubt=False)
    at.split(3, 4, 5)
    at.of.note_accepted(batch(5, parent=3))
    assert await at.of.verdict(batch(4, parent=3), "no") is Verdict.GUILTY


async def judge(at: Trial, verdicts: list[Verdict], number: int = 1, parent: int | None = None) -> None:
    if parent is None:
        at.seal(batch(number))
    verdicts.append(await at.of.verdict(batch(number, parent=parent), "no"))


async def test_a_row_waits_for_an_acceptance_and_is_then_tried_once_more() -> None:
    at = trial(in_doubt=True)
    at.seal(batch(50))
    verdicts: list[Verdict] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge, at, verdicts)
        await settle_down()
        assert verdicts == []
        at.of.note_accepted(batch(50))
    assert verdicts == [Verdict.TRY_AGAIN]
    assert await at.of.verdict(batch(1), "no") is Verdict.GUILTY


def test_a_probe_is_for_what_is_not_proven() -> None:
    at = trial(in_doubt=False)
    at.split(3, 4, 5)
    at.of.note_accepted(batch(5, parent=3))
    whole, part = replace(batch(1), rows=1_000), replace(batch(4, parent=3), rows=1_000)
    assert at.of.probed_rows(whole) == range(500)
    doubt(at.of)
    assert len(at.of.probed_rows(whole)) == 1
    assert at.of.probed_rows(part) == range(500)


@pytest.mark.parametrize(("rows", "parts"), [(1_000, 6), (13, 6), (12, range(6)), (3, range(1)), (2, range(1))])
def test_a_sample_is_taken_where_nothing_was_ever_accepted(rows: int, parts: int | range) -> None:
    taken = trial(in_doubt=True).of.probed_rows(replace(batch(1), rows=rows))
    assert taken == parts if isinstance(parts, range) else len(taken) == parts


async def test_a_message_about_the_client_is_about_everything() -> None:
    with pytest.raises(FatalError, match="is \\[target\\] client_code right") as caught:
        trial(in_doubt=False).of.note_refused(batch(1), "Invalid client code acne")
    assert caught.value.exit_code == 77
    trial(in_doubt=False, accepted=True).of.note_refused(batch(1), "Invalid client code acne")


async def test_in_doubt_the_proof_of_earlier_is_not_enough() -> None:
    """Target may have turned to refusing everything since."""
    at = trial(in_doubt=False, all_sealed=False)
    at.split(3, 4, 5)
    at.of.note_accepted(batch(5, parent=3))
    doubt(at.of)
    verdicts: list[Verdict] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge, at, verdicts, 4, 3)
        await settle_down()
        assert verdicts == []
        tasks.cancel_scope.cancel()


async def test_that_a_whole_batch_was_accepted_proves_nothing_of_itself() -> None:
    """It is sent again after it was stuck, say."""
    at = trial(in_doubt=False, all_sealed=False)
    at.of.note_accepted(batch(1))
    verdicts: list[Verdict] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge, at, verdicts)
        await settle_down()
        assert verdicts == []
        tasks.cancel_scope.cancel()


async def test_a_batch_that_was_not_tried_comes_before_more_parts_of_one_that_was() -> None:
    at = trial(in_doubt=True, accepted=True)
    at.split(1, 2, 4)
    of, senders = at.of, Senders(at.of)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(senders.send, 1, 1)
        await settle_down()
        of.note_refused(batch(1), "no")
        tasks.start_soon(of_part, of, senders, 2, 1)
        tasks.start_soon(senders.send, 3, 9)
        await settle_down()
        senders.may_end[1].set()
        await settle_down()
        assert senders.began == [1, 3]
        tasks.cancel_scope.cancel()


async def of_part(of: Probing, senders: Senders, number: int, parent: int) -> None:
    async with of.turn(batch(number, parent=parent)):
        senders.began.append(number)


@pytest.mark.parametrize(
    ("accepted", "proven", "refusals", "expected"),
    [
        (True, False, 1, Verdict.GUILTY),
        (True, True, 1, Verdict.GUILTY),
        (False, True, MAX_REFUSALS_IN_DOUBT, Verdict.GUILTY),
        (True, False, MAX_REFUSALS_IN_DOUBT + 1, Verdict.UNKNOWN),
        (True, True, MAX_REFUSALS_IN_DOUBT + 1, Verdict.UNKNOWN),
        (False, False, 1, Verdict.UNKNOWN),
    ],
)
async def test_where_nothing_is_left_to_learn_from(
    accepted: bool, proven: bool, refusals: int, expected: Verdict
) -> None:
    """Few refusals in a row may well be the last poisonous rows; many, or none but old acceptances, tell nothing."""
    counts = Refusals(SeenAccepting(has_accepted=True))
    if accepted:
        counts.note_accepted()
    if proven:
        counts.prove(3)
    for _ in range(refusals):
        counts.note_refused(1_000, tried_alone=False)
    at = Trial(counts, Progress(is_all_sealed=True))
    at.split(3, 1, 2)
    verdicts: list[Verdict] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge, at, verdicts, 1, 3)
        await settle_down()
        # In doubt or not proven it waits for what is under way.
        waits = not (proven and refusals < REFUSALS_BEFORE_DOUBT)
        assert (verdicts == []) is waits
        at.settle(2)
    assert verdicts == [expected]


async def test_two_rows_that_wait_for_a_verdict_do_not_wait_for_each_other() -> None:
    at = trial(in_doubt=True, accepted=True)
    verdicts: list[Verdict] = []

    async def judge_and_settle(number: int) -> None:
        await judge(at, verdicts, number)
        at.settle(number)

    async with anyio.create_task_group() as tasks:
        at.seal(batch(2))
        for number in (1, 3):
            tasks.start_soon(judge_and_settle, number)
        await settle_down()
        assert verdicts == []
        at.settle(2)
        await settle_down()
        assert len(verdicts) == 2
        tasks.cancel_scope.cancel()


async def test_where_nothing_was_ever_accepted_the_run_ends() -> None:
    at = trial(in_doubt=False)
    at.seal(batch(1))
    with pytest.raises(FatalError, match="refuses everything"):
        await at.of.verdict(batch(1), "no")


async def test_a_row_waits_for_batches_that_are_still_to_come() -> None:
    at = trial(in_doubt=True, accepted=True, all_sealed=False)
    verdicts: list[Verdict] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge, at, verdicts)
        await settle_down()
        assert verdicts == []
        at.progress.is_all_sealed = True
        at.ending.changed.tell()
    assert len(verdicts) == 1


async def test_none_is_to_come_where_the_producer_waits_for_a_release() -> None:
    """The batch that it waits for may be the one that is judged."""
    at = trial(in_doubt=True, accepted=True, all_sealed=False)
    verdicts: list[Verdict] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge, at, verdicts)
        await settle_down()
        assert verdicts == []
        at.progress.waiting = "a batch is to be released"
        at.ending.changed.tell()
    assert len(verdicts) == 1


EARLY_ENDS = [EndStage.NO_FIRST_ATTEMPTS, EndStage.NO_ATTEMPTS]
LATE_ENDS = [EndStage.LET_POSTS_END, EndStage.NOW]


@pytest.mark.parametrize("stage", EARLY_ENDS)
async def test_nothing_is_waited_for_in_a_job_that_is_over(stage: EndStage) -> None:
    at = trial(in_doubt=True, all_sealed=False)
    at.ending.raise_to(stage)
    assert await at.of.verdict(batch(1), "no") is Verdict.UNKNOWN


@pytest.mark.parametrize("stage", EARLY_ENDS)
async def test_nor_any_longer_when_that_comes_meanwhile(stage: EndStage) -> None:
    at = trial(in_doubt=True, all_sealed=False)
    verdicts: list[Verdict] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge, at, verdicts)
        await settle_down()
        assert verdicts == []
        at.ending.raise_to(stage)
    assert verdicts == [Verdict.UNKNOWN]


@pytest.mark.parametrize("all_sealed", [True, False])
@pytest.mark.parametrize("stage", LATE_ENDS)
async def test_nothing_is_judged_in_a_job_that_ends_unfinished(stage: EndStage, all_sealed: bool) -> None:
    """The next run tries the batch again; a verdict would make its rows fail."""
    at = trial(in_doubt=True, all_sealed=False)
    verdicts: list[Verdict] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge, at, verdicts)
        await settle_down()
        at.ending.raise_to(stage)
        at.progress.is_all_sealed = all_sealed
        at.ending.changed.tell()
        await settle_down()
        assert verdicts == []
        tasks.cancel_scope.cancel()
