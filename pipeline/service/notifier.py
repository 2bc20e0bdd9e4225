"""Tells whoever wants to know: of jobs that have ended, of pauses, and of exports that are overdue.

It runs beside the jobs of a client code and never delays one: it reads what they left in the state directory, and
calls receivers by itself. What lasts (a pause, an overdue export) is told once, over restarts too, and so is its end.
"""

from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from typing import Any

import structlog
from anyio.to_thread import run_sync

from pipeline.core.errors import FatalError, PipelineError
from pipeline.core.notifications.notification import Notification
from pipeline.edges.host import Host
from pipeline.edges.notify.calls import LIMIT_S
from pipeline.edges.notify.outbox import Outbox
from pipeline.edges.notify.queue import NotificationQueue
from pipeline.edges.notify.told_file import ExpectedSince, Told, ToldOf, read_told, write_told
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.edges.store.notices import HoldUps, Pause, pause_of, read_hold_ups, read_pause
from pipeline.jobs.status.expected import OverdueExport, days_due, expectation_of, overdue_exports
from pipeline.jobs.status.notifications import receiver_of, sort_by_ledger
from pipeline.service.conditions import Condition, conditions_of, recovery_of
from pipeline.service.upkeep import Upkeep
from pipeline.settings.tenants import Tenant

log = structlog.get_logger()

#: Seconds between two looks. Ours: a look is a few small files.
LOOK_EVERY_S = 2.0
#: Seconds for which a condition must not have been seen to be over. Ours: a job that could not go on is tried again
#: within two minutes, and is stopped again in the first seconds if it still cannot.
STEADY_S = 300.0
_TELLING = "sending notifications"


@dataclass(frozen=True, slots=True)
class _Seen:
    """The conditions that hold now. `is_known`: False if the ledger could not be read: nothing is known of exports."""

    conditions: Mapping[str, Condition]
    overdue: tuple[OverdueExport, ...]
    is_known: bool


class Notifier:
    """The notifications of one client code."""

    def __init__(self, settings: Tenant, host: Host, *, limit_s: float = LIMIT_S, steady_s: float = STEADY_S) -> None:
        self._settings = settings
        self._clock = host.clock
        self._steady_s = steady_s
        self._directory = settings.directory
        self._outbox = Outbox(settings.directory)
        self._queue = NotificationQueue(
            self._outbox, host.clock, partial(sort_by_ledger, settings.directory), limit_s=limit_s
        )
        self._upkeep = Upkeep(host.clock)
        self._told: Told | None = None
        #: By name of a condition when it was seen last; and notifications that the disk did not take.
        self._seen_at_s: dict[str, float] = {}
        self._unwritten: dict[str, Notification] = {}
        self._overdue: tuple[OverdueExport, ...] = ()
        #: By route the latest expected day of which an export is done.
        self._met: dict[str, date] = {}
        self._trouble = ""

    @property
    def client_code(self) -> str:
        """The client code."""
        return self._settings.client_code

    @property
    def overdue(self) -> dict[str, bool]:
        """By route that expects exports: True if one is overdue, as seen last."""
        late = {each.route for each in self._overdue}
        return {route: route in late for route, each in self._settings.routes.items() if expectation_of(each)}

    def take(self, settings: Tenant) -> None:
        """Go on with these settings."""
        self._settings = settings

    async def run(self, untold: Callable[[], Mapping[str, Any]], *, is_only: bool) -> None:
        """Tell until cancelled. `untold`: the notices that the disk did not take, see `TenantService.untold`."""
        if not is_only:
            # Every log event from here on names the client code.
            structlog.contextvars.bind_contextvars(client_code=self.client_code)
        await self._upkeep.keep(_TELLING, partial(self._look_again_and_again, untold))

    async def _look_again_and_again(self, untold: Callable[[], Mapping[str, Any]]) -> None:
        while True:
            # By the first look the notices of an earlier process are taken down.
            await self._clock.sleep(LOOK_EVERY_S)
            if any(each.notify.is_used or expectation_of(each) for each in self._settings.routes.values()):
                try:
                    await self.look(untold())
                    self._trouble = ""
                except PipelineError as error:
                    if str(error) != self._trouble:
                        log.warning("notifications_not_sent", why=str(error))
                    self._trouble = str(error)
            self._upkeep.note_well(_TELLING)

    async def look(self, untold: Mapping[str, Any]) -> None:
        """Look once: tell what has changed, and send what waits."""
        told = self._told if self._told is not None else await run_sync(read_told, self._directory)
        if self._told is None:
            now_s = self._clock.monotonic()
            self._seen_at_s = dict.fromkeys(told.conditions, now_s)
        told = self._with_expected(told)
        seen = await run_sync(self._observe, told, untold)
        self._overdue = seen.overdue if seen.is_known else self._overdue
        notifications, told = self._changes(told, seen)
        for each in notifications:
            await self._keep(each)
        if told != self._told:
            # Where the disk refuses it, this process knows it, and another one may tell it again.
            await run_sync(write_told, self._directory, told)
        self._told = told
        over = await self._queue.send(partial(receiver_of, self._settings), list(self._unwritten.values()))
        self._unwritten = {key: each for key, each in self._unwritten.items() if key not in over}

    def _with_expected(self, told: Told) -> Told:
        """Since when exports are expected: from now on where the settings are new."""
        now = self._clock.utc_now().isoformat(timespec="seconds")
        expected = {}
        for route, of_route in self._settings.routes.items():
            if expectation_of(of_route) is not None:
                noted, words = told.expected.get(route), of_route.expect.words
                expected[route] = noted if noted and noted.words == words else ExpectedSince(words, now)
        return told if expected == told.expected else replace(told, expected=expected)

    def _observe(self, told: Told, untold: Mapping[str, Any]) -> _Seen:
        pause: Pause | None = pause_of(untold.get("pause")) or read_pause(self._directory)
        hold_ups = HoldUps.of(untold["sending"]) if "sending" in untold else read_hold_ups(self._directory)
        now = self._clock.utc_now()
        late, is_known = self._look_for_overdue(told, now)
        return _Seen(conditions_of(self._settings, pause, hold_ups, late, now), late, is_known)

    def _look_for_overdue(self, told: Told, now: datetime) -> tuple[tuple[OverdueExport, ...], bool]:
        """The exports that are overdue; and if that is known. No ledger is read for a day that was met."""
        due = days_due(self._settings, told, now)
        days = {route: day for route, day in due.items() if self._met.get(route) != day.day}
        if not days:
            return (), True
        try:
            ledger = read_ledger(self._directory / "ledger.db")
            with closing(ledger) if ledger else nullcontext():
                late = overdue_exports(self._settings, ledger, days)
        except FatalError:
            # Whoever works with the ledger says so.
            return (), False
        self._met |= {route: day.day for route, day in days.items() if route not in {each.route for each in late}}
        return late, True

    def _changes(self, told: Told, seen: _Seen) -> tuple[list[Notification], Told]:
        """The notifications of what has begun and of what is over; and what is told then."""
        now_s, now = self._clock.monotonic(), self._clock.utc_now()
        conditions, notifications = dict(told.conditions), list[Notification]()
        for name, each in seen.conditions.items():
            self._seen_at_s[name] = now_s
            before = conditions.get(name)
            if before is None or before.mark != each.mark:
                conditions[name] = ToldOf(each.mark, each.since, each.route)
                notifications += each.notifications(self._settings, now)
                each.log()
        for name in conditions.keys() - seen.conditions.keys():
            before = conditions[name]
            if not before.route and now_s - self._seen_at_s.get(name, now_s) < self._steady_s:
                continue
            if before.route and not seen.is_known:
                continue
            del conditions[name]
            notifications += recovery_of(self._settings, before, now)
        return notifications, replace(told, conditions=conditions)

    async def _keep(self, notification: Notification) -> None:
        try:
            await run_sync(self._outbox.enter, notification)
        except FatalError as error:
            self._unwritten[notification.id] = notification
            log.warning("notification_not_kept", notification=notification.id, of=notification.event, why=str(error))
