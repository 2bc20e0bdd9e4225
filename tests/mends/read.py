"""Rows about exports of several parts."""

from tests.mends import Mend

MENDS = [
    Mend(
        "lines are counted through all parts",
        ("parts",),
        "pipeline/jobs/row_source/rows.py",
        "        before, begins = end.line - 1 + end.is_skipping, list[Part]()\n",
        "        before, begins = 0, list[Part]()\n",
        "tests/jobs/test_parts.py::test_any_parts_are_read_as_each_of_them_alone_and_from_anywhere",
    ),
    Mend(
        "a part with other columns is refused",
        ("parts",),
        "pipeline/jobs/row_source/starts.py",
        "    _check_names(start, export, reading.settings, form)\n",
        "",
        "tests/jobs/test_parts.py::test_another_form_is_refused",
    ),
]
