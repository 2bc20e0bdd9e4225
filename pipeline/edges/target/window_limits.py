"""The limits that the time windows set now, and the log of their changes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog

from pipeline.core.target.pacing import MINUTE_S
from pipeline.core.target.time_windows import InForce, Limits, Schedule
from pipeline.edges.clock import Clock

log = structlog.get_logger()

#: Seconds between looks at the time of day, which may be set during a sleep.
LOOK_EVERY_S = 60.0
_NOTHING = Limits()


class Windows:
    """The windows of a schedule on a clock. An empty schedule limits nothing."""

    def __init__(self, schedule: Schedule, clock: Clock) -> None:
        self._schedule = schedule
        self._clock = clock
        # The limits that were logged last.
        self._told = _NOTHING

    def take(self, schedule: Schedule) -> None:
        """Replace the schedule."""
        self._schedule = schedule

    @property
    def held(self) -> InForce | None:
        """The limits in force now; None if there are no windows at all."""
        return self._schedule.at(self._clock.utc_now()) if self._schedule else None

    @property
    def pause_s(self) -> float:
        """Seconds after which to look again, while sending pauses; 0 if it does not pause."""
        held = self.held
        return self._look_in_s(held) if held and held.limits.is_paused else 0.0

    def calls_per_minute(self, most: int) -> int:
        """The number of calls allowed in the present minute, at most `most`.

        A minute that only touches a window counts as within it: the smaller limit holds from a minute before the window
        until a minute after it.
        """
        if not self._schedule:
            return most
        around, moment = timedelta(seconds=MINUTE_S), self._clock.utc_now()
        limits = (held.limits.calls_per_minute for held in self._schedule.within(moment - around, moment + around))
        return min([most, *(limit for limit in limits if limit is not None)])

    def may_post(self, under_way: int) -> bool:
        """True if a POST may begin while `under_way` others are under way."""
        held = self.held
        return held is None or held.limits.concurrency is None or under_way < held.limits.concurrency

    def paused_s(self, since: float) -> float:
        """The seconds for which sending has paused since a moment of the monotonic clock."""
        if not self._schedule:
            return 0.0
        moment = self._clock.utc_now()
        return self._schedule.paused_s(moment - timedelta(seconds=self._clock.monotonic() - since), moment)

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Log the limits in force at each change, with their end, and call `on_change`; until cancelled.

        A later call goes on from the limits logged last. Returns if there are no windows.
        """
        while (held := self.held) is not None:
            if held.limits != self._told:
                latest = self._told = held.limits
                ends = told(held)
                if latest == _NOTHING:
                    log.info("window_ended", until=ends["until"], time_zone=ends["time_zone"])
                else:
                    log.info(
                        "window_began",
                        pause=latest.is_paused,
                        calls_per_minute=latest.calls_per_minute,
                        concurrency=latest.concurrency,
                        until=ends["until"],
                        time_zone=ends["time_zone"],
                    )
                on_change()
            await self._clock.sleep(self._look_in_s(held))

    def _look_in_s(self, held: InForce) -> float:
        if held.until is None:
            return LOOK_EVERY_S
        return min(LOOK_EVERY_S, max(0.001, (held.until - self._clock.utc_now()).total_seconds()))


def told(held: InForce) -> dict[str, Any]:
    """The limits in force, their end and its time zone, with the names that the log and `status` use."""
    limits, until = held.limits, held.until
    return {
        "pause": limits.is_paused,
        "calls_per_minute": limits.calls_per_minute,
        "concurrency": limits.concurrency,
        "until": until.isoformat(timespec="minutes") if until else None,
        "time_zone": str(until.tzinfo) if until else None,
    }


def in_words(held: InForce) -> str:
    """The limits in force and their end, for people: "sending pauses until 2026-11-23 18:00 (Europe/Berlin)"."""
    until = held.until
    return held.limits.in_words() + (f" until {until:%Y-%m-%d %H:%M} ({until.tzinfo})" if until else "")
