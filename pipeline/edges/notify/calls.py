"""One call to a receiver of notifications: over the same proxy and certificates as the calls to Target.

Nothing of an answer is read but its status, no redirect is followed, and a call ends after `LIMIT_S`, whatever the
receiver does. Why it failed is told in our words: neither URL nor answer is quoted.
"""

import asyncio

import aiohttp
from anyio.to_thread import run_sync

from pipeline import __version__
from pipeline.core.errors import ConfigurationError
from pipeline.core.notifications.notification import Notification
from pipeline.core.notifications.signature import ID_HEADER, SIGNATURE_HEADER, signature
from pipeline.edges.clock import Clock
from pipeline.edges.notify.receiver import NotTaken, Receiver
from pipeline.edges.notify.secret_files import read_signing_secret, read_webhook
from pipeline.edges.secrets import keep_out_of_log
from pipeline.edges.target.authorities import trusting
from pipeline.edges.target.session import open_session, wrong_with_connection

#: Seconds for a call, from the name of the host to the status of the answer. Ours: chats answer within one.
LIMIT_S = 10.0
#: Answers that say "later" (RFC 9110 and 6585): others above 299 are about this notification or its URL.
_LATER = (408, 425, 429)


async def call(
    receiver: Receiver, notification: Notification, clock: Clock, *, limit_s: float = LIMIT_S
) -> NotTaken | None:
    """Send a notification. None if the receiver took it: it answered with a status from 200 to 299."""
    try:
        async with asyncio.timeout(limit_s):
            return _judged(await _status(receiver, notification, clock))
    except TimeoutError:
        return NotTaken(f"no answer within {limit_s:g} s")
    except ConfigurationError as error:
        return NotTaken(str(error))
    except (OSError, aiohttp.ClientError, ValueError) as error:
        return NotTaken(wrong_with_connection(error) or "no connection, or no answer that is HTTP")


def _judged(status: int) -> NotTaken | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return NotTaken(
            f"it answers HTTP {status}, and redirects are not followed: name the URL they lead to", is_refused=True
        )
    return NotTaken(f"it answers HTTP {status}", is_refused=400 <= status < 500 and status not in _LATER)


async def _status(receiver: Receiver, notification: Notification, clock: Clock) -> int:
    url = await run_sync(read_webhook, receiver.url_file) if receiver.url_file else receiver.url
    keep_out_of_log(url)
    tls = await run_sync(trusting, receiver.ca_file)
    async with open_session(url, tls=tls) as session:
        if receiver.kind == "heartbeat":
            async with session.get(url, allow_redirects=False) as answer:
                return answer.status
        body = notification.body(receiver.form, __version__)
        headers = {"Content-Type": "application/json", ID_HEADER: notification.id}
        if receiver.secret_file:
            secret = await run_sync(read_signing_secret, receiver.secret_file)
            headers[SIGNATURE_HEADER] = signature(secret, int(clock.utc_now().timestamp()), body)
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            return answer.status
