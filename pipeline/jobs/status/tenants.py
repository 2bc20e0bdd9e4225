"""The status of all tenants, and of what no tenant has any more."""

from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.core.errors import FatalError
from pipeline.core.plain import plain
from pipeline.edges.lock import holder
from pipeline.edges.notify.told_file import read_told
from pipeline.edges.store.heartbeat_file import read_beat
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.edges.store.notices import HoldUps, drops_of, pause_of
from pipeline.jobs.open_state import tenants_about, without_route
from pipeline.jobs.status.drop import RouteStatus, drop_status
from pipeline.jobs.status.expected import days_due, missing_days, overdue_exports
from pipeline.jobs.status.not_sent import notification_status
from pipeline.jobs.status.tenant import Status, status
from pipeline.settings.tenants import Configuration


@dataclass(frozen=True, slots=True)
class LeftStatus:
    """A state directory with unfinished jobs of a client code that has no route any more."""

    client_code: str
    state_directory: str
    unfinished: int


@dataclass(frozen=True, slots=True)
class Statuses:
    """The status of all tenants, and the state directories with unfinished jobs that no tenant has any more."""

    tenants: tuple[Status, ...]
    without_route: tuple[LeftStatus, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; a single tenant's status stands by itself, not in a list."""
        told = [one.as_json() for one in self.tenants]
        whole = told[0] if len(told) == 1 else {"client_codes": told}
        if not self.without_route:
            return whole
        return {**whole, "without_route": plain(self.without_route)}


def statuses(
    configuration: Configuration,
    job_id: str | None,
    now: datetime,
    *,
    since: datetime | None = None,
    is_all: bool = False,
) -> Statuses:
    """The status of all tenants; with `job_id` of the tenant that has the job, and of that job alone. Blocks.

    `since`: jobs that ended then or later. `is_all`: all jobs. By default the latest.
    """
    told = []
    for tenant in tenants_about(configuration, job_id):
        ledger = read_ledger(tenant.directory / "ledger.db")
        with closing(ledger) if ledger else nullcontext():
            one = status(ledger, job_id, tenant.settings, now, holder(tenant.directory), since=since, is_all=is_all)
            if job_id is None:
                noted = read_told(tenant.directory)
                one = replace(
                    one,
                    overdue=overdue_exports(tenant, ledger, days_due(tenant, noted, now)),
                    missing=missing_days(tenant, ledger, noted, now),
                    notifications=notification_status(tenant, now),
                )
        one = _with_untold(one, configuration.root)
        if configuration.has_routes and job_id is None:
            routes = tuple(
                RouteStatus(name, drop_status(of, tenant.directory if one.held_by else None, now))
                for name, of in tenant.routes.items()
            )
            one = replace(one, drop=None, routes=routes)
        told.append(one)
    left = {} if job_id is not None else without_route(configuration)
    return Statuses(
        tuple(told),
        tuple(LeftStatus(owner.client_code, str(directory), owner.unfinished) for directory, owner in left.items()),
    )


def _with_untold(one: Status, root: Path) -> Status:
    """A status with the notices that the disk did not take: the heartbeat of the service has them."""
    try:
        beat = read_beat(root) if one.held_by else None
    except FatalError:
        return one
    notices = beat.notices.get(one.client_code, {}) if beat else {}
    pause, held_up = pause_of(notices.get("pause")), HoldUps.of(notices.get("sending"))
    drops = drops_of(notices.get("drops")).drops_not_taken
    if drops and one.drop is not None:
        one = replace(one, drop=replace(one.drop, not_taken=drops))
    return replace(
        one,
        paused_by_itself=pause or one.paused_by_itself,
        held_up=one.held_up if held_up == HoldUps() else held_up,
        log_lines_dropped=beat.log_lines_dropped if beat else 0,
    )
