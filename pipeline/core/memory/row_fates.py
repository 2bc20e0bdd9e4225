"""The fates of the rows of a batch: what became of them, as far as it decides what is remembered of their ids.

`SENT`: Target has applied the row.
`DOUBTFUL`: Target may have it. Its cells are carried on, since they may be there, but it does not count as sent.
`REFUSED`: Target does not have it, and would not take it. It does not count as sent, and its cells are not carried on:
what was wrong with them must not spread. Those of the row before it stay.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pipeline.core.batches.hashset import contains
from pipeline.core.batches.lifecycle import Life, NeverSent, SeenComplete
from pipeline.core.model import Hashes
from pipeline.core.rows.encoding import encoded_forms
from pipeline.core.rows.hashing import hash_ids


class Fate(IntEnum):
    """The fate of a row."""

    SENT = 0
    DOUBTFUL = 1
    REFUSED = 2


Fates = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RowFates:
    """The fates of the rows of a batch: of those that Target named, and of all others.

    `lost`: the number of rows that are not `SENT`, as Target counts them.
    """

    others: Fate
    lost: int = 0
    doubtful_ids: tuple[str, ...] = ()
    refused_ids: tuple[str, ...] = ()

    def of(self, keys: Hashes, salt: int) -> Fates:
        """The fates of the rows of these keys, which are salted with `salt`; shape (n,).

        Where Target names fewer of them than it lost, any row may be meant: none counts as sent.
        """
        fates = np.full(len(keys), self.others, dtype=np.uint8)
        # A row that Target names in both ways is refused. An id of the same key is in doubt needlessly.
        for fate, ids in ((Fate.DOUBTFUL, self.doubtful_ids), (Fate.REFUSED, self.refused_ids)):
            if ids:
                fates[contains(_keys_of(ids, salt), keys)] = fate
        if self.others is Fate.SENT and np.count_nonzero(fates) < self.lost:
            fates[fates == Fate.SENT] = Fate.DOUBTFUL
        return fates


def row_fates(life: Life) -> RowFates:
    """The fates of the rows of a settled batch. If Target read other rows than were sent, each is in doubt.

    So is a row that Target failed, or that was never sent, if another attempt may have been applied: of the batch, or
    of the one that was split. What is older would go over it.
    """
    last = life.last
    if isinstance(last, SeenComplete):
        others = Fate.SENT if last.batch_size is None else Fate.DOUBTFUL
        # What is pending is open, and has been seen: the failed rows are none of it.
        is_another_open = len(life.open_since) > bool(last.unconfirmed_ids)
        doubtful, refused = last.unconfirmed_ids, last.failed_ids
        if is_another_open:
            doubtful, refused = (*doubtful, *refused), ()
        return RowFates(others, last.failed + last.unconfirmed, doubtful, refused)
    is_of_one_split = isinstance(last, NeverSent) and bool(life.open_since)
    return RowFates(Fate.DOUBTFUL if life.may_be_applied or is_of_one_split else Fate.REFUSED)


def _keys_of(ids: tuple[str, ...], salt: int) -> Hashes:
    forms = sorted(encoded_forms(ids))
    lengths = np.array([len(each) for each in forms], dtype=np.int64)
    return np.sort(hash_ids(b"".join(forms), np.cumsum(lengths) - lengths, lengths, salt))
