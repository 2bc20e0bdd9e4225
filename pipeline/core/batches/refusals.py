"""Counts the refusals and acceptances of a job, to tell if Target refuses certain rows, or everything.

One refused batch does not tell if a row in it is poisonous, or if Target would refuse anything at all (another API
version, a mistake on its side). Acceptances tell. If a child of a refused batch was accepted, the batch was refused for
rows in its others: it is *proven*. If a row is refused twice with an acceptance in between, it is that row.

While several refusals have come without an acceptance, the job is *in doubt*: batches are tried one after the other,
and a refused one is split into a single row and the rest. A random row is most likely a good one, so the doubt costs
one tiny POST. And if Target refuses everything, a few of them show it, and no row has been rejected for it.

As long as nothing was ever accepted, the first refusal is reason enough to doubt: a wrong client code, or a wrong
version, is likelier than a poisonous row. Then a few rows from all over the batch are split off, and the smallest child
is tried first. If each of these rows is refused alone, as the whole was, it is everything: after a dozen tiny POSTs.
"""

from collections import Counter
from dataclasses import dataclass

#: Refusals in a row that begin a doubt. Ours: with one poisonous row, there are hardly ever more before a half without
#: it is accepted.
REFUSALS_BEFORE_DOUBT = 4
#: Refusals in a row, in doubt, after which the rows are not the reason. Ours: if half of all rows were poisonous, one
#: of the six single rows tried by then would be a good one with a chance of 98 %.
MAX_REFUSALS_IN_DOUBT = 12
#: The same if batches were accepted earlier: the last rows of a batch may all be poisonous.
MAX_REFUSALS_AFTER_ACCEPTANCE = 100
#: Single rows that are refused in the same words as all before them, while nothing was ever accepted, after which it is
#: everything. Ours: the same six rows as above.
MAX_ROWS_REFUSED_ALIKE = 6


@dataclass(slots=True)
class SeenAccepting:
    """The common knowledge of all jobs of a run.

    `has_accepted`: Target has accepted anything, in this process or earlier of such a job.
    """

    has_accepted: bool = False


class Refusals:
    """The refusals of a job since its last acceptance. Batches have the `batch_id` of the whole they were split off.

    `accepted` counts this job's batches only: another job's acceptances say nothing about these rows.
    """

    def __init__(self, run: SeenAccepting | None = None) -> None:
        self._run = run or SeenAccepting()
        self.accepted = 0
        self._in_a_row = 0
        self._tried_alone = 0
        self._single_rows = 0
        self._messages: set[str] = set()
        self._proven: set[int] = set()
        self._tried: Counter[int] = Counter()

    @property
    def has_accepted(self) -> bool:
        """True if Target has accepted anything in this run."""
        return self._run.has_accepted

    @property
    def is_in_doubt(self) -> bool:
        """True if Target may well refuse everything: try with care."""
        return self._in_a_row >= (REFUSALS_BEFORE_DOUBT if self.has_accepted else 1)

    @property
    def is_everything(self) -> bool:
        """True if Target refuses everything."""
        if self.has_accepted:
            return self._tried_alone >= MAX_REFUSALS_AFTER_ACCEPTANCE
        is_alike = self._single_rows >= MAX_ROWS_REFUSED_ALIKE and len(self._messages) == 1
        return is_alike or self._tried_alone >= MAX_REFUSALS_IN_DOUBT

    @property
    def are_few(self) -> bool:
        """True if there were so few refusals in a row that poisonous rows may well be the reason."""
        return self._in_a_row <= MAX_REFUSALS_IN_DOUBT

    def is_proven(self, whole: int) -> bool:
        """True if a part of this batch was accepted after the batch was refused."""
        return whole in self._proven

    def tried(self, whole: int) -> int:
        """The number of times that children of this batch were refused while they were tried alone."""
        return self._tried[whole]

    def prove(self, *wholes: int) -> None:
        """Note that a child of each of these refused batches was accepted."""
        self._proven.update(wholes)

    def note_accepted(self) -> None:
        """Note that something was accepted."""
        self._run.has_accepted = True
        self.accepted += 1
        self._in_a_row = self._tried_alone = self._single_rows = 0
        self._messages.clear()

    def note_refused(self, whole: int, *, tried_alone: bool, message: str = "", is_single_row: bool = False) -> None:
        """Note that a batch or a part of it was refused, with Target's message.

        `tried_alone`: it was sent in doubt, and alone. `is_single_row`: it is one row that was split off.
        """
        self._messages.add(message)
        self._single_rows += is_single_row
        self._in_a_row += 1
        self._tried_alone += tried_alone
        self._tried[whole] += tried_alone
