"""Rows about what all kinds of exports have in common."""

from tests.mends import Mend

MENDS = [
    Mend(
        "a columnar file that grows beyond all measure fails",
        ("columnar",),
        "pipeline/edges/containers/columnar.py",
        "                    growth.give(len(text))\n",
        "",
        "tests/edges/containers/test_columnar.py::test_a_file_that_grows_beyond_all_measure_is_no_export",
    ),
]
