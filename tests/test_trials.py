"""While it is in doubt what Target refuses, batches take turns; a row is given up only when it is certain."""

from contextlib import AsyncExitStack

import anyio
import pytest
from anyio.lowlevel import checkpoint

from pipeline.core.errors import FatalError
from pipeline.core.model import Batch
from pipeline.core.refusals import MAX_REFUSALS_IN_DOUBT, REFUSALS_BEFORE_DOUBT, Refusals
from pipeline.trials import Trials


def batch(batch_id: int, rows: int = 1, parent: int | None = None) -> Batch:
    return Batch(batch_id, batch_id, rows, 100 * rows, "", parent)


def whole_of(part: Batch) -> int:
    return part.batch_id if part.parent is None else part.parent


def trials(*, in_doubt: bool, accepted: bool = False, idle: bool = True) -> Trials:
    refusals = Refusals()
    if accepted:
        refusals.note_accepted()
    for _ in range(REFUSALS_BEFORE_DOUBT * in_doubt):
        refusals.note_refused(1_000, on_trial=False)
    return Trials(refusals, whole_of, is_idle=lambda: idle)


def doubt(of: Trials) -> None:
    for _ in range(REFUSALS_BEFORE_DOUBT):
        of.note_refused(batch(1_000), "no")


async def settle_down() -> None:
    for _ in range(20):
        await checkpoint()


class Senders:
    """Tasks that take their turns and wait to be told to end them."""

    def __init__(self, of: Trials) -> None:
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


async def test_a_row_is_given_up_at_once_where_another_part_of_its_batch_was_accepted() -> None:
    of = trials(in_doubt=False)
    of.note_accepted(batch(5, parent=3))
    await of.until_certain(batch(4, parent=3), "no")


async def wait_for_certainty(of: Trials, ended: list[str]) -> None:
    with of.under_way():
        await of.until_certain(batch(1), "no")
        ended.append("certain")


async def test_that_a_whole_batch_was_accepted_proves_nothing_of_itself() -> None:
    """It is sent again after it was stuck, say."""
    of = trials(in_doubt=False, idle=False)
    of.note_accepted(batch(1))
    ended: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for_certainty, of, ended)
        await settle_down()
        assert ended == []
        tasks.cancel_scope.cancel()


async def test_what_is_proven_takes_no_turns() -> None:
    of = trials(in_doubt=True)
    senders = Senders(of)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(senders.send, 0, 1)
        await settle_down()
        of.note_accepted(batch(5, parent=7))
        doubt(of)
        tasks.start_soon(senders.send, 7, 3)
        await settle_down()
        assert senders.began == [0, 7]
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


async def of_part(of: Trials, senders: Senders, number: int, parent: int) -> None:
    async with of.turn(batch(number, parent=parent)):
        senders.began.append(number)


async def test_a_row_waits_until_something_is_accepted() -> None:
    of = trials(in_doubt=True)
    ended: list[str] = []
    async with AsyncExitStack() as stack:
        stack.enter_context(of.under_way())
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(wait_for_certainty, of, ended)
        await settle_down()
        assert ended == []
        of.note_accepted(batch(50))
        await settle_down()
        assert ended == ["certain"]


async def test_a_row_that_waits_learns_that_nothing_is_left_to_learn_from() -> None:
    """Another waits too, and the third, which was under way, ends."""
    of = trials(in_doubt=True, accepted=True)
    ended: list[str] = []
    async with anyio.create_task_group() as tasks:
        with of.under_way():
            tasks.start_soon(wait_for_certainty, of, ended)
            tasks.start_soon(wait_for_certainty, of, ended)
            await settle_down()
            assert ended == []
        await settle_down()
        assert ended == ["certain", "certain"]


async def test_where_nothing_was_ever_accepted_the_run_ends() -> None:
    of = trials(in_doubt=False)
    with of.under_way(), pytest.raises(FatalError, match="refuses everything"):
        await of.until_certain(batch(1), "no")


async def test_a_row_waits_for_batches_that_are_still_to_come() -> None:
    of = trials(in_doubt=True, accepted=True, idle=False)
    ended: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for_certainty, of, ended)
        await settle_down()
        assert ended == []
        tasks.cancel_scope.cancel()
