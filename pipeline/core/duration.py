"""Times and durations in words, for people."""

from contextlib import suppress
from datetime import UTC, datetime

#: Units from the largest down, and their lengths in seconds.
_UNITS = (("days", 86_400), ("h", 3_600), ("min", 60))


def roughly(seconds: float) -> str:
    """A duration in the largest unit of which it has at least two, such as `90 s`, `5 min`, `30 h` or `3 days`."""
    for unit, length in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def time_in_words(text: str) -> str:
    """A time in ISO 8601 to the second, for people; anything else as it stands."""
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
        return f"{at.astimezone(UTC) if at.tzinfo else at:%Y-%m-%d %H:%M:%S} UTC"
    return text
