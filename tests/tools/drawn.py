"""What a run of the tests draws: a share of what is long, or seeds.

It is the same in each run, so that a change is judged by what it changes; `DRAWN=SEED` draws another share. The seed
stands in the first lines of a run and in the names of what it drew. `make full-test` draws ten times as much (`TIMES`),
of most things all that there is.
"""

import os
import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

#: That of this run. Other processes of the same run have it from their environment.
SEED = int(os.environ.setdefault("DRAWN", "1"))
#: So many times as much as is asked for is drawn.
_TIMES = int(os.environ.get("TIMES") or 1)
#: So far apart are the seeds of two runs.
_APART = 1_000


def seeds(count: int) -> range:
    """So many seeds, one behind the other; up to a thousand are others in a run with another seed."""
    return range(SEED * _APART, SEED * _APART + count * _TIMES)


def share(items: Sequence[Item], count: int) -> list[Item]:
    """So many of them, in their order."""
    chosen = sorted(random.Random(SEED).sample(range(len(items)), min(count * _TIMES, len(items))))
    return [items[at] for at in chosen]


def examples(count: int) -> int:
    """So many examples of hypothesis."""
    return count * _TIMES
