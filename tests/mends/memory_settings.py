"""The settings of the memory: what follows from them where nothing is told."""

from tests.mends import Mend

MENDS = [
    Mend(
        "memory: an export is judged row by row where only changes are sent",
        (),
        "pipeline/jobs/command.py",
        '        if self._settings.memory.send == "changes":\n',
        "        if False:\n",
        "tests/jobs/test_command.py::TestWhatIsLoaded::test_is_judged_row_by_row_where_only_changes_are_sent",
    ),
    Mend(
        "memory: rows that were mended are no snapshot",
        (),
        "pipeline/jobs/retries/mended_rows.py",
        '        "kind": "delta",\n        "gone": {},\n',
        "",
        "tests/jobs/test_mended_rows.py::test_mended_rows_are_no_snapshot",
    ),
    Mend(
        "memory: what is remembered cannot change while the service runs",
        (),
        "pipeline/service/reload.py",
        '        ("memory", "remember"),\n',
        "",
        "tests/service/test_reload.py::test_nor_one_that_changes_what_cannot_change",
    ),
]
