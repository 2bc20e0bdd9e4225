"""The queue of notifications: again and again for a day, each receiver by itself, and what `status` is told of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from structlog.testing import capture_logs

from pipeline.core.notifications.events import HEARTBEAT
from pipeline.core.notifications.notification import Notification
from pipeline.edges.notify.outbox import MOST_GIVEN_UP, Outbox, Sorted
from pipeline.edges.notify.queue import GIVE_UP_AFTER_S, NotificationQueue
from pipeline.edges.notify.receiver import Receiver
from tests.tools.receiving import Receiving, SetClock, receiving


@dataclass
class Queued:
    """An outbox and its queue, with receivers by route."""

    state: Path
    receivers: dict[str, Receiver] = field(default_factory=dict)
    time: SetClock = field(default_factory=SetClock)
    not_yet: set[str] = field(default_factory=set)
    never: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.state)
        self.begin_anew()

    def begin_anew(self) -> None:
        """Another process."""
        self.queue = NotificationQueue(self.outbox, self.time.clock, self.sort, limit_s=0.5)

    def sort(self, found: list[Notification]) -> Sorted:
        told = [each for each in found if each.id not in self.not_yet | self.never]
        return told, [each for each in found if each.id in self.never]

    def enter(self, name: str, route: str = "a", event: str = "failed") -> None:
        at = self.time.clock.utc_now().isoformat(timespec="seconds")
        self.outbox.enter(Notification(name, event, at, "acme", route, f"acme: {name}."))

    async def send(self, after_s: float = 0.0) -> None:
        self.time.go_on(after_s)
        await self.queue.send(lambda each: self.receivers.get(each.route))

    @property
    def waiting(self) -> list[str]:
        return [each.id for each in self.outbox.waiting()]


def of(receiver: Receiving, route: str = "a") -> Receiver:
    return Receiver(route, "webhook", receiver.webhook)


@contextmanager
def logged(event: str) -> Iterator[list[dict[str, object]]]:
    found: list[dict[str, object]] = []
    with capture_logs() as logs:
        yield found
    found += [dict(each) for each in logs if each["event"] == event]


async def test_all_that_waits_is_sent_in_order(tmp_path: Path) -> None:
    async with receiving() as receiver:
        queued = Queued(tmp_path, {"a": of(receiver)})
        for name in ("one", "two", "three"):
            queued.enter(name)
            queued.time.go_on(1)
        await queued.send()
        assert [each["id"] for each in receiver.told] == ["one", "two", "three"]
        assert queued.waiting == []
        await queued.send(60)
        assert len(receiver.told) == 3


async def test_what_is_not_taken_is_sent_again_later_and_later(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.usual = 500
        queued = Queued(tmp_path, {"a": of(receiver)})
        queued.enter("one")
        with logged("notification_not_taken") as told:
            for after_s, calls in ((0, 1), (4.9, 1), (0.2, 2), (9.7, 2), (0.4, 3), (19, 3), (2, 4)):
                await queued.send(after_s)
                assert len(receiver.got) == calls
        assert [each["why"] for each in told] == ["it answers HTTP 500"], "told once, as long as it is the same"
        (failing,) = queued.outbox.notice().failing.items()
        assert failing[0] == "a webhook"
        assert failing[1].since == "2026-11-30T03:00:00+00:00"
        receiver.usual = 200
        with logged("notifications_taken_again") as again:
            await queued.send(900)
        assert (queued.waiting, queued.outbox.notice().failing, len(again)) == ([], {}, 1)


async def test_another_process_goes_on_and_says_no_more_than_is_new(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.usual = 500
        queued = Queued(tmp_path, {"a": of(receiver)})
        queued.enter("one")
        await queued.send()
        queued.begin_anew()
        with logged("notification_not_taken") as told:
            await queued.send(1)
        assert (len(receiver.got), told) == (2, [])
        assert queued.outbox.notice().failing["a webhook"].since == "2026-11-30T03:00:00+00:00"


async def test_after_a_day_it_is_given_up(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.usual = 500
        queued = Queued(tmp_path, {"a": of(receiver)})
        for name in ("one", "two"):
            queued.enter(name)
        await queued.send()
        await queued.send(GIVE_UP_AFTER_S - 1)
        assert queued.waiting == ["one", "two"]
        queued.enter("late")
        with logged("notification_given_up") as given_up:
            await queued.send(1_000)
        assert queued.waiting == ["late"]
        assert [each["notification"] for each in given_up] == ["one", "two"]
        assert [each.id for each in queued.outbox.notice().given_up] == ["one", "two"]
        assert queued.outbox.notice().given_up[0].why == "it answers HTTP 500"


async def test_only_the_last_that_were_given_up_are_told_of(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.usual = 500
        queued = Queued(tmp_path, {"a": of(receiver)})
        for number in range(MOST_GIVEN_UP + 5):
            queued.enter(f"n{number:02}")
        await queued.send(GIVE_UP_AFTER_S)
        assert [each.id for each in queued.outbox.notice().given_up] == [
            f"n{n:02}" for n in range(5, MOST_GIVEN_UP + 5)
        ]


async def test_one_that_is_refused_keeps_none_behind_it_back(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.answers = [400]
        queued = Queued(tmp_path, {"a": of(receiver)})
        for name in ("bad", "good"):
            queued.enter(name)
        await queued.send()
        assert queued.waiting == ["bad"]
        await queued.send(10)
        assert queued.waiting == []


async def test_one_that_is_not_reached_is_called_once_and_not_for_each(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.usual = 503
        queued = Queued(tmp_path, {"a": of(receiver)})
        for number in range(20):
            queued.enter(f"n{number:02}")
        await queued.send()
        assert len(receiver.got) == 1
        receiver.usual = 404
        await queued.send(10)
        assert len(receiver.got) == 11, "nor is one that refuses all"


async def test_a_receiver_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    async with receiving() as hangs, receiving() as well:
        hangs.usual = "hang"
        queued = Queued(tmp_path, {"a": of(hangs), "b": of(well, "b")})
        queued.enter("one", "a")
        queued.enter("two", "b")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queued.send)
            await well.until_told("failed")
            assert len(queued.waiting) == 2, "the other is still called"
        assert queued.waiting == ["one"]


async def test_what_is_not_so_yet_waits_and_what_never_will_be_goes(tmp_path: Path) -> None:
    async with receiving() as receiver:
        queued = Queued(tmp_path, {"a": of(receiver)}, not_yet={"one"}, never={"two"})
        for name in ("one", "two"):
            queued.enter(name)
        await queued.send()
        assert (receiver.got, queued.waiting) == ([], ["one"])
        queued.not_yet.clear()
        await queued.send()
        assert ([each["id"] for each in receiver.told], queued.waiting) == (["one"], [])


async def test_what_nobody_wants_any_more_goes(tmp_path: Path) -> None:
    queued = Queued(tmp_path)
    queued.enter("one", "gone")
    await queued.send()
    assert queued.waiting == []


async def test_of_heartbeats_the_last_is_enough(tmp_path: Path) -> None:
    async with receiving() as receiver:
        queued = Queued(tmp_path, {"a": Receiver("a", "heartbeat", receiver.heartbeat)})
        for number in range(3):
            queued.enter(f"job{number}-heartbeat", event=HEARTBEAT)
        await queued.send()
        assert (receiver.beats, queued.waiting) == (1, [])


async def test_what_the_disk_did_not_take_is_sent_all_the_same(tmp_path: Path) -> None:
    async with receiving() as receiver:
        queued = Queued(tmp_path / "away", {"a": of(receiver)})
        kept = Notification("one", "paused", "2026-11-30T03:00:00+00:00", "acme", "a", "acme: paused.")
        assert await queued.queue.send(lambda each: queued.receivers.get(each.route), [kept]) == {"one"}
        await receiver.until_told("paused")


async def test_a_time_that_is_none_is_long_ago(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.usual = 500
        queued = Queued(tmp_path, {"a": of(receiver)})
        queued.outbox.enter(Notification("one", "failed", "yesterday", "acme", "a", "acme: one."))
        await queued.send()
        assert queued.waiting == []
