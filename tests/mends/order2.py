"""What a kill, a full disk or an error of the disk leaves of the ledger and its mark."""

from tests.mends import Mend

STORE = "pipeline/edges/store"

MENDS = [
    Mend(
        "order: a new ledger of which a kill left half is refused for good",
        ("failing-write",),
        f"{STORE}/ledger_file.py",
        '    mode = "rw" if is_there(path.with_name(f"{path.name}-journal")) else "ro"\n',
        '    mode = "ro"\n',
        "tests/edges/store/test_ledger_file.py::test_a_new_file_of_which_a_kill_left_half_is_made_anew",
    ),
]
