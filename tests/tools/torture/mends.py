"""The table of mends as a campaign: a run takes one protection out, and its test has to fail."""

from tests.mends.table import all_mends
from tests.mends.taken_out import Judge, Verdict
from tests.tools.faults.tally import Tally

#: Of all runs of this process.
_JUDGE = Judge()


def count() -> int:
    """How many protections there are."""
    return len(all_mends())


def one_run(seed: int) -> Tally:
    """The protection whose turn it is. Raises `AssertionError` if its test does not miss it, or fails anyway."""
    mends = all_mends()
    mend = mends[seed % len(mends)]
    verdict, said = _JUDGE.judge(mend)
    assert verdict is Verdict.MISSED, f"{verdict}, {mend.name}: python -m tests.mends '{mend.name}'\n{said}"
    return Tally(runs=1, events=1)
