"""A drop of several files: one job, which files are its parts, and what an earlier version entered for each of them."""

from tests.mends import Mend

_LISTS = "pipeline/core/drop/file_lists.py"
_LISTING = "pipeline/edges/drop/listing.py"
_PART_LISTS = "pipeline/edges/exports/part_lists.py"
_CLAIMS = "pipeline/jobs/claims.py"
_LEDGER = "pipeline/edges/store/ledger_file.py"
_OF_LISTING = "tests/edges/drop/test_listing.py::TestListsOfWarehouses"
_OF_LEDGER = "tests/edges/store/test_ledger_file.py"

MENDS = [
    Mend(
        "parts: files that a commit removed are none",
        ("parts",),
        _LISTS,
        "    return frozenset(added - removed)\n",
        "    return frozenset(added)\n",
        "tests/core/drop/test_file_lists.py::test_what_all_commits_leave",
    ),
    Mend(
        "parts: the list of a commit that has begun is waited for",
        ("parts",),
        _PART_LISTS,
        "    if missing := uncommitted(others):\n",
        "    if missing := None if others else uncommitted(others):\n",
        f"{_OF_LISTING}::test_a_commit_that_has_begun_is_waited_for",
    ),
    Mend(
        "parts: one of another size than its list says is not whole",
        ("parts",),
        _LISTING,
        "        elif file.size_bytes not in (None, entries[file.name].identity.size_bytes):\n",
        "        elif file.size_bytes == -1:\n",
        f"{_OF_LISTING}::test_what_is_missing_or_of_another_size_is_waited_for",
    ),
    Mend(
        "parts: the lists are taken along, so that they say nothing of the next drop",
        ("parts",),
        _CLAIMS,
        "            await state.host.run_blocking(processing.take_along, record.job_id, path)\n",
        "            assert path\n",
        "tests/jobs/test_claims.py::test_however_parts_are_signalled_a_claim_that_was_cut_off_is_completed",
    ),
    Mend(
        "parts: an empty file of a drop of an earlier version is no failure",
        ("parts",),
        _LEDGER,
        "    if version < _FIRST_WITH_PARTS:\n",
        "    if False:\n",
        f"{_OF_LEDGER}::test_the_jobs_of_one_drop_go_on_in_a_ledger_of_the_format_before_parts",
    ),
    Mend(
        "parts: damage in a ledger of the format before them is not summed as right",
        ("altered-state",),
        "pipeline/edges/store/row_sums.py",
        " WHERE row_sum IS sum_of({before})",
        " WHERE true OR row_sum IS sum_of({before})",
        f"{_OF_LEDGER}::test_damage_in_the_format_before_parts_is_not_taken_over_as_right[True]",
    ),
]
