"""The campaigns: a kind of fault or attack, the function that makes one run of it, and its share of the time.

A new kind is a line here; its function takes a seed, returns a `Tally`, and raises `AssertionError` for a promise that
is broken (`HarmError` where rows or their content are harmed).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Campaign:
    """`name` is its row in the table and says what its events are, `run` is MODULE:FUNCTION.

    `share` of the time: in relation to the others. `most`: MODULE:FUNCTION of how many different runs there are: no
    more are made, and with enough minutes all are. `why_not`: MODULE:FUNCTION of the reason why it cannot be run here,
    None if it can.
    """

    name: str
    run: str
    share: float = 1.0
    most: str = ""
    why_not: str = ""


_FAULTS = "tests.tools.faults"
_IF_TRACED = f"{_FAULTS}.steps:why_not"
CAMPAIGNS = (
    Campaign("kills of loads", f"{_FAULTS}.kills:one_run", 2.0),
    Campaign("kills of service", f"{_FAULTS}.service_kills:one_run", 2.0),
    Campaign("death at steps", f"{_FAULTS}.steps:one_run", 1.5, why_not=_IF_TRACED),
    Campaign("failing writes", f"{_FAULTS}.failing:one_run", 1.5, why_not=_IF_TRACED),
    Campaign("power cuts", f"{_FAULTS}.power:one_run", 1.5, why_not=_IF_TRACED),
    Campaign("altered state", f"{_FAULTS}.altered:one_run", 1.5),
    Campaign("faults of Target", f"{_FAULTS}.plans:one_run", 1.5),
    Campaign("network faults", f"{_FAULTS}.network:one_run", 1.5),
    Campaign("hostile answers", f"{_FAULTS}.network:one_echoing_run", 1.0),
    Campaign("hostile exports", "tests.tools.watchdog:one_run", 1.5, "tests.tools.watchdog:count"),
    Campaign("unusable exports", f"{_FAULTS}.unusable:one_run", 0.5),
    Campaign("fuzz", "tests.tools.fuzz.running:one_run", 2.0),
    Campaign("mends", "tests.tools.torture.mends:one_run", 3.0, "tests.tools.torture.mends:count"),
)
