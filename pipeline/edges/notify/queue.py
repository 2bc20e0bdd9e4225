"""The queue of notifications: what waits in the outbox is sent to its receivers, again and again for a day at most.

Receivers are called side by side, and each has its own waits: one that hangs holds up others for the time of one call
at most. A notification that is refused is tried again like others, and those behind it are sent meanwhile.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import anyio
import structlog
from anyio.to_thread import run_sync

from pipeline.core.notifications.events import HEARTBEAT
from pipeline.core.notifications.notification import Notification
from pipeline.edges.clock import Clock
from pipeline.edges.notify.calls import LIMIT_S, call
from pipeline.edges.notify.outbox import MOST_GIVEN_UP, GivenUp, NotTakenYet, Outbox, OutboxNotice, Sorted
from pipeline.edges.notify.receiver import NotTaken, Receiver

log = structlog.get_logger()

#: Seconds for which a notification is tried at most, from the event on.
GIVE_UP_AFTER_S = 86_400.0
#: Seconds until a receiver that does not take notifications is called again: the first wait, and the longest. They
#: double, and up to half of each is drawn at random.
_AGAIN_S, _MOST_S = 5.0, 900.0
#: Notifications that a receiver may refuse in a row before it is left alone for a while. Ours: one that it does not
#: understand must not keep others back.
_MOST_REFUSED = 10

#: The receiver of a notification, as the configuration has it now; None if there is none any more.
ReceiverOf = Callable[[Notification], Receiver | None]


@dataclass(frozen=True, slots=True)
class _Waits:
    """A receiver that is called again at `again_at_s` of the monotonic clock, after so many `failures` in a row."""

    failures: int
    again_at_s: float


class NotificationQueue:
    """The notifications to be sent from an outbox, and the receivers that have to be waited for.

    `sort`: says which notifications may be told by now; it blocks.
    """

    def __init__(
        self, outbox: Outbox, clock: Clock, sort: Callable[[list[Notification]], Sorted], *, limit_s: float = LIMIT_S
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._sort = sort
        self._limit_s = limit_s
        self._waits: dict[str, _Waits] = {}
        #: The notice that is put up; None: not known yet.
        self._notice: OutboxNotice | None = None

    async def send(self, receiver_of: ReceiverOf, unwritten: Iterable[Notification] = ()) -> set[str]:
        """Send what may be sent now. Returns the ids of those that need not be sent any more.

        `unwritten`: notifications that the disk did not take, and that are not in the outbox.
        """
        waiting = {each.id: each for each in [*await run_sync(self._outbox.waiting), *unwritten]}
        if not waiting and self._notice is not None:
            return set()
        told, never = await run_sync(self._sort, list(waiting.values()))
        over = {each.id for each in never}
        by_receiver: dict[Receiver, list[Notification]] = {}
        for each in told:
            if receiver := receiver_of(each):
                by_receiver.setdefault(receiver, []).append(each)
            else:
                over.add(each.id)
        notice = await run_sync(self._outbox.notice) if self._notice is None else self._notice
        failing = {receiver.name: notice.failing.get(receiver.name) for receiver in by_receiver}
        given_up: list[GivenUp] = []
        async with anyio.create_task_group() as tasks:
            for receiver, notifications in by_receiver.items():
                tasks.start_soon(self._send_to, receiver, notifications, failing, given_up, over)
        for each in waiting.values():
            if each.id in over:
                await run_sync(self._outbox.remove, each)
        now_failing: Mapping[str, NotTakenYet] = {name: each for name, each in failing.items() if each is not None}
        await self._put_up(OutboxNotice(now_failing, (*notice.given_up, *given_up)[-MOST_GIVEN_UP:]))
        return over

    async def _send_to(
        self,
        receiver: Receiver,
        notifications: list[Notification],
        failing: dict[str, NotTakenYet | None],
        given_up: list[GivenUp],
        over: set[str],
    ) -> None:
        """Send notifications to one receiver, the oldest first, until it does not answer."""
        waits = self._waits.get(receiver.name)
        if waits is not None and self._clock.monotonic() < waits.again_at_s:
            return
        if receiver.kind == HEARTBEAT:
            over.update(each.id for each in notifications[:-1])
            notifications = notifications[-1:]
        latest: NotTaken | None = None
        refused = 0
        for each in notifications:
            if latest is None or (latest.is_refused and refused < _MOST_REFUSED):
                outcome = await call(receiver, each, self._clock, limit_s=self._limit_s)
                if outcome is None:
                    over.add(each.id)
                    log.info("notification_sent", notification=each.id, of=each.event, to=receiver.name)
                    continue
                latest, refused = outcome, refused + 1
            if self._is_too_old(each):
                over.add(each.id)
                given_up.append(self._give_up(receiver, each, latest.why))
        self._note(receiver, latest, failing)

    def _give_up(self, receiver: Receiver, notification: Notification, why: str) -> GivenUp:
        told = notification.id, notification.event
        log.error("notification_given_up", notification=told[0], of=told[1], to=receiver.name, why=why)
        return GivenUp(*told, notification.route, self._clock.utc_now().isoformat(timespec="seconds"), why)

    def _note(self, receiver: Receiver, latest: NotTaken | None, failing: dict[str, NotTakenYet | None]) -> None:
        """Note if a receiver took all that it was sent, and when it is called again if not."""
        name, before = receiver.name, failing.get(receiver.name)
        if latest is None:
            self._waits.pop(name, None)
            failing[name] = None
            if before is not None:
                log.info("notifications_taken_again", to=name, since=before.since)
            return
        failures = self._waits[name].failures + 1 if name in self._waits else 1
        wait_s = min(_AGAIN_S * 2.0 ** min(failures - 1, 20), _MOST_S) * (1.0 - self._clock.random() / 2)
        self._waits[name] = _Waits(failures, self._clock.monotonic() + wait_s)
        if before is None or before.why != latest.why:
            log.warning("notification_not_taken", to=name, why=latest.why, again_in_s=round(wait_s, 1))
        since = before.since if before else self._clock.utc_now().isoformat(timespec="seconds")
        failing[name] = NotTakenYet(since, latest.why)

    def _is_too_old(self, notification: Notification) -> bool:
        try:
            age = self._clock.utc_now() - datetime.fromisoformat(notification.at)
        except (ValueError, TypeError):
            return True
        return age.total_seconds() >= GIVE_UP_AFTER_S

    async def _put_up(self, notice: OutboxNotice) -> None:
        if notice != self._notice:
            await run_sync(self._outbox.put_up, notice)
            self._notice = replace(notice)
