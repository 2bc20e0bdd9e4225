"""Times as the memory has them: minutes since 1970 (UTC), which take four bytes until the year 10136."""

from datetime import UTC, datetime, timedelta


def minutes_of(at: datetime) -> int:
    """A time, rounded down to the minute."""
    return int(at.timestamp() // 60)


def time_of(minutes: int) -> datetime:
    """The time of which `minutes_of` made this."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
