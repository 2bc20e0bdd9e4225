"""Keeps what a service does besides its jobs going: a bug in one look is logged, and the look tried again later."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.edges.clock import Clock
from pipeline.jobs.ending import tell_unexpected

#: Seconds until what met a bug is tried again, and told again; they double each time, up to the second value. Ours.
_AGAIN_S, _MOST_S = 60.0, 3_600.0


@dataclass(frozen=True, slots=True)
class Failing:
    """Something that met a bug, `times` in a row; told last at `told_at_s`, and first at `since` (UTC, ISO 8601)."""

    times: int
    since: str
    told_at_s: float

    @property
    def again_in_s(self) -> float:
        """Seconds until it is told again."""
        return min(_AGAIN_S * 2.0 ** min(self.times - 1, 10), _MOST_S)


class Upkeep:
    """The tasks of a service that are of no job, by what they do, in words."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failing: dict[str, Failing] = {}

    @property
    def failing(self) -> list[dict[str, Any]]:
        """Everything that met a bug and did not go well since, for the heartbeat: what, how often, since when."""
        return [{"what": what, "times": each.times, "since": each.since} for what, each in self._failing.items()]

    async def keep(self, what: str, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task; begin it anew some time after it met a bug. It says by `note_well` that it went well."""
        while True:
            try:
                await task()
            except PipelineError:
                raise
            except Exception as error:  # noqa: BLE001 - the service goes on, whatever it is
                self.note(what, error)
            else:
                return
            await self._clock.sleep(self._failing[what].again_in_s)

    def note(self, what: str, error: Exception) -> None:
        """Note a bug, and log it unless that was done a moment ago. Called where the error is handled."""
        now, before = self._clock.monotonic(), self._failing.get(what)
        if before is None:
            since = self._clock.utc_now().isoformat(timespec="seconds")
            self._failing[what] = Failing(1, since, now)
        elif now - before.told_at_s < before.again_in_s:
            return
        else:
            self._failing[what] = Failing(before.times + 1, before.since, now)
        tell_unexpected(error)

    def note_well(self, what: str) -> None:
        """Note that something went well."""
        self._failing.pop(what, None)
