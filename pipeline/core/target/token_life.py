"""The life of a bearer token, as `[target] token_expires` tells it: days left, and when to warn."""

from datetime import date

from pipeline.core.plural import counted

#: Days before the end from which on there are warnings: time to find somebody who may make a token.
WARNED_DAYS = 10


def days_left(expires: date, today: date) -> int:
    """Days until the token expires: 0 on that day, less than 0 behind it."""
    return (expires - today).days


def is_ending(expires: date, today: date) -> bool:
    """True from 10 days before the token expires on, and when it has."""
    return days_left(expires, today) <= WARNED_DAYS


def in_words(expires: date, today: date) -> str:
    """The end of the token as it stands behind "the token"."""
    days = days_left(expires, today)
    if days < 0:
        return f"expired {counted(-days, 'day')} ago, on {expires}"
    return f"expires in {counted(days, 'day')}, on {expires}" if days else f"expires today, {expires}"
