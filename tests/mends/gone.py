"""Ids that a snapshot no longer has: which are gone, and what keeps others from being taken for it."""

from tests.mends import Mend

GONE = "pipeline/jobs/gathering/gone.py"
E2E = "tests/e2e/test_gone.py"

MENDS = [
    Mend(
        "gone: an id whose row is not sent is taken for gone",
        ("cut-off",),
        GONE,
        "    if not (checkpoint.rejected or checkpoint.empty or checkpoint.excluded):\n",
        "    if True:\n",
        f"{E2E}::test_an_id_whose_row_is_not_sent_is_not_gone",
    ),
    Mend(
        "gone: rows of which nobody can tell whose they are do not matter",
        ("cut-off",),
        GONE,
        "    if unsure:\n",
        "    if False:\n",
        f"{E2E}::test_a_week_of_snapshots",
    ),
    Mend(
        "gone: any number of ids may be gone at once",
        ("cut-off",),
        GONE,
        "    if not job.export.max_gone.is_exceeded(count, total, final=True):\n",
        "    if True:\n",
        f"{E2E}::test_a_week_of_snapshots",
    ),
    Mend(
        "gone: a row that Target does not have tells that its id is gone",
        ("cut-off",),
        "pipeline/core/memory/released_rows.py",
        "        sources[gone] = np.where(fates[gone] == Fate.SENT, GONE, 0)\n",
        "        sources[gone] = GONE\n",
        "tests/core/memory/test_released_rows.py::test_sources",
    ),
    Mend(
        "gone: a row that says nothing new does not tell that a snapshot has its id",
        ("cut-off",),
        "pipeline/jobs/gathering/sieve.py",
        "        if self.source:\n",
        "        if False:\n",
        f"{E2E}::test_what_came_by_a_delta_is_found_once_a_snapshot_had_it",
    ),
]
