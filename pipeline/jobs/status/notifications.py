"""Notifications about jobs: kept when a job ends, sent when the ledger knows that it has."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import structlog

from pipeline.core.batches.report import Report
from pipeline.core.errors import FatalError, PipelineError
from pipeline.core.notifications.events import HEARTBEAT, TOLD_STATES
from pipeline.core.notifications.notification import Notification
from pipeline.edges.host import Host
from pipeline.edges.notify.outbox import Outbox, Sorted
from pipeline.edges.notify.receiver import Receiver
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.edges.store.records import JobRecord
from pipeline.jobs.ending import tell_unexpected
from pipeline.jobs.job import Job
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Tenant

log = structlog.get_logger()

#: Seconds for which a process that is about to end goes on sending. Ours: what is left is sent by the next one.
LAST_SEND_S = 5.0
_NOT_ENDED = ""


async def keep_notifications(job: Job, report: Report) -> None:
    """Keep what is to be told of a job whose run has ended so; of a trial nothing is.

    Called before its end is durable, so that no crash loses it; it is told only then.
    """
    if job.settings.notify.is_used and not job.host.is_with_sandbox:
        await job.state.in_turn(enter_state, job.state.directory, job.settings, job.record.route, report)


def enter_state(directory: Path, settings: Settings, route: str, report: Report) -> None:
    """Keep what is to be told of a job, if anybody wants to hear of its state. Blocks.

    `directory`: the state directory. `settings`: those of the job's route. A disk that refuses it must not keep a job
    from its end.
    """
    for notification in _about(settings, route, report):
        try:
            Outbox(directory).enter(notification)
        except FatalError as error:
            log.warning("notification_not_kept", notification=notification.id, of=notification.event, why=str(error))


def _about(settings: Settings, route: str, report: Report) -> Iterator[Notification]:
    notify, state = settings.notify, str(report.state)
    if notify.has_webhook and state in TOLD_STATES and state in notify.events:
        yield Notification.of_job(report, route)
    if notify.heartbeat_url and state == "done":
        yield Notification.heartbeat(report, route)


def receiver_of(settings: Tenant, notification: Notification) -> Receiver | None:
    """Whoever is to get a notification, as the settings of its route have it now; None if nobody is."""
    of_route = settings.routes.get(notification.route)
    if of_route is None:
        return None
    notify, ca_file = of_route.notify, of_route.target.ca_file
    if notification.event == HEARTBEAT:
        url = notify.heartbeat_url
        return Receiver(notification.route, "heartbeat", url, ca_file=ca_file) if url else None
    if not notify.has_webhook:
        return None
    return Receiver(
        notification.route,
        "webhook",
        notify.webhook,
        url_file=notify.webhook_file,
        secret_file=notify.secret_file,
        form=notify.format,
        ca_file=ca_file,
    )


def sort_by_ledger(directory: Path, notifications: list[Notification]) -> Sorted:
    """The notifications of which the ledger of a state directory knows that it is so; and those that never will be.

    A job may have ended otherwise than its run was about to end it when it was killed. While the ledger cannot be read,
    those about jobs wait. Blocks.
    """
    without_job = [each for each in notifications if not each.job]
    about_jobs = [each for each in notifications if each.job]
    if not about_jobs:
        return without_job, []
    try:
        ledger = read_ledger(directory / "ledger.db")
        if ledger is None:
            return without_job, []
        with closing(ledger):
            states = {each.id: _state_of(ledger.job(each.job)) for each in about_jobs}
    except FatalError:
        # Whoever works with the ledger says so.
        return without_job, []
    so = [each for each in about_jobs if states[each.id] == _wanted(each)]
    never = [each for each in about_jobs if states[each.id] not in (_wanted(each), _NOT_ENDED)]
    return [*without_job, *so], never


def _state_of(record: JobRecord | None) -> str:
    return "unknown" if record is None else record.state or _NOT_ENDED


def _wanted(notification: Notification) -> str:
    """The state of its job of which a notification tells."""
    return "done" if notification.event == HEARTBEAT else notification.event


async def send_last(directory: Path, settings: Tenant, host: Host, *, limit_s: float = LAST_SEND_S) -> None:
    """Send what waits in the outbox of a state directory, once, as far as it goes within `limit_s`."""
    if not any(each.notify.is_used for each in settings.routes.values()):
        return
    # Imported late: this is the library that calls receivers.
    from pipeline.edges.notify.queue import NotificationQueue

    queue = NotificationQueue(Outbox(directory), host.clock, partial(sort_by_ledger, directory), limit_s=limit_s)
    try:
        with anyio.move_on_after(limit_s + 1.0):
            await queue.send(partial(receiver_of, settings))
    except PipelineError as error:
        log.warning("notifications_not_sent", why=str(error))
    except Exception as error:  # noqa: BLE001 - what was loaded is loaded
        tell_unexpected(error)
