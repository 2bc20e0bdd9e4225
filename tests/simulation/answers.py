"""How Target answers, by a word for it."""

from pipeline.core.target.replies import (
    Accepted,
    Ambiguous,
    Incomplete,
    PostOutcome,
    Refused,
    StatusLost,
    StatusOutcome,
    StatusUnavailable,
    Stuck,
    Throttled,
    Unauthorized,
    Unreachable,
)
from tests.simulation.client import Client


def post_outcome(client: Client, batch_id: int, word: str) -> PostOutcome:
    """What Target makes of an attempt, and what of that is heard. `failed` and `not consumed` is then its first id."""
    match word:
        case "throttled":
            return Throttled()
        case "unreachable":
            return Unreachable("no route")
        case "token":
            return Unauthorized(401, is_final=False)
        case "token for good":
            return Unauthorized(403)
        case "lost":
            return Ambiguous("lost before it was taken")
        case "lost after":
            client.note_cut_off(batch_id, is_taken=True)
            return Ambiguous("lost after it was taken")
    # One row is refused for its poison only: a row rejected for nothing would say nothing about its id.
    rows = client.bodies[batch_id].rows
    if client.is_refused(batch_id) or (word == "refused" and len(rows) > 1):
        return Refused("no")
    copy = client.accept(batch_id, is_followed=True)
    first = frozenset([min(rows)])
    copy.failed = first if word == "failed" else frozenset()
    copy.not_consumed = first if word == "not consumed" else frozenset()
    return Accepted(client.target.url_of(copy))


def status_outcome(client: Client, status_url: str, word: str) -> StatusOutcome:
    """What Target says of a batch that it accepted."""
    match word:
        case "complete":
            return client.target.complete(client.target.copy_at(status_url))
        case "stuck":
            return Stuck()
        case "lost":
            return StatusLost("forgotten")
        case "unavailable":
            return StatusUnavailable("HTTP 500")
        case "throttled":
            return Throttled()
        case "token for good":
            return Unauthorized(403)
    return Incomplete()
