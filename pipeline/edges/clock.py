"""The clock: time, sleeping and randomness, which the rest of the program gets passed in."""

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of a run; a test passes its own.

    `monotonic`: seconds of a monotonic clock.
    `utc_now`: the time of day.
    `sleep`: sleeps for seconds.
    `random`: a random number in [0, 1).
    """

    monotonic: Callable[[], float] = time.monotonic
    utc_now: Callable[[], datetime] = _utc_now
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    random: Callable[[], float] = random.random
