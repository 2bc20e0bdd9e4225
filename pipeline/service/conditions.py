"""Conditions that last, and what is told of them: nothing can be sent, or an export is overdue."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from pipeline.core.duration import time_in_words
from pipeline.core.notifications.notification import Notification
from pipeline.core.notifications.wording import of_overdue, of_pause, of_recovery
from pipeline.edges.notify.told_file import ToldOf
from pipeline.edges.store.notices import HoldUps, Pause
from pipeline.jobs.status.expected import OverdueExport, expectation_of
from pipeline.settings.tenants import Tenant

log = structlog.get_logger()

#: Seconds for which Target gives no usable answer before that is told. Ours: most such times are over by then.
AWAY_TOLD_AFTER_S = 900.0
_PAUSED, _AWAY = "paused", "away"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as it is now.

    `mark`: what tells it from another one of the same name. `since`: UTC in ISO 8601. `route`: empty for the whole
    client code.
    """

    mark: str
    since: str
    why: str | None = None
    route: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    overdue: OverdueExport | None = None

    def notifications(self, settings: Tenant, now: datetime) -> list[Notification]:
        """The notifications of its beginning."""
        if (late := self.overdue) is not None:
            text = of_overdue(settings.client_code, self.route, late.by, late.why)
            routes = [self.route] if _wants(settings, self.route, "overdue") else []
            return [_made(settings, f"overdue-{late.day}", "overdue", route, text, self.facts, now) for route in routes]
        text = of_pause(settings.client_code, time_in_words(self.since), self.why)
        name = f"paused-{_compact(self.since)}"
        return [_made(settings, name, "paused", route, text, self.facts, now) for route in _all(settings, "paused")]

    def log(self) -> None:
        """Log it, if nothing else does."""
        if (late := self.overdue) is not None:
            log.warning("export_overdue", route=late.route, day=late.day, by=late.by, why=late.why)


def conditions_of(
    settings: Tenant, pause: Pause | None, hold_ups: HoldUps, late: tuple[OverdueExport, ...], now: datetime
) -> dict[str, Condition]:
    """By name the conditions that hold now."""
    found = {f"overdue {each.route}": _of_overdue(each) for each in late if each.route in settings.routes}
    if pause is not None:
        facts = {"why": pause.why, "since": pause.since, "job": pause.job or None, "exit_code": pause.exit_code}
        found[_PAUSED] = Condition(str(pause.exit_code), pause.since, pause.why, facts={"pause": facts})
    if hold_ups.away_since and _age_s(hold_ups.away_since, now) >= AWAY_TOLD_AFTER_S:
        why = f"Target gives no usable answer, the last was: {hold_ups.last_answer}"
        facts = {"why": why, "since": hold_ups.away_since, "job": None, "exit_code": None}
        found[_AWAY] = Condition(_AWAY, hold_ups.away_since, why, facts={"pause": facts})
    return found


def recovery_of(settings: Tenant, before: ToldOf, now: datetime) -> list[Notification]:
    """The notifications that a condition is over, and a line of the log for an export."""
    facts = {"recovered": {"from": "overdue" if before.route else "paused", "since": before.since}}
    since = time_in_words(before.since)
    if not before.route:
        text = of_recovery(settings.client_code, "default", f"sending goes on; it was paused since {since}")
        name = f"recovered-{_compact(before.since)}"
        return [_made(settings, name, "recovered", to, text, facts, now) for to in _all(settings, "recovered")]
    of_route = settings.routes.get(before.route)
    if of_route is None or expectation_of(of_route) is None:
        # Nobody expects it any more.
        return []
    log.info("export_no_longer_overdue", route=before.route, day=before.mark)
    if not _wants(settings, before.route, "recovered"):
        return []
    text = of_recovery(settings.client_code, before.route, f"an export is done; it was overdue since {since}")
    return [_made(settings, f"recovered-{before.mark}", "recovered", before.route, text, facts, now)]


def _of_overdue(late: OverdueExport) -> Condition:
    facts = {"expected": {"day": late.day, "due_at": late.due_at, "why": late.why}}
    return Condition(late.day, late.due_at, late.why, late.route, facts, late)


def _made(
    settings: Tenant, name: str, event: str, route: str, text: str, facts: Mapping[str, Any], now: datetime
) -> Notification:
    at = now.astimezone(UTC).isoformat(timespec="seconds")
    return Notification(f"{name}-{route}", event, at, settings.client_code, route, text, dict(facts))


def _wants(settings: Tenant, route: str, event: str) -> bool:
    notify = settings.routes[route].notify
    return notify.has_webhook and event in notify.events


def _all(settings: Tenant, event: str) -> Iterator[str]:
    """The routes by whose settings something is told that is about all of them: one for each receiver."""
    seen = set()
    for route, of_route in settings.routes.items():
        receiver = of_route.notify.webhook, of_route.notify.webhook_file
        if _wants(settings, route, event) and receiver not in seen:
            seen.add(receiver)
            yield route


def _age_s(since: str, now: datetime) -> float:
    try:
        return (now - datetime.fromisoformat(since)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _compact(time: str) -> str:
    """A time in ISO 8601 as a part of an id: `20261130T021400Z`."""
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
