"""The calls that a sandbox answers, as values."""

from dataclasses import dataclass
from enum import Enum

from pipeline.sandbox.acceptance import ApiVersion
from pipeline.sandbox.faults import Fault

#: Calls counted at `/sandbox/state`; throttled and unauthorised ones are counted by their kind as well.
COUNTED = ("posts", "statuses", "profile_reads", "throttled", "unauthorised")


class Denial(Enum):
    """The reason why a call is turned away before it is read."""

    THROTTLED = "throttled"
    UNAUTHORISED = "unauthorised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One POST of a batch as it arrived.

    `number`: its place in the plan of faults.
    `fault`: the fault that it meets, or None.
    """

    client_code: str
    api_version: ApiVersion
    content_type: str
    content_encoding: str | None
    body: bytes | bytearray
    number: int
    fault: Fault | None
