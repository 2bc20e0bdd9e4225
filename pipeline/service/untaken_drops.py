"""The drops that wait, and those that cannot be taken: what `status` and `health` are told, and the next try."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from anyio.to_thread import run_sync

from pipeline.core.drop.signals import shown
from pipeline.edges.clock import Clock
from pipeline.edges.exports import Identity
from pipeline.edges.store.notices import DropNotice, NotTaken, WaitingDrop, put_up_drops

#: Time after which it is tried again to take a drop that could not be taken (seconds).
_TAKE_AGAIN_S = 60.0
#: The most drops of a kind that the notice names.
_MOST_NOTED = 20
#: The same for the heartbeat, in which a few KB have room.
_MOST_UNTOLD = 3

#: A signal: its route and path.
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Failure:
    """A drop that could not be taken, though nothing seemed to be in the way, and when that is tried again."""

    why: str
    identities: tuple[Identity, ...]
    again_at_s: float


class UntakenDrops:
    """The drops that are not taken, with the reasons.

    `waiting`: the drop that is awaited, if any; all others wait behind it.
    """

    def __init__(self, state: Path, clock: Clock) -> None:
        self.waiting: WaitingDrop | None = None
        self._state = state
        self._clock = clock
        self._failures: dict[_Key, _Failure] = {}
        self._not_taken: dict[_Key, NotTaken] = {}
        self._told: DropNotice | None = None
        self._is_put_up = True

    @property
    def untold(self) -> DropNotice | None:
        """The first of the drops that the disk does not take: the heartbeat has room for them. None if it takes all."""
        if self._is_put_up or self._told is None:
            return None
        return DropNotice(self._told.drops_waiting, self._told.drops_not_taken[:_MOST_UNTOLD])

    @property
    def reasons(self) -> dict[_Key, str]:
        """The reasons of drops that cannot be taken, as they were told last."""
        return {key: each.why for key, each in self._not_taken.items()}

    def fail(self, key: _Key, identities: tuple[Identity, ...], why: str) -> None:
        """Note that a drop could not be taken."""
        self._failures[key] = _Failure(why, identities, self._clock.monotonic() + _TAKE_AGAIN_S)

    def failure_of(self, key: _Key, identities: tuple[Identity, ...]) -> str | None:
        """The reason of a drop that could not be taken a moment ago, and is as it was: it is not tried again yet."""
        failure = self._failures.get(key)
        is_still_so = failure is not None and failure.identities == identities
        return failure.why if failure and is_still_so and self._clock.monotonic() < failure.again_at_s else None

    def wait(self, key: _Key, why: str, *, since_s: float, wait_s: float) -> None:
        """Note the drop that is awaited.

        `since_s`: the time since which it is, in seconds of the monotonic clock. `wait_s`: seconds until it is taken or
        fails, unless it changes.
        """
        before = self._told.drops_waiting[0] if self._told and self._told.drops_waiting else None
        name = shown(key[1])
        if before and (before.name, before.why) == (name, why) and self._utc_in(0.0) < before.until:
            # An export that grows puts the end off at each look: that is told when the time that was told is over.
            self.waiting = before
        else:
            since = self._utc_in(since_s - self._clock.monotonic())
            self.waiting = WaitingDrop(name, why, since, self._utc_in(wait_s))

    async def tell(self, not_taken: Mapping[_Key, str]) -> None:
        """Renew the notice in the state directory if it is to say something else.

        `not_taken`: all drops that cannot be taken, with the reasons; those that were told before keep their times.
        """
        self._not_taken = {key: self._named(key, why) for key, why in not_taken.items()}
        self._failures = {key: failure for key, failure in self._failures.items() if key in not_taken}
        waiting = () if self.waiting is None else (self.waiting,)
        told = DropNotice(waiting, tuple(self._not_taken.values())[:_MOST_NOTED])
        if told != self._told or not self._is_put_up:
            self._is_put_up = await run_sync(put_up_drops, self._state, told)
            self._told = told

    def _named(self, key: _Key, why: str) -> NotTaken:
        before = self._not_taken.get(key)
        return NotTaken(shown(key[1]), why, before.since if before else self._utc_in(0.0))

    def _utc_in(self, seconds: float) -> str:
        return (self._clock.utc_now() + timedelta(seconds=seconds)).isoformat(timespec="seconds")
