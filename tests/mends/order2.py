"""What a kill, a full disk or an error of the disk leaves of the ledger and its mark."""

from tests.mends import Mend

STORE = "pipeline/edges/store"
MARK = (
    "tests/edges/store/test_mark.py"
    "::test_what_only_the_mark_did_not_take_has_happened_and_nothing_follows_before_it_does"
)

MENDS = [
    Mend(
        "order: a new ledger of which a kill left half is refused for good",
        ("failing-write",),
        f"{STORE}/ledger_file.py",
        '    mode = "rw" if is_there(path.with_name(f"{path.name}-journal")) else "ro"\n',
        '    mode = "ro"\n',
        "tests/edges/store/test_ledger_file.py::test_a_new_file_of_which_a_kill_left_half_is_made_anew",
    ),
    Mend(
        "order: a step of which only the mark was not written says that it failed",
        ("failing-write",),
        f"{STORE}/mark.py",
        "            self._missed = number\n        else:",
        "            raise\n        else:",
        MARK,
    ),
    Mend(
        "order: steps follow on one that the mark does not have",
        ("failing-write", "old-state"),
        f"{STORE}/ledger.py",
        "        self._mark.catch_up()\n",
        "",
        MARK,
    ),
    Mend(
        "order: rows whose loss was written down just before a bug cannot be sent again",
        ("set-aside", "failing-write"),
        "pipeline/jobs/recovery.py",
        "        state.note_lost(record)\n        stock.append",
        "        stock.append",
        "tests/jobs/test_set_aside.py::test_rows_whose_loss_was_written_down_just_before_the_bug_can_be_sent_again",
    ),
]
