"""The ledger beside its spool, and what is read back from both."""

from tests.mends import Mend

STORE = "pipeline/edges/store"
ALTERED = "tests/faults/test_altered.py"
FILE = "tests/edges/store/test_ledger_file.py"
MARK = "tests/edges/store/test_mark.py"

MENDS = [
    Mend(
        "state: a ledger that is behind its mark is believed",
        ("old-state",),
        f"{STORE}/ledger_file.py",
        "        is_right = number >= mark.number\n",
        "        is_right = True\n",
        f"{ALTERED}::test_a_ledger_and_a_spool_that_do_not_belong_together[ledger_alone]",
    ),
    Mend(
        "state: no transaction comes into the mark",
        ("old-state",),
        f"{STORE}/ledger.py",
        "        self._mark.note(int(number), is_durable=is_seal)\n",
        "",
        f"{MARK}::test_each_transaction_is_in_the_mark_when_it_ends",
    ),
    Mend(
        "state: another ledger with the same client code is believed",
        ("old-state",),
        f"{STORE}/ledger_file.py",
        '    elif mark.ledger != identity_of(_meta(database, "salt")):\n',
        "    elif False:\n",
        f"{ALTERED}::test_the_ledger_of_another_state_directory",
    ),
    Mend(
        "state: a ledger without its mark is believed",
        ("old-state",),
        f"{STORE}/ledger_file.py",
        "        is_right = number == 0\n",
        "        is_right = True\n",
        f"{MARK}::test_a_ledger_without_its_mark",
    ),
    Mend(
        "state: tables are made anew beside batches",
        ("old-state",),
        f"{STORE}/ledger_file.py",
        "        if version == 0 and not is_new:\n",
        "        if False:\n",
        f"{MARK}::test_a_ledger_without_tables_beside_a_spool",
    ),
    Mend(
        "state: an earlier ledger that is older than its spool is taken over",
        ("old-state",),
        f"{STORE}/ledger_file.py",
        "    if unknown != [",
        "    if False and unknown != [",
        f"{MARK}::test_an_earlier_format_with_batches_that_it_does_not_know",
    ),
    Mend(
        "state: what is refused loses the log of a crash",
        ("old-state",),
        f"{STORE}/ledger_file.py",
        'else "ro"\n',
        'else "rw"\n',
        f"{ALTERED}::test_who_only_looks_says_the_same[command0-74]",
    ),
    Mend(
        "state: rows of the ledger are not compared at the start",
        ("altered-state",),
        f"{STORE}/ledger_file.py",
        "next(altered(database) if is_whole else altered_of_unfinished(database), None)",
        "next(iter(()) if is_whole else altered_of_unfinished(database), None)",
        f"{MARK}::test_a_value_that_was_altered_is_found_at_the_start",
    ),
    Mend(
        "state: held rows are not compared when they are read",
        ("altered-state",),
        f"{STORE}/ledger_reader.py",
        '_as_written(rows, "held"))\n',
        "rows)\n",
        f"{MARK}::test_held_rows_that_were_altered",
    ),
    Mend(
        "state: who only looks does not compare rows",
        ("altered-state",),
        f"{STORE}/ledger_reader.py",
        "    if not is_as_written(row, table):\n",
        "    if False:\n",
        f"{MARK}::test_who_only_looks_finds_an_altered_value_too",
    ),
    Mend(
        "state: what is read from the spool is not compared",
        ("altered-state",),
        f"{STORE}/spool.py",
        "        if digest and _digest_of(file) != digest:\n",
        "        if False:\n",
        f"{ALTERED}::test_a_file_of_the_spool_that_is_not_what_was_written[body-edited]",
    ),
    Mend(
        "state: sizes in the spool are not compared",
        ("altered-state",),
        f"{STORE}/spool.py",
        "        if found.size_bytes != size_bytes:\n",
        "        if False:\n",
        "tests/edges/store/test_spool.py::test_sizes_are_compared_where_an_earlier_version_noted_no_digest",
    ),
    Mend(
        "state: a body that is altered while it is sent goes out whole",
        ("altered-state",),
        "pipeline/edges/target/sealed_body.py",
        "            if is_last and (",
        "            if False and (",
        "tests/edges/target/test_sealed_body.py::test_an_altered_body_is_never_sent_to_its_end",
    ),
]
