"""The table of mends as a campaign: a run takes one protection out, and its test has to fail."""

from tests.mends.table import all_mends
from tests.mends.taken_out import is_missed
from tests.tools.faults.tally import Tally


def count() -> int:
    """How many protections there are."""
    return len(all_mends())


def one_run(seed: int) -> Tally:
    """The protection whose turn it is. Raises `AssertionError` if no test misses it."""
    mends = all_mends()
    mend = mends[seed % len(mends)]
    is_found, said = is_missed(mend)
    assert is_found, f"nobody misses {mend.name}: python -m tests.mends '{mend.name}'\n{said}"
    return Tally(runs=1, events=1)
