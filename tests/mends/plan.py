"""What a plan and a configuration made from an export may show, and what they may touch."""

from tests.mends import Mend

PLAN, INIT = "tests/cli/test_plan.py", "tests/cli/test_init.py"

MENDS = [
    Mend(
        "plan: values are shown as they are",
        ("foreign-text",),
        "pipeline/core/survey/columns.py",
        "masks = dict.fromkeys(map(mask, texts))",
        "masks = dict.fromkeys(texts)",
        f"{PLAN}::test_no_value_is_shown",
    ),
    Mend(
        "plan: rejects are judged at the end only",
        ("count",),
        "pipeline/core/survey/tally.py",
        "        self._judge(is_final=False)\n",
        "",
        "tests/jobs/survey/test_planning.py::TestWhatCannotBeLoaded::test_too_many_of_the_first_rows",
    ),
    Mend(
        "plan: rows of ids in an earlier batch do not wait",
        ("count",),
        "pipeline/core/survey/placement.py",
        "        self._placer.tracker.seal(number, content.hashes)\n",
        "",
        "tests/jobs/survey/test_planning.py::test_rows_that_wait_make_batches_that_wait",
    ),
    Mend(
        "init: a row is taken for the header, and shown",
        ("foreign-text",),
        "pipeline/jobs/survey/drafting.py",
        "if is_header(best.beginning.start.names, best.beginning.records):",
        "if True:",
        f"{INIT}::test_plan_and_check_work_with_it_and_no_value_is_in_it",
    ),
    Mend(
        "init: personal data that only its values tell is sent",
        ("foreign-text",),
        "pipeline/core/survey/draft.py",
        'f"{column.by_values} by {column.share:.0%} of its values" if column.by_values else ""',
        '""',
        f"{INIT}::test_plan_and_check_work_with_it_and_no_value_is_in_it",
    ),
    Mend(
        "init: a file that is there is replaced",
        ("operator",),
        "pipeline/cli/init_command.py",
        "if output is not None and not force and output.exists():",
        "if False:",
        f"{INIT}::TestOutput::test_a_file_is_never_replaced_unasked",
    ),
]
