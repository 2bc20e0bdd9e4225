"""What runs under faults and attacks come to, in the same figures for all of them, and the promise that one breaks.

A run raises `HarmError` where a check finds that rows are lost, stale, doubled or leaked, and returns its `Tally`
otherwise. Any other `AssertionError` of a run counts as `broken`: it hangs, leaves something behind, ends with a code
that nobody was told of.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Literal

#: `lost`: a row or a value is nowhere, and no report says so. `stale`: an older value stands over a newer one, or could
#: have. `doubled`: a row counts twice. `leaked`: content of a row, an id or the token stands where it must not.
Harm = Literal["lost", "stale", "doubled", "leaked"]


class HarmError(AssertionError):
    """A run did harm: `count` rows, ids or places of that kind."""

    def __init__(self, harm: Harm, told: object, count: int = 1) -> None:
        super().__init__(f"{harm}: {told}")
        self.harm = harm
        self.count = max(1, count)


def hold(harm: Harm, is_kept: object, told: object = "", count: int = 1) -> None:
    """Raise `HarmError` unless a promise is kept."""
    if not is_kept:
        raise HarmError(harm, told, count)


@dataclass(slots=True)
class Tally:
    """Figures of some runs.

    `rows` were read. `lost`, `stale`, `doubled`, `leaked` are those of `Harm`; `broken` counts runs that kept another
    promise not. All five must be 0. `refused` counts starts that rightly refused to go on (exit code 74). `blocked_ms`
    is the longest time for which the event loop was blocked. `events` are faults, kills, inputs: what a run is about.
    """

    runs: int = 0
    rows: int = 0
    lost: int = 0
    stale: int = 0
    doubled: int = 0
    leaked: int = 0
    broken: int = 0
    refused: int = 0
    blocked_ms: float = 0.0
    events: int = 0

    @property
    def harm(self) -> int:
        """What must be 0."""
        return self.lost + self.stale + self.doubled + self.leaked + self.broken

    def note(self, error: AssertionError) -> None:
        """Count a promise that is broken."""
        if isinstance(error, HarmError):
            setattr(self, error.harm, getattr(self, error.harm) + error.count)
        else:
            self.broken += 1

    def add(self, other: "Tally") -> None:
        """Take in the figures of other runs."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            setattr(self, each.name, max(mine, theirs) if each.name == "blocked_ms" else mine + theirs)


class FoundError(AssertionError):
    """Of several runs at once some broke a promise: their figures, and in words how."""

    def __init__(self, tally: Tally, told: Iterable[object]) -> None:
        super().__init__("\n".join(map(str, told)))
        self.tally = tally


def tally_of(run: Callable[[], Tally]) -> tuple[Tally, Exception | None]:
    """The figures of one run, and how it broke a promise, if it did."""
    try:
        return run(), None
    except FoundError as error:
        return error.tally, error
    except AssertionError as error:
        tally = Tally(runs=1)
        tally.note(error)
        return tally, error
    except Exception as error:  # noqa: BLE001 - whatever a run raises, it has not kept a promise
        return Tally(runs=1, broken=1), error
