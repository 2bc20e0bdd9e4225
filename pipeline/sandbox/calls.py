"""The calls a sandbox answers, as values."""

from dataclasses import dataclass
from enum import Enum

from pipeline.sandbox.acceptance import ApiVersion
from pipeline.sandbox.faults import Fault

#: Calls counted at `/sandbox/state`; throttled and unauthorised ones are counted by their kind as well.
COUNTED = ("posts", "statuses", "profile_reads", "throttled", "unauthorised")


class Denial(Enum):
    """Why a call is answered before anyone looks at it."""

    THROTTLED = "throttled"
    UNAUTHORISED = "unauthorised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One POST of a batch as it arrived, and the fault it meets: the `number`th of the plan."""

    client_code: str
    api_version: ApiVersion
    content_type: str
    content_encoding: str | None
    body: bytes | bytearray
    number: int
    fault: Fault | None
