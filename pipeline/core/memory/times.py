"""Times as the memory has them: minutes since 1970 (UTC), which take four bytes until the year 10136."""

from datetime import datetime


def minutes_of(at: datetime) -> int:
    """A time, rounded down to the minute."""
    return int(at.timestamp() // 60)
