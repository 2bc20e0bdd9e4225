"""The memory of what was sent: what is read of it is what was written, and the newest row of an id is what it says."""

from tests.mends import Mend

CORE, STORE = "pipeline/core/memory", "pipeline/edges/store/memory"
FILE = "tests/edges/store/memory/test_sorted_file.py"
MEMORY = "tests/edges/store/memory/test_memory.py"
LEDGER = "tests/edges/store/memory/test_with_ledger.py"

MENDS = [
    Mend(
        "memory: the columns of a slice are believed without their checksum",
        ("memory", "altered-state"),
        f"{STORE}/sorted_file.py",
        " or crc32(octets) != stored.checksum:\n",
        ":\n",
        f"{FILE}::test_each_byte_that_differs_is_told",
    ),
    Mend(
        "memory: the text of a slice is believed without its checksums",
        ("memory", "altered-state"),
        f"{STORE}/sorted_file.py",
        "        if _block_checksums(octets) != checksums[first : first + blocks].tobytes():\n",
        "        if False:\n",
        f"{FILE}::test_single_rows_are_checked_by_their_block",
    ),
    Mend(
        "memory: an older file under the same name is believed",
        ("memory", "old-state"),
        f"{STORE}/sorted_file.py",
        "        if hashlib.sha256(footer).hexdigest() != facts.checksum:\n",
        "        if False:\n",
        f"{FILE}::test_an_older_file_under_the_same_name",
    ),
    Mend(
        "memory: a file that no transaction entered stays behind a crash",
        ("memory",),
        f"{STORE}/files.py",
        "            if file.name not in known:\n",
        "            if False:\n",
        f"{MEMORY}::TestWhatIsBelieved::test_a_file_that_is_in_no_catalog_is_removed",
    ),
    Mend(
        "memory: a file that is missing is not missed before its slice is read",
        ("memory", "old-state"),
        f"{STORE}/memory.py",
        "            for file in self._files.catalogued:\n",
        "            for file in self._files.catalogued[:0]:\n",
        f"{MEMORY}::TestWhatIsBelieved::test_a_missing_file",
    ),
    Mend(
        "memory: the oldest row of an id wins",
        ("memory",),
        f"{CORE}/entries.py",
        "    newest = order[np.append(firsts[1:], len(order)) - 1]\n",
        "    newest = order[firsts]\n",
        f"{MEMORY}::TestRemember::test_what_was_sent_is_found",
    ),
    Mend(
        "memory: of a refused row the earlier values go",
        ("memory",),
        f"{CORE}/entries.py",
        "_last_of_each(values.has_cells[order], firsts, order, newest)",
        "newest",
        f"{MEMORY}::TestRemember::test_of_a_refused_row_the_earlier_values_stay_and_of_a_doubtful_one_its_own",
    ),
    Mend(
        "memory: the values of a refused row are carried on",
        ("memory",),
        f"{CORE}/released_rows.py",
        "    refused = np.flatnonzero(fates == Fate.REFUSED)\n",
        "    refused = np.flatnonzero(fates > Fate.REFUSED)\n",
        f"{MEMORY}::TestRemember::test_of_a_refused_row_the_earlier_values_stay_and_of_a_doubtful_one_its_own",
    ),
    Mend(
        "memory: a row that was lost counts as sent",
        ("memory",),
        f"{CORE}/released_rows.py",
        "    is_sent = of_each == Fate.SENT\n",
        "    is_sent = of_each >= Fate.SENT\n",
        f"{MEMORY}::TestRemember::test_what_is_lost_is_forgotten",
    ),
    Mend(
        "memory: rows count as sent though Target lost more than it names",
        ("memory",),
        f"{CORE}/row_fates.py",
        " and np.count_nonzero(fates) < self.lost:\n",
        " and False:\n",
        "tests/core/memory/test_row_fates.py::test_if_fewer_are_named_than_lost_none_counts",
    ),
    Mend(
        "memory: an id is taken for that of the other kind",
        ("memory",),
        f"{CORE}/id_kinds.py",
        '"pcId": (1, ',
        '"pcId": (0, ',
        f"{MEMORY}::TestRemember::test_one_text_is_two_ids_of_two_kinds",
    ),
    Mend(
        "memory: two ids of one key are one id",
        ("memory",),
        f"{CORE}/finding.py",
        "        left = left[~same]\n",
        "        left = left[:0]\n",
        f"{MEMORY}::TestRemember::test_two_ids_of_one_key",
    ),
    Mend(
        "memory: a merge passes over a run that is pending",
        ("memory",),
        f"{STORE}/files.py",
        "if number not in bases and number < first]",
        "if number not in bases]",
        f"{MEMORY}::TestMerge::test_a_merge_passes_over_no_run_that_is_pending",
    ),
    Mend(
        "memory: a merge takes the place of what another has replaced",
        ("memory",),
        f"{STORE}/files.py",
        "        if not is_in_time:\n",
        "        if False:\n",
        f"{MEMORY}::TestMerge::test_a_merge_that_comes_too_late_is_dropped",
    ),
    Mend(
        "memory: a merge brings back what was forgotten meanwhile",
        ("memory",),
        f"{STORE}/files.py",
        " for number in (*gone, *merge.read))\n",
        " for number in gone)\n",
        f"{MEMORY}::TestMerge::test_a_merge_brings_nothing_back_that_was_forgotten_meanwhile",
    ),
    Mend(
        "memory: an id stays in a run when it is forgotten",
        ("memory",),
        f"{STORE}/upkeep.py",
        "    if has_any:\n",
        "    if False:\n",
        f"{MEMORY}::TestForget::test_nothing_is_left_of_an_id",
    ),
]
