"""The faults of a Target, on demand and for a named call.

A `FaultPlan` is a pure function from (kind of call, its number) to a fault: the same plan gives the same faults
whatever the timing. Calls are counted from 1 since the plan was set, POSTs and status GETs apart. Calls that are turned
away for the call budget or the token are not counted.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum


class Fault(StrEnum):
    """A fault. For those of a POST, `_taken` and `_lost` tell if the batch was accepted; its sender cannot know."""

    REFUSE = "refuse"
    REFUSE_EMPTY = "refuse_empty"
    HTTP_500 = "http_500"
    HTTP_500_TAKEN = "http_500_taken"
    HTTP_502 = "http_502"
    THROTTLE_503 = "throttle_503"
    THROTTLE_429 = "throttle_429"
    RESET_BEFORE_BODY = "reset_before_body"
    RESET_DURING_BODY = "reset_during_body"
    RESET_AFTER_BODY_LOST = "reset_after_body_lost"
    RESET_AFTER_BODY_TAKEN = "reset_after_body_taken"
    HANG_LOST = "hang_lost"
    HANG_TAKEN = "hang_taken"
    GARBAGE_LOST = "garbage_lost"
    GARBAGE_TAKEN = "garbage_taken"
    STUCK = "stuck"
    SLOW = "slow"
    FAIL_ROWS = "fail_rows"
    STATUS_LOST = "status_lost"
    STATUS_500 = "status_500"
    STATUS_GARBAGE = "status_garbage"
    STATUS_REDIRECT = "status_redirect"
    STATUS_OVERSIZED = "status_oversized"


THROTTLING = frozenset({Fault.THROTTLE_503, Fault.THROTTLE_429})
#: The batch is accepted and the sender gets no usable answer.
TAKEN_UNKNOWN = frozenset({Fault.HTTP_500_TAKEN, Fault.RESET_AFTER_BODY_TAKEN, Fault.HANG_TAKEN, Fault.GARBAGE_TAKEN})
#: The body is read, the batch is not accepted and the sender cannot tell.
LOST_UNKNOWN = frozenset(
    {Fault.HTTP_500, Fault.HTTP_502, Fault.RESET_AFTER_BODY_LOST, Fault.HANG_LOST, Fault.GARBAGE_LOST}
)
STATUS_FAULTS = (
    THROTTLING
    | {Fault.STATUS_LOST, Fault.STATUS_500, Fault.STATUS_GARBAGE, Fault.STATUS_REDIRECT}
    | {Fault.STATUS_OVERSIZED, Fault.RESET_BEFORE_BODY, Fault.HANG_LOST}
)
POST_FAULTS = frozenset(Fault) - {
    Fault.STATUS_500,
    Fault.STATUS_GARBAGE,
    Fault.STATUS_REDIRECT,
    Fault.STATUS_OVERSIZED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """The fault that each call meets: by its number, else by a seeded chance for each fault (at most 1 in all).

    `fail_rows` fails `failing_ids`, or the first `failing_rows` ids if none are named. `stuck_applied_chance`: the
    chance that a stuck batch is applied all the same. `retry_after_s`: the `Retry-After` of a 429.
    `retry_after_503`: that of a 503, if it is to have one.
    """

    posts: Mapping[int, Fault] = field(default_factory=dict)
    statuses: Mapping[int, Fault] = field(default_factory=dict)
    post_chances: Mapping[Fault, float] = field(default_factory=dict)
    status_chances: Mapping[Fault, float] = field(default_factory=dict)
    seed: int = 0
    failing_rows: int = 1
    failing_ids: frozenset[str] = frozenset()
    stuck_applied_chance: float = 0.5
    retry_after_s: int = 1
    retry_after_503: str | None = None
    slow_bytes_s: float = 100_000.0
    oversized_bytes: int = 16 * 2**20

    def __post_init__(self) -> None:
        for name, planned, chances, possible in (
            ("POST", self.posts, self.post_chances, POST_FAULTS),
            ("status GET", self.statuses, self.status_chances, STATUS_FAULTS),
        ):
            for fault in (*planned.values(), *chances):
                if fault not in possible:
                    raise ValueError(f"{fault} is not a fault of a {name}")
            if any(number < 1 for number in planned):
                raise ValueError(f"{name}s are counted from 1")
            if any(chance < 0 for chance in chances.values()) or sum(chances.values()) > 1:
                raise ValueError(f"the chances of a {name}'s faults must be 0 to 1 in all")

    def for_post(self, number: int) -> Fault | None:
        """The fault of the nth POST."""
        return self.posts.get(number) or self._drawn(self.post_chances, f"post {number}")

    def for_status(self, number: int) -> Fault | None:
        """The fault of the nth status GET."""
        return self.statuses.get(number) or self._drawn(self.status_chances, f"status {number}")

    def applies_stuck(self, number: int) -> bool:
        """True if the batch of the nth POST is applied although it is stuck."""
        return self._draw(f"stuck {number}") < self.stuck_applied_chance

    def _drawn(self, chances: Mapping[Fault, float], call: str) -> Fault | None:
        if not chances:
            return None
        drawn = self._draw(call)
        for fault in Fault:
            drawn -= chances.get(fault, 0.0)
            if drawn < 0:
                return fault
        return None

    def _draw(self, call: str) -> float:
        return random.Random(f"{self.seed} {call}").random()  # noqa: S311 - must be repeatable

    def to_json(self) -> dict[str, object]:
        """The plan as `from_json` reads it."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("posts", "statuses", "post_chances", "status_chances"):
            plain[name] = {str(key): value for key, value in plain[name].items()}
        return {**plain, "failing_ids": sorted(self.failing_ids)}

    @classmethod
    def from_json(cls, plan: object) -> "FaultPlan":
        """The plan in a JSON object with this class's fields, all optional. Raises `ValueError` with the reason."""
        if not isinstance(plan, dict):
            raise ValueError("a fault plan is a JSON object")
        unknown = plan.keys() - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown in a fault plan: {', '.join(sorted(unknown))}")
        known = dict(plan)
        try:
            for name in known.keys() & {"posts", "statuses"}:
                known[name] = {int(number): Fault(fault) for number, fault in plan[name].items()}
            for name in known.keys() & {"post_chances", "status_chances"}:
                known[name] = {Fault(fault): float(chance) for fault, chance in plan[name].items()}
            if "failing_ids" in known:
                known["failing_ids"] = frozenset(map(str, plan["failing_ids"]))
            return cls(**known)
        except (AttributeError, TypeError) as error:
            raise ValueError(f"not a fault plan: {error}") from error
