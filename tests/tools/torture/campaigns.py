"""The campaigns: a kind of fault or attack, the function that makes one run of it, and its share of the time.

A new kind is a line here; its function takes a seed, returns a `Tally`, and raises `AssertionError` for a promise that
is broken (`HarmError` where rows or their content are harmed).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Campaign:
    """`name` is its row in the table, `run` is MODULE:FUNCTION, `events` what it counts beside runs and rows.

    `share` of the time: in relation to the others. `most`: MODULE:FUNCTION of how many different runs there are, if
    their number is limited: then no more are made, and with enough minutes all are.
    """

    name: str
    run: str
    events: str
    share: float = 1.0
    most: str = ""


_FAULTS = "tests.tools.faults"
CAMPAIGNS = (
    Campaign("kills of loads", f"{_FAULTS}.kills:one_run", "kills", 2.0),
    Campaign("kills of the service", f"{_FAULTS}.service_kills:one_run", "kills", 2.0),
    Campaign("death at each step", f"{_FAULTS}.steps:one_run", "kills", 1.5),
    Campaign("calls of the disk that fail", f"{_FAULTS}.failing:one_run", "failed calls", 1.5),
    Campaign("loss of power", f"{_FAULTS}.power:one_run", "cuts", 2.0),
    Campaign("faults of Target", f"{_FAULTS}.plans:one_run", "faults", 1.5),
    Campaign("network", f"{_FAULTS}.network:one_run", "faults", 1.5),
    Campaign("hostile answers", f"{_FAULTS}.network:one_echoing_run", "answers", 1.0),
    Campaign("fuzz", "tests.tools.fuzz.running:one_run", "inputs", 2.0),
    Campaign("mends", "tests.tools.torture.mends:one_run", "missed", 3.0, "tests.tools.torture.mends:count"),
)
