"""`init` writes no value of a first line that is a row."""

from tests.mends import Mend

_GUESSES = "pipeline/core/survey/guesses.py"
_TEST = "tests/core/survey/test_guesses.py::test_a_header_is_not_like_the_rows_below_it"

MENDS = [
    Mend(
        "first lines: one that is like the rows below it is a row",
        ("foreign-text",),
        "pipeline/jobs/survey/drafting.py",
        "is_header(best.beginning.start.names, best.beginning.records)",
        "is_header(best.beginning.start.names)",
        "tests/cli/test_init.py::test_plan_and_check_work_with_it_and_no_value_is_in_it",
    ),
    Mend(
        "first lines: the header again says nothing",
        ("foreign-text",),
        _GUESSES,
        " and row != bare]",
        "]",
        _TEST,
    ),
]
