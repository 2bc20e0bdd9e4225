"""The notifications that could not be sent, as the outbox of a state directory has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.edges.notify.outbox import GivenUp, NotTakenYet, Outbox
from pipeline.settings.tenants import Tenant

#: Days for which it is told that a notification was given up. Ours.
_TOLD_DAYS = 7


@dataclass(frozen=True, slots=True)
class NotificationStatus:
    """The notifications that could not be sent.

    `waiting`: the number of those that are still to be sent. `failing`: by receiver (`ROUTE webhook` or
    `ROUTE heartbeat`) since when it takes none, and why. `given_up`: those that nobody took for a day, of a week.
    """

    waiting: int
    failing: Mapping[str, NotTakenYet]
    given_up: tuple[GivenUp, ...]


def notification_status(settings: Tenant, now: datetime) -> NotificationStatus | None:
    """The notifications of a tenant that could not be sent; None if there are none. Blocks."""
    outbox = Outbox(settings.directory)
    notice, since = outbox.notice(), (now - timedelta(days=_TOLD_DAYS)).isoformat(timespec="seconds")
    given_up = tuple(each for each in notice.given_up if each.at >= since)
    if not notice.failing and not given_up:
        return None
    return NotificationStatus(len(outbox.waiting()), notice.failing, given_up)
