"""Time, randomness and sleeping, as the rest of the program gets them passed in."""

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
    """Seconds of a monotonic clock, the time of day, sleeping for seconds, and random numbers in [0, 1)."""

    monotonic: Callable[[], float] = time.monotonic
    utc_now: Callable[[], datetime] = _utc_now
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    random: Callable[[], float] = random.random
