"""Checks who is told of what: the files of [notify], and if asked for by a test that is sent; and what is expected."""

import os
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from anyio.to_thread import run_sync

from pipeline.cli.config.mapping_check import Verdict
from pipeline.core.errors import ConfigurationError
from pipeline.core.notifications.events import TEST
from pipeline.core.notifications.notification import Notification
from pipeline.edges.clock import Clock
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Tenant

#: Subject, verdict and words, as those of a `Finding`.
Found = tuple[str, Verdict, str]


async def check_notify(settings: Settings, route: str, *, is_to_send: bool) -> list[Found]:
    """The findings about [notify] of a route; with `is_to_send` a test is sent to its webhook."""
    # Imported late: this is the library that calls receivers.
    from pipeline.edges.notify.secret_files import read_signing_secret, read_webhook

    notify = settings.notify
    found = []
    if notify.webhook_file:
        found.append(await run_sync(_file, "[notify] webhook_file", notify.webhook_file, read_webhook))
    if notify.secret_file:
        found.append(await run_sync(_file, "[notify] secret_file", notify.secret_file, read_signing_secret))
        if not notify.has_webhook:
            found.append(("[notify] secret_file", "warning", "nothing is posted that it could sign: set webhook too"))
    if not is_to_send or any(verdict == "problem" for _, verdict, _ in found):
        return found
    if notify.has_webhook:
        found.append(await _send_test(settings, route))
    if notify.heartbeat_url:
        found.append(await _reach_heartbeat(settings))
    if not notify.is_used:
        found.append(("[notify]", "warning", "nobody is told of anything: set webhook, and try again"))
    return found


def _file(subject: str, file: Path, read: Callable[[Path], object]) -> Found:
    try:
        read(file)
        info = file.stat()
    except (ConfigurationError, OSError) as error:
        return subject, "problem", str(error)
    # A file of another owner may be readable by its group: Kubernetes gives secrets to non-root users in this way.
    too_open = stat.S_IROTH | (stat.S_IRGRP if info.st_uid == os.geteuid() else 0)
    if info.st_mode & too_open:
        mode = stat.S_IMODE(info.st_mode)
        return subject, "warning", f"{file} can be read by other users (mode {mode:04o}): chmod 600 {file}"
    return subject, "ok", f"{file} can be used"


async def _send_test(settings: Settings, route: str) -> Found:
    from pipeline.edges.notify.calls import call
    from pipeline.jobs.status.notifications import receiver_of

    clock, subject = Clock(), "[notify] webhook"
    at = clock.utc_now()
    code = settings.target.client_code
    text = f"{code}: a test of notifications; nothing has happened."
    test = Notification(f"test-{at:%Y%m%dT%H%M%SZ}-{route}", TEST, at.isoformat(timespec="seconds"), code, route, text)
    receiver = receiver_of(Tenant({route: settings}, settings.state.directory), test)
    if receiver is None:
        return subject, "problem", "nobody is told"
    outcome = await call(receiver, test, clock)
    # The host in a file is not shown either.
    where = f"{urlsplit(settings.notify.webhook).hostname}: " if settings.notify.webhook else ""
    if outcome is not None:
        return subject, "problem", f"{where}{outcome.why}"
    return subject, "ok", f"{where}took a test"


async def _reach_heartbeat(settings: Settings) -> Found:
    from aiohttp import ClientError

    from pipeline.edges.target.reach import reach
    from pipeline.edges.target.session import wrong_with_connection

    subject, url = "[notify] heartbeat_url", settings.notify.heartbeat_url
    host = urlsplit(url).hostname
    try:
        await reach(url, ca_file=settings.target.ca_file, limit_s=10.0)
    except (OSError, ClientError, ValueError, ConfigurationError) as error:
        return subject, "problem", f"{host}: {wrong_with_connection(error) or 'no connection'}"
    return subject, "ok", f"{host}: connected, and not called: a call says that a job is done"


def check_expect(settings: Settings, now: datetime) -> list[Found]:
    """The findings about [expect] of a route."""
    subject, expectation = "[expect] by", settings.expect.expectation
    if expectation is None:
        return []
    if settings.drop.directory is None:
        return [(subject, "warning", "no export can come: a route without [drop] directory expects none")]
    due = expectation.next_due(now).due.astimezone(expectation.zone)
    return [(subject, "ok", f"the next export has to be done by {due:%Y-%m-%d %H:%M} ({settings.expect.time_zone})")]
