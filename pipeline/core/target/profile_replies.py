"""The answer of Target to the question for one profile: its attributes by name, as text.

`{"profileAttributes": {NAME: {"value": VALUE, ...}}}`, or HTTP 404 for a profile that is not there, which may only mean
that nothing was applied to it yet. Source: Adobe's documentation of profiles, fetched with a thirdPartyId or a PCID.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: How Target shows a parameter that was sent under a bare name.
_PREFIX = "profile."


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile that is there; `attributes`: its values by the names under which they are sent."""

    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NoProfile:
    """Target has no such profile, or none yet."""


@dataclass(frozen=True, slots=True)
class NotRead:
    """It is not known what Target has; `why`: in our words."""

    why: str


ProfileOutcome = Profile | NoProfile | NotRead
#: What becomes of a cell that was sent: Target has the same, another value, or none.
CellState = Literal["equal", "different", "missing"]


def parse_profile(body: bytes) -> Profile | None:
    """The profile in an answer; None if it is none."""
    try:
        answer = json.loads(body)
        found = answer["profileAttributes"]
        attributes = {str(name).removeprefix(_PREFIX): each["value"] for name, each in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not all(isinstance(value, str | int | float | bool) for value in attributes.values()):
        return None
    return Profile({name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()})


def compared(sent: Mapping[str, str], profile: Profile | NoProfile) -> dict[str, CellState]:
    """By name what became of each value that was sent; an empty one says nothing, and is left out."""
    has = profile.attributes if isinstance(profile, Profile) else {}
    return {
        name: "missing" if name not in has else "equal" if has[name] == value else "different"
        for name, value in sent.items()
        if value
    }
