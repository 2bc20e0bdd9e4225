"""The catalog of the memory in the ledger."""

from tests.mends import Mend

_LEDGER = "pipeline/edges/store/ledger.py"
_TABLES = "pipeline/edges/store/memory_tables.py"
_TEST = "tests/edges/store/test_memory_catalog.py"

MENDS = [
    Mend(
        "memory: it is behind once it has not heard of a batch",
        ("old-state",),
        _LEDGER,
        '            self._keep(MEMORY, {**self._kept(MEMORY, dict), "is_behind": True})\n',
        "            pass\n",
        f"{_TEST}::test_a_memory_that_does_not_hear_of_a_batch_is_behind",
    ),
    Mend(
        "memory: an attempt for a batch that was split counts for its children",
        ("old-state",),
        _TABLES,
        "        if _OPEN.intersection(kinds):\n",
        "        if not kinds:\n",
        f"{_TEST}::test_a_batch_that_was_split_has_handed_its_rows_on",
    ),
    Mend(
        "memory: where nothing is remembered nothing can be behind",
        (),
        _LEDGER,
        " and not is_memory_empty(self._database):\n",
        ":\n",
        f"{_TEST}::test_where_nothing_is_remembered_nothing_can_be_behind",
    ),
    Mend(
        "memory: its catalog is checked at each start",
        ("altered-state",),
        "pipeline/edges/store/row_sums.py",
        '    "memory_files": "true",\n',
        "",
        f"{_TEST}::test_a_catalog_that_was_altered_is_told_of_at_the_start",
    ),
    Mend(
        "memory: it is not emptied while a job may add to it",
        (),
        "pipeline/jobs/gathering/memory_upkeep.py",
        "    if is_at_work():\n",
        "    if False:\n",
        "tests/jobs/gathering/test_memory_upkeep.py::test_it_is_left_alone_while_a_job_may_add_to_it",
    ),
    Mend(
        "memory: a damaged one can be emptied",
        (),
        "pipeline/cli/ask.py",
        "with_memory=command != REBUILD_MEMORY",
        "with_memory=True",
        "tests/cli/test_memory.py::test_of_a_memory_that_is_looked_at_damaged_and_rebuilt",
    ),
    Mend(
        "memory: a file that was merged while somebody looks is no damage",
        (),
        "pipeline/edges/store/memory/look.py",
        "            if catalog == before:\n",
        "            if before:\n",
        "tests/edges/store/memory/test_look.py::test_a_file_that_was_merged_meanwhile_is_not_missed",
    ),
]
