"""While it is in doubt what Target refuses, batches take turns; a row is given up only when it is certain."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from pipeline.core.batches.refusals import MAX_REFUSALS_IN_DOUBT, REFUSALS_BEFORE_DOUBT, Refusals, SeenAccepting
from pipeline.core.errors import FatalError
from pipeline.core.model import Batch
from pipeline.jobs.probing import Probing, Verdict


def batch(batch_id: int, rows: int = 1, parent: int | None = None) -> Batch:
    return Batch(batch_id, batch_id, rows, 100 * rows, "", parent)


def whole_of(part: Batch) -> int:
    return part.batch_id if part.parent is None else part.parent


def trials(*, in_doubt: bool, accepted: bool = False, idle: bool = True, over: bool = False) -> Probing:
    refusals = Refusals()
    if accepted:
        refusals.note_accepted()
    for _ in range(REFUSALS_BEFORE_DOUBT * in_doubt):
        refusals.note_refused(1_000, on_trial=False)
    return Probing(refusals, whole_of, is_idle=lambda: idle, is_over=lambda: over)


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
    of = trials(in_doubt=False)
    of.note_accepted(batch(5, parent=3))
    assert await of.verdict(batch(4, parent=3), "no") is Verdict.GUILTY


async def judge(of: Probing, verdicts: list[Verdict], number: int = 1, parent: int | None = None) -> None:
    with of.under_way():
        verdicts.append(await of.verdict(batch(number, parent=parent), "no"))


async def test_a_row_waits_for_an_acceptance_and_is_then_tried_once_more() -> None:
    of = trials(in_doubt=True)
    verdicts: list[Verdict] = []
    with of.under_way():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(judge, of, verdicts)
            await settle_down()
            assert verdicts == []
            of.note_accepted(batch(50))
    assert verdicts == [Verdict.TRY_AGAIN]
    assert await of.verdict(batch(1), "no") is Verdict.GUILTY


def test_a_probe_is_for_what_is_not_proven() -> None:
    of = trials(in_doubt=False)
    of.note_accepted(batch(5, parent=3))
    assert not of.needs_probe(batch(1))
    doubt(of)
    assert of.needs_probe(batch(1))
    assert not of.needs_probe(batch(4, parent=3))


async def test_in_doubt_the_proof_of_earlier_is_not_enough() -> None:
    """Target may have turned to refusing everything since."""
    of = trials(in_doubt=False, idle=False)
    of.note_accepted(batch(5, parent=3))
    doubt(of)
    verdicts: list[Verdict] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge, of, verdicts, 4, 3)
        await settle_down()
        assert verdicts == []
        tasks.cancel_scope.cancel()


async def test_that_a_whole_batch_was_accepted_proves_nothing_of_itself() -> None:
    """It is sent again after it was stuck, say."""
    of = trials(in_doubt=False, idle=False)
    of.note_accepted(batch(1))
    verdicts: list[Verdict] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge, of, verdicts)
        await settle_down()
        assert verdicts == []
        tasks.cancel_scope.cancel()


async def test_a_batch_that_was_not_tried_comes_before_more_parts_of_one_that_was() -> None:
    of = trials(in_doubt=True)
    senders = Senders(of)
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
        counts.note_refused(1_000, on_trial=False)
    of = Probing(counts, whole_of, is_idle=lambda: True, is_over=lambda: False)
    verdicts: list[Verdict] = []
    async with anyio.create_task_group() as tasks:
        with of.under_way():
            tasks.start_soon(judge, of, verdicts, 1, 3)
            await settle_down()
            # In doubt or not proven it waits for what is under way.
            waits = not (proven and refusals < REFUSALS_BEFORE_DOUBT)
            assert (verdicts == []) is waits
    assert verdicts == [expected]


async def test_where_nothing_was_ever_accepted_the_run_ends() -> None:
    of = trials(in_doubt=False)
    with of.under_way(), pytest.raises(FatalError, match="refuses everything"):
        await of.verdict(batch(1), "no")


async def test_a_row_waits_for_batches_that_are_still_to_come() -> None:
    of = trials(in_doubt=True, accepted=True, idle=False)
    verdicts: list[Verdict] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge, of, verdicts)
        await settle_down()
        assert verdicts == []
        tasks.cancel_scope.cancel()


async def test_nothing_is_waited_for_in_a_job_that_is_over() -> None:
    of = trials(in_doubt=True, idle=False, over=True)
    with of.under_way():
        assert await of.verdict(batch(1), "no") is Verdict.UNKNOWN
