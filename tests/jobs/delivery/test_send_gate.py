"""The gate before a POST: the order of what it asks, what a batch keeps, and that nothing is left where a job ends."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from pipeline.core.batches.in_flight import InFlight
from pipeline.core.batches.progress import Progress
from pipeline.core.batches.refusals import REFUSALS_BEFORE_DOUBT, Refusals
from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch
from pipeline.core.target.pacing import CallBudget, StatusWindow
from pipeline.core.target.polling import PollPlan
from pipeline.core.target.time_windows import Limits, Schedule, Window
from pipeline.edges.clock import Clock
from pipeline.edges.exports import Identity
from pipeline.edges.host import Host
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import open_state
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.client import TargetClient, connect
from pipeline.edges.target.endpoint import Endpoint
from pipeline.edges.target.status_gate import StatusGate
from pipeline.edges.target.status_poller import StatusPoller
from pipeline.edges.target.window_limits import Windows
from pipeline.jobs.delivery.probing import Probing
from pipeline.jobs.delivery.send_gate import Passage, SendGate
from pipeline.jobs.delivery.send_limits import SendLimits
from pipeline.jobs.ending import Ending
from pipeline.jobs.job import Job
from pipeline.settings.sections.export import ExportSettings
from tests.tools.support import CLOSED, settings_for, until

OURS = Batch(1, 1, 5, 500, "")
ANOTHER = Batch(2, 2, 1, 100, "")
#: Monday, 9 to 18: nothing is sent.
PAUSE = Window(frozenset([0]), 9 * 60, 18 * 60, UTC, Limits(is_paused=True))
BEFORE, WITHIN = datetime(2026, 11, 23, 8, 0, tzinfo=UTC), datetime(2026, 11, 23, 17, 59, 59, 990_000, tzinfo=UTC)


class NotingQueue(CallQueue):
    """A queue of one call a minute that notes who asks for it."""

    def __init__(self, asked: list[str], clock: Clock) -> None:
        super().__init__(CallBudget(1), clock, Windows(Schedule([PAUSE]), clock))
        self.under_way = 0
        self._noted = asked

    @asynccontextmanager
    async def call(self, *, can_wait: bool = False) -> AsyncIterator[None]:
        self._noted.append("budget")
        async with super().call(can_wait=can_wait):
            self.under_way += 1
            try:
                yield
            finally:
                self.under_way -= 1


class NotingGate(StatusGate):
    """A status gate that notes who asks for a number."""

    def __init__(self, asked: list[str], window: StatusWindow) -> None:
        super().__init__(window)
        self._noted = asked

    async def begin_post(self) -> int:
        self._noted.append("window")
        return await super().begin_post()


class NotingProbing(Probing):
    """A probing that notes who asks for a turn."""

    def __init__(self, asked: list[str], refusals: Refusals, job: Job) -> None:
        super().__init__(refusals, job.progress, job.ending)
        self._noted = asked

    @asynccontextmanager
    async def turn(self, batch: Batch) -> AsyncIterator[None]:
        self._noted.append("doubt")
        async with super().turn(batch):
            yield


@dataclass
class Place:
    """A gate at which nothing keeps a batch, unless something is done to it; `asked` notes what was asked for."""

    gate: SendGate
    job: Job
    limits: SendLimits
    probing: Probing
    refusals: Refusals
    window: StatusWindow
    calls: NotingQueue
    target: TargetClient
    asked: list[str]
    times: list[datetime]
    looks: list[datetime]
    got: list[Passage | None] = field(default_factory=list)
    may_end: anyio.Event = field(default_factory=anyio.Event)

    @property
    def body(self) -> Path:
        return self.job.spool.body(OURS.batch_id)

    async def send(self) -> None:
        """Go through the gate, and stay there until it `may_end`."""
        async with self.gate.slot(OURS), self.gate.passage(OURS) as passage:
            self.got.append(passage)
            await self.may_end.wait()

    def pause(self) -> None:
        """Somebody asks to send nothing."""
        self.job.state.is_paused = True
        self.job.ending.changed.tell()

    def resume(self) -> None:
        """Sending goes on."""
        self.job.state.is_paused = False
        self.job.ending.changed.tell()

    async def looked_at_the_time(self) -> None:
        """Wait until somebody has looked several times whether a time window still holds."""
        seen = len(self.looks)
        await until(lambda: len(self.looks) > seen + 5)

    def assert_nothing_is_left_behind(self) -> None:
        """No slot, no number, no place in the budget, no turn and no open file is kept by a batch that has gone."""
        assert self.limits.uploaders.borrowed_tokens == 0
        assert self.limits.uploaders.statistics().tasks_waiting == 0
        assert (self.window.under_way, self.window.is_open) == (0, True)
        assert self.calls.under_way == 0
        assert self.job.progress.posts_under_way == 0
        assert not is_open(self.body)


def is_open(file: Path) -> bool:
    """Whether this process has the file open."""
    return any(os.path.realpath(each) == str(file) for each in Path("/proc/self/fd").iterdir())


@asynccontextmanager
async def place(directory: Path) -> AsyncIterator[Place]:
    asked: list[str] = []
    times = [BEFORE]
    looks: list[datetime] = []

    def utc_now() -> datetime:
        looks.append(times[0])
        return times[0]

    clock = Clock(utc_now=utc_now)
    settings = settings_for(CLOSED, directory / "state")
    calls, window = NotingQueue(asked, clock), StatusWindow(1)
    endpoint = Endpoint(
        url=CLOSED, client_code="demo", api_version="v2", status_hosts=(), token_file=None, min_rate_bytes_s=100_000
    )
    async with (
        open_state(directory / "state", "demo", Host(clock), min_free_bytes=0) as state,
        connect(endpoint, calls, clock) as target,
    ):
        limits = SendLimits(
            calls=calls,
            window=NotingGate(asked, window),
            poller=StatusPoller(PollPlan(first_s=1.0, max_s=1.0), calls, clock, deadline_s=1.0),
            uploaders=anyio.CapacityLimiter(1),
            unsent=anyio.Semaphore(1),
            hold_s=1.0,
        )
        job = Job(
            record=JobRecord.new("j1", directory / "e.csv", Identity(1, 1), {}, times[0]),
            export=ExportSettings(id_column="id"),
            settings=settings,
            state=state,
            folder=state.folder("j1"),
            progress=Progress(),
            ending=Ending(),
            in_flight=InFlight(state.spool.hashes),
        )
        state.spool.body(OURS.batch_id).write_bytes(b"batch=thirdPartyId,tier\nu1,gold\n")
        refusals = Refusals()
        probing = NotingProbing(asked, refusals, job)
        gate = SendGate(job, limits, probing, target)
        yield Place(gate, job, limits, probing, refusals, window, calls, target, asked, times, looks)


async def settle_down() -> None:
    for _ in range(30):
        await checkpoint()


# What keeps a batch, and how it is let go.


@asynccontextmanager
async def paused(at: Place) -> AsyncIterator[None]:
    at.pause()
    yield
    at.resume()


@asynccontextmanager
async def in_a_time_window(at: Place) -> AsyncIterator[None]:
    """It ends in an instant by the clock, but the clock stands still."""
    at.times[0] = WITHIN
    yield
    at.times[0] = BEFORE


@asynccontextmanager
async def doubted(at: Place) -> AsyncIterator[None]:
    """Another batch is tried, smaller than ours."""
    for _ in range(REFUSALS_BEFORE_DOUBT):
        at.refusals.note_refused(1_000, tried_alone=False)
    turn = at.probing.turn(ANOTHER)
    async with turn:
        at.asked.clear()
        yield
    at.refusals.note_accepted()


@asynccontextmanager
async def without_a_slot(at: Place) -> AsyncIterator[None]:
    other = object()
    await at.limits.uploaders.acquire_on_behalf_of(other)
    yield
    at.limits.uploaders.release_on_behalf_of(other)


@asynccontextmanager
async def without_a_window(at: Place) -> AsyncIterator[None]:
    number = at.window.begin_post()
    yield
    at.limits.window.forget(number)


@asynccontextmanager
async def without_budget(at: Place) -> AsyncIterator[None]:
    async with at.calls.call(can_wait=True):
        at.asked.clear()
        yield
    at.calls.allow(100)


Obstacle = Callable[[Place], AbstractAsyncContextManager[None]]
OBSTACLES: list[Obstacle] = [paused, doubted, without_a_slot, without_a_window, without_budget]
#: What was asked for when a batch is kept by this; the slot is seen by those that wait for one.
ASKED_AT: dict[Obstacle, tuple[list[str], int]] = {
    paused: ([], 0),
    in_a_time_window: ([], 0),
    doubted: (["doubt"], 0),
    without_a_slot: (["doubt"], 1),
    without_a_window: (["doubt", "window"], 0),
    without_budget: (["doubt", "window", "budget"], 0),
}


def asked_at(at: Place) -> tuple[list[str], int]:
    return at.asked, at.limits.uploaders.statistics().tasks_waiting


async def reached(at: Place, obstacle: Obstacle) -> None:
    """Wait until a batch is kept by this, and nothing further was asked for."""
    await until(lambda: asked_at(at) == ASKED_AT[obstacle])
    await settle_down()
    assert asked_at(at) == ASKED_AT[obstacle]
    assert at.got == []


async def test_what_is_asked_in_which_order(tmp_path: Path) -> None:
    """Everything keeps it, and is let go one after the other."""
    async with place(tmp_path) as at, AsyncExitStack() as stack:
        kept = {obstacle: await stack.enter_async_context(AsyncExitStack()) for obstacle in OBSTACLES}
        for obstacle in reversed(OBSTACLES):
            await kept[obstacle].enter_async_context(obstacle(at))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(at.send)
            for obstacle in OBSTACLES:
                await reached(at, obstacle)
                await kept[obstacle].aclose()
            await until(lambda: at.got)
            at.may_end.set()
        (passage,) = at.got
        assert passage is not None
        assert passage.post_number == 1
        at.assert_nothing_is_left_behind()


async def test_without_an_obstacle_it_goes_through(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.may_end.set()
        await at.send()
        assert at.asked == ["doubt", "window", "budget"]
        assert len(at.got) == 1
        at.assert_nothing_is_left_behind()


async def test_a_time_window_pauses_it_too(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        async with anyio.create_task_group() as tasks:
            async with in_a_time_window(at):
                tasks.start_soon(at.send)
                await reached(at, in_a_time_window)
            # Nobody tells of it: it looks by itself.
            await until(lambda: at.got)
            at.may_end.set()
        at.assert_nothing_is_left_behind()


# What is kept.


async def test_slot_and_turn_are_kept_over_all_attempts_and_the_rest_is_asked_for_at_each(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.calls.allow(100)
        async with at.gate.slot(OURS):
            assert at.asked == ["doubt"]
            for attempt in range(1, 4):
                async with at.gate.passage(OURS) as passage:
                    assert passage is not None
                    assert passage.post_number == attempt - 1
                    assert (at.calls.under_way, at.window.under_way, is_open(at.body)) == (1, 1, True)
                assert at.asked == ["doubt", *attempt * ["window", "budget"]]
                assert at.limits.uploaders.borrowed_tokens == 1
                assert (at.calls.under_way, at.window.under_way, is_open(at.body)) == (0, 0, False)
        at.assert_nothing_is_left_behind()


async def test_the_turn_in_doubt_is_kept_as_long_as_the_slot(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        for _ in range(REFUSALS_BEFORE_DOUBT):
            at.refusals.note_refused(1_000, tried_alone=False)
        tried: list[str] = []

        async def try_another() -> None:
            async with at.probing.turn(ANOTHER):
                tried.append("another")

        async with anyio.create_task_group() as tasks, at.gate.slot(OURS):
            tasks.start_soon(try_another)
            async with at.gate.passage(OURS):
                pass
            await settle_down()
            assert tried == []
        assert tried == ["another"]


async def test_the_number_of_an_accepted_post_is_kept(tmp_path: Path) -> None:
    """Its status is asked for, so Target has to keep it."""
    async with place(tmp_path) as at:
        async with at.gate.slot(OURS), at.gate.passage(OURS) as passage:
            assert passage is not None
            at.limits.window.note_accepted(passage.post_number, BEFORE)
            passage.is_accepted = True
        assert (at.window.under_way, at.window.is_open) == (0, False)
        at.limits.window.forget(passage.post_number)
        at.assert_nothing_is_left_behind()


async def test_a_post_is_under_way_as_long_as_its_passage_lasts(tmp_path: Path) -> None:
    """The end of the job waits for it, and is told."""
    async with place(tmp_path) as at, anyio.create_task_group() as tasks:
        tasks.start_soon(at.send)
        await until(lambda: at.got)
        assert at.job.progress.posts_under_way == 1
        looks: list[int] = []

        def nothing_is_under_way() -> bool:
            looks.append(at.job.progress.posts_under_way)
            return not at.job.progress.posts_under_way

        tasks.start_soon(at.job.ending.changed.until, nothing_is_under_way)
        await settle_down()
        assert looks == [1]
        at.may_end.set()
        await until(lambda: looks[-1] == 0)
        assert at.job.progress.posts_under_way == 0


async def test_nor_any_longer_where_an_error_ends_it(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        with pytest.raises(FatalError, match="the ledger"):
            async with at.gate.slot(OURS), at.gate.passage(OURS):
                raise FatalError("the ledger")
        at.assert_nothing_is_left_behind()


async def test_a_body_that_is_gone_leaves_nothing_behind(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.body.unlink()
        with pytest.raises(FatalError, match="cannot read batch 1") as caught:
            await at.send()
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        assert at.got == []
        at.assert_nothing_is_left_behind()


# A pause is asked for once more behind each wait.


@pytest.mark.parametrize("pause", [paused, in_a_time_window])
@pytest.mark.parametrize("obstacle", [without_a_window, without_budget])
async def test_a_pause_that_begins_while_it_waits_keeps_it(tmp_path: Path, obstacle: Obstacle, pause: Obstacle) -> None:
    async with place(tmp_path) as at:
        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            async with obstacle(at):
                tasks.start_soon(at.send)
                await reached(at, obstacle)
                await stack.enter_async_context(pause(at))
            await settle_down()
            if pause is in_a_time_window:
                await at.looked_at_the_time()
            assert (at.got, at.job.progress.posts_under_way) == ([], 0)
            assert ("budget" in at.asked) is (obstacle is without_budget), "what nobody may use is not asked for"
            await stack.aclose()
            await until(lambda: at.got)
            at.may_end.set()
        at.assert_nothing_is_left_behind()


# The job ends meanwhile.


ENDS = [EndStage.NO_ATTEMPTS, EndStage.LET_POSTS_END, EndStage.NOW]


@pytest.mark.parametrize("stage", ENDS)
@pytest.mark.parametrize("obstacle", [*OBSTACLES, in_a_time_window])
async def test_where_the_job_ends_in_any_wait_it_gets_nothing_and_leaves_nothing_behind(
    tmp_path: Path, obstacle: Obstacle, stage: EndStage
) -> None:
    async with place(tmp_path) as at:
        at.may_end.set()
        async with obstacle(at):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(at.send)
                await reached(at, obstacle)
                at.job.ending.raise_to(stage)
            assert at.got == [None]
            assert at.job.progress.posts_under_way == 0
            assert not is_open(at.body)
        at.assert_nothing_is_left_behind()
        # Others of the client code go on.
        async with at.probing.turn(ANOTHER), at.limits.uploaders:
            assert await at.limits.window.begin_post() == (obstacle in (without_a_window, without_budget))


@pytest.mark.parametrize("pause", [paused, in_a_time_window])
@pytest.mark.parametrize("obstacle", [without_a_window, without_budget])
async def test_where_it_ends_in_a_pause_behind_another_wait_it_gives_back_what_it_has(
    tmp_path: Path, obstacle: Obstacle, pause: Obstacle
) -> None:
    async with place(tmp_path) as at:
        at.may_end.set()
        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            async with obstacle(at):
                tasks.start_soon(at.send)
                await reached(at, obstacle)
                await stack.enter_async_context(pause(at))
            await until(lambda: at.window.under_way == 1)
            await settle_down()
            assert at.got == []
            at.job.ending.raise_to(EndStage.NO_ATTEMPTS)
            await until(lambda: at.got)
        assert at.got == [None]
        at.assert_nothing_is_left_behind()


@pytest.mark.parametrize("obstacle", OBSTACLES)
async def test_where_only_nothing_new_is_sent_it_waits_on(tmp_path: Path, obstacle: Obstacle) -> None:
    """What Target may have is sent again: whether this batch is, its next step says."""
    async with place(tmp_path) as at:
        async with anyio.create_task_group() as tasks:
            async with obstacle(at):
                tasks.start_soon(at.send)
                await reached(at, obstacle)
                at.job.ending.raise_to(EndStage.NO_FIRST_ATTEMPTS)
                await settle_down()
                assert at.got == []
            await until(lambda: at.got)
            at.may_end.set()
        assert None not in at.got


@pytest.mark.parametrize("stage", ENDS)
async def test_where_it_has_ended_nothing_is_asked_for_at_all(tmp_path: Path, stage: EndStage) -> None:
    async with place(tmp_path) as at:
        at.job.ending.raise_to(stage)
        at.may_end.set()
        await at.send()
        assert at.got == [None]
        at.assert_nothing_is_left_behind()
        assert await at.limits.window.begin_post() == 0, "no number was taken"


@pytest.mark.parametrize("stage", ENDS)
async def test_a_post_that_has_its_passage_keeps_it(tmp_path: Path, stage: EndStage) -> None:
    async with place(tmp_path) as at, anyio.create_task_group() as tasks:
        tasks.start_soon(at.send)
        await until(lambda: at.got)
        at.job.ending.raise_to(stage)
        await settle_down()
        assert at.job.progress.posts_under_way == 1
        at.may_end.set()
