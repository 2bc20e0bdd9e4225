"""What each run of the tests draws anew: a share, or seeds. Many runs see what one has no time for.

The seed of a run stands in its first lines and in the names of what it drew; `DRAWN=SEED` draws the same again. The
targets of the Makefile take all of it, or as much as they are asked for.
"""

import os
import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

#: That of this run. Other processes of the same run have it from their environment.
SEED = int(os.environ.setdefault("DRAWN", str(random.randrange(100_000))))
#: So far apart are the seeds of two runs.
_APART = 1_000


def seeds(count: int) -> range:
    """So many seeds, one behind the other; up to a thousand are others in a run with another seed."""
    return range(SEED * _APART, SEED * _APART + count)


def share(items: Sequence[Item], count: int) -> list[Item]:
    """So many of them, in their order."""
    chosen = sorted(random.Random(SEED).sample(range(len(items)), min(count, len(items))))
    return [items[at] for at in chosen]


def examples(count: int) -> int:
    """So many examples of hypothesis, or as many times more as `EXAMPLES` says: `make property-test` does."""
    return count * int(os.environ.get("EXAMPLES", "1"))
