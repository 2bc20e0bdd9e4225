"""The answers of Target, as text.

Assumed, since no page shows them: the answer for a batch whose status is unknown or forgotten (`NOT_FOUND`); that rows
without a value count as consumed and as nothing else; that an unfinished batch shows counts of 0.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from pipeline.sandbox.acceptance import Accepted, BatchState
from pipeline.sandbox.options import SandboxOptions
from pipeline.sandbox.profiles import Profile

_SHOWN = {BatchState.WAITING: "incomplete", BatchState.APPLIED: "complete", BatchState.STUCK: "stuck"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: An answer that is no XML, and no text in the encoding that it claims.
GARBAGE = b"<html><body><h1>Service temporarily \xff\xfe</h1><response><success>true</success"


def accepted(status_url: str, *, raw_ampersand: bool) -> str:
    """The answer for a queued batch. With `raw_ampersand` the URL is not escaped, and the answer no well-formed XML."""
    url = status_url if raw_ampersand else escape(status_url)
    return (
        f"<response><success>true</success><batchStatus>{url}</batchStatus>"
        "<message>Batch submitted for processing</message></response>"
    )


def refused(message: str) -> str:
    """The answer for a batch that was not taken; it has no batch id."""
    return f"<response><success>false</success><message>{_text(message)}</message></response>"


def status_path_and_query(batch: Accepted, options: SandboxOptions) -> tuple[str, dict[str, str]]:
    """The path and query at which the status of a batch can be asked for, on whatever host."""
    version = "/v2" if options.status_with_v2 and batch.submission.api_version == "v2" else ""
    path = f"/m2/{options.client_code}{version}/profile/batchStatus"
    return path, {"batchId": batch.batch_id, "m2Node": batch.node}


def status(batch: Accepted, *, details: bool) -> str:
    """The status of a batch; with `details` also its counts and its failed ids."""
    shown = _SHOWN[batch.state]
    parts = [
        f"<response><batchId>{batch.batch_id}</batchId><status>{shown}</status><batchSize>{batch.rows}</batchSize>"
    ]
    if details:
        done = batch.applied if batch.state is BatchState.APPLIED else None
        parts.append(
            f"<consumedCount>{batch.rows if done else 0}</consumedCount>"
            f"<successfulUpdates>{done.successful if done else 0}</successfulUpdates>"
            f"<profilesNotFound>{done.not_found if done else 0}</profilesNotFound>"
            f"<failedUpdates>{batch.failed if done else 0}</failedUpdates>"
        )
        failed_ids = batch.failed_ids if done else ()
        parts += (f"<profile><id>{_text(i)}</id><status>failed</status></profile>" for i in failed_ids)
    return "".join([*parts, "</response>"])


def profile(client_code: str, visitor_id: str, found: Profile) -> Mapping[str, object]:
    """The answer for a profile."""
    return {
        "client": client_code,
        "visitorId": visitor_id,
        "modifiedAt": _timestamp(found.modified_at_ms),
        "profileAttributes": {
            name: {"value": value, "modifiedAt": _timestamp(found.modified_ms(name))}
            for name, value in found.attributes.items()
        },
    }


def no_profile(client_code: str, id_kind: str, visitor_id: str) -> Mapping[str, object]:
    """The answer if there is no such profile, or no batch with it was applied yet."""
    named = "third party id" if id_kind == "thirdPartyId" else "mboxPC"
    return {"status": 404, "message": f"No profile found for client {client_code} with {named}={visitor_id}"}


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))


def _timestamp(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


#: The status of a batch that is unknown or forgotten, with HTTP 200. The shape is assumed.
NOT_FOUND = refused("Batch not found")
