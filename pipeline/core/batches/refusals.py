"""Whether Target refuses rows, or everything: counts refusals and acceptances of a job.

A refused batch alone does not tell whether a row in it is poisonous or whether Target would refuse anything at all
(another API version, a slip on its side). Acceptances tell: where a part of a refused batch was accepted, it was
refused for rows in its other parts, which makes it *proven*; and where a row is refused twice with an acceptance in
between, it is that row.

While several refusals have come without an acceptance it is *in doubt*: batches are tried one after the other, and a
refused one is split into a single row and the rest. One row taken at random is most likely a good one, so the doubt
costs one tiny POST; and where Target refuses everything, a few of them say so, and no row has been rejected for it.
"""

from collections import Counter
from dataclasses import dataclass

#: So many refusals in a row begin a doubt. Ours: one poisonous row hardly ever refuses more than that before a half
#: without it is accepted.
REFUSALS_BEFORE_DOUBT = 4
#: After so many refusals in a row of what was tried alone it is not the rows. Ours: were half of all rows poisonous, a
#: good one would be among the six single rows that are tried with a chance of 98 %.
MAX_REFUSALS_IN_DOUBT = 12
#: The same where batches were accepted earlier: the last of a batch may all be poisonous.
MAX_REFUSALS_AFTER_ACCEPTANCE = 100


@dataclass(slots=True)
class SeenAccepting:
    """What all jobs of a run know: whether Target `has_accepted` anything, in this process or earlier of such a job."""

    has_accepted: bool = False


class Refusals:
    """The refusals of a job since the last acceptance; a batch and its parts are named by the `batch_id` of the whole.

    What is accepted of another job, before or beside this one, does not tell of its rows: `accepted` counts its own.
    """

    def __init__(self, run: SeenAccepting | None = None) -> None:
        self._run = run or SeenAccepting()
        self.accepted = 0
        self._in_a_row = 0
        self._on_trial = 0
        self._proven: set[int] = set()
        self._tried: Counter[int] = Counter()

    @property
    def has_accepted(self) -> bool:
        """Whether Target has accepted anything in this run."""
        return self._run.has_accepted

    @property
    def is_in_doubt(self) -> bool:
        """Whether it may well be everything: try with care."""
        return self._in_a_row >= REFUSALS_BEFORE_DOUBT

    @property
    def is_everything(self) -> bool:
        """Whether Target refuses everything."""
        return self._on_trial >= (MAX_REFUSALS_AFTER_ACCEPTANCE if self.has_accepted else MAX_REFUSALS_IN_DOUBT)

    @property
    def are_few(self) -> bool:
        """Whether there were so few refusals in a row that the last poisonous rows may well be the reason."""
        return self._in_a_row <= MAX_REFUSALS_IN_DOUBT

    def is_proven(self, whole: int) -> bool:
        """Whether a part of this batch was accepted after it was refused."""
        return whole in self._proven

    def tried(self, whole: int) -> int:
        """How often parts of this batch were refused while they were tried alone."""
        return self._tried[whole]

    def prove(self, *wholes: int) -> None:
        """A part of each of these refused batches was accepted."""
        self._proven.update(wholes)

    def note_accepted(self) -> None:
        """Something was accepted."""
        self._run.has_accepted = True
        self.accepted += 1
        self._in_a_row = self._on_trial = 0

    def note_refused(self, whole: int, *, on_trial: bool) -> None:
        """A batch or a part of it was refused; `on_trial`: it was sent in doubt, when nothing else was."""
        self._in_a_row += 1
        self._on_trial += on_trial
        self._tried[whole] += on_trial
