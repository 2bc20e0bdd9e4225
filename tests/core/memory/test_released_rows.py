"""The source of each id of a released batch: of a snapshot, gone from it, or as it was."""

import numpy as np
import pytest

from pipeline.core.memory.entries import GONE
from pipeline.core.memory.released_rows import released_rows
from pipeline.core.memory.row_fates import Fate, RowFates
from tests.core.builders import SALT, row, rows_of


@pytest.mark.parametrize(
    ("fates", "sources"),
    [
        (RowFates(Fate.SENT), {"u1": 3, "u2": GONE, "u3": 3}),
        # Target may not have what says that it is gone: it is found so again.
        (RowFates(Fate.DOUBTFUL), {"u1": 3, "u2": 0, "u3": 3}),
        (RowFates(Fate.REFUSED), {"u1": 0, "u2": 0, "u3": 0}),
    ],
)
def test_sources(fates: RowFates, sources: dict[str, int]) -> None:
    rows = rows_of([row(each, "x") for each in sources])
    heading = b"batch=thirdPartyId,tier\n"
    order = np.argsort(rows.hashes)
    (entries,) = released_rows(
        heading + rows.body,
        rows.hashes[order],
        (rows.starts[order] + len(heading)).astype(np.uint32),
        fates,
        [0, len(order)],
        salt=SALT,
        at_minutes=5,
        source=3,
        shape=0,
        is_gone=np.array([each == "u2" for each in sources]),
    )
    assert entries.values is not None
    found = {entries.values.profile_id(index).decode(): int(entries.sources[index]) for index in range(len(entries))}
    assert found == sources
