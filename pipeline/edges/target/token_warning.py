"""Warns in the log of a token that ends: each process once, and a service once a day."""

from datetime import date

import structlog

from pipeline.core.target.token_life import days_left, in_words, is_ending

log = structlog.get_logger()


def warn_of_token(expires: date | None, today: date) -> None:
    """Log a warning if the token ends within 10 days, or has ended."""
    if expires is not None and is_ending(expires, today):
        log.warning(
            "token_expires",
            days_left=days_left(expires, today),
            on=expires.isoformat(),
            told=f"the token {in_words(expires, today)}",
            to_do="make a new one in Target, put it into [target] token_file, and set [target] token_expires anew",
        )
