"""Numbers as people read them: sizes, shares, durations and times, the same on every page."""

from datetime import UTC, datetime


def size_in_words(count: int) -> str:
    """A number of bytes, such as `1.2 MB`."""
    if count < 1_000:
        return f"{count} B"
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next(f"{count / factor:,.1f} {unit}" for factor, unit in units if count >= factor)


def share_in_words(count: int, whole: int) -> str:
    """A share of a whole: never 0.0 % for what exists, and 100.0 % only for all; empty for nothing."""
    if not count or not whole:
        return ""
    percent = 100 * count / whole
    if count < whole:
        percent = min(percent, 99.9)
    return f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"


def duration_in_words(of_seconds: float) -> str:
    """A duration in its two largest units, such as `1 h 21 min`."""
    seconds = max(0, int(of_seconds))
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def time_on_page(at: datetime) -> str:
    """A time to the second, such as `23 November 2026, 02:14:00 UTC`."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%B %Y, %H:%M:%S} UTC"


def short_time(at: datetime) -> str:
    """A time to the minute, for tables, such as `23 Nov 02:14`."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b %H:%M}"


def time_ago(at: datetime, now: datetime) -> str:
    """The time since then, such as `5 min ago`; `just now` below a minute, and where the clock was set back."""
    seconds = (now - at).total_seconds()
    if seconds < 60:
        return "just now"
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return "1 min ago"
