"""The names of Target's answers, by which they are counted: a closed list of each kind."""

from pipeline.core.target.replies import (
    Accepted,
    Ambiguous,
    Complete,
    Incomplete,
    PostOutcome,
    Refused,
    StatusLost,
    StatusOutcome,
    StatusUnavailable,
    Stuck,
    Throttled,
    Unauthorized,
    Uncounted,
    Unreachable,
    WrongAddress,
)

POST_OUTCOMES: dict[type[PostOutcome], str] = {
    Accepted: "accepted",
    Refused: "refused",
    Throttled: "throttled",
    Unreachable: "unreachable",
    Unauthorized: "unauthorized",
    WrongAddress: "wrong_address",
    Ambiguous: "ambiguous",
}
STATUS_OUTCOMES: dict[type[StatusOutcome], str] = {
    Complete: "complete",
    Incomplete: "incomplete",
    Stuck: "stuck",
    Uncounted: "uncounted",
    StatusLost: "lost",
    StatusUnavailable: "unavailable",
    Unauthorized: "unauthorized",
    Throttled: "throttled",
}
