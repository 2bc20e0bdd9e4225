"""What `forget` erases, and what it must leave alone."""

from tests.mends import Mend

FORGETTING = "pipeline/jobs/forgetting"
E2E = "tests/e2e/test_forget.py"
SPOOL = "tests/edges/store/test_spool.py"

MENDS = [
    Mend(
        "forget: what was deleted stays in the ledger's file",
        ("foreign-text",),
        "pipeline/edges/store/ledger.py",
        '            database.execute("VACUUM")\n',
        "",
        "tests/edges/store/test_ledger.py::TestErasure::test_nothing_deleted_is_left_in_the_file",
    ),
    Mend(
        "forget: rows that may be in flight are erased",
        ("failing-write",),
        f"{FORGETTING}/store.py",
        "    return record.is_open or job is None or job.state is None\n",
        "    return False\n",
        f"{E2E}::test_what_is_in_flight_is_told_and_erased_later",
    ),
    Mend(
        "forget: new files of a batch count that the ledger does not know",
        ("failing-write",),
        "pipeline/edges/store/spool.py",
        "                if new.exists() and _digest_of(new) == digest:\n",
        "                if new.exists():\n",
        f"{SPOOL}::TestErasure::test_a_crash_before_the_ledger_had_it",
    ),
    Mend(
        "forget: an id within another word is taken for it",
        ("foreign-text",),
        "pipeline/core/erasure.py",
        'rb"(?![0-9A-Za-z_@%+-])"\n',
        'rb""\n',
        "tests/core/test_erasure.py::test_texts_with_none",
    ),
    Mend(
        "forget: a kept export that is packed is not told",
        ("foreign-text",),
        f"{FORGETTING}/exports.py",
        "        if places and not await host.run_blocking(_overwrite, file, places):\n",
        "        if False:\n",
        f"{E2E}::test_no_file_holds_any_form_of_an_id",
    ),
]
