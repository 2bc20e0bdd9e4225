"""What is measured: each row once, and nothing of a row."""

from tests.mends import Mend

_COUNTS, _METRICS = "tests/core/display/test_counts.py", "tests/service/web/test_metrics.py"

MENDS = [
    Mend(
        "metrics: rows that an earlier process counted are not counted again",
        ("count",),
        "pipeline/jobs/runner.py",
        "job.counts.begin_run(record.job_id, job.progress.rows(), job.progress.rejects_by_reason)",
        "job.counts.begin_run(record.job_id, type(job.progress.rows())(), {})",
        "tests/jobs/test_run_counts.py::test_another_process_counts_only_what_it_did",
    ),
    Mend(
        "metrics: rows that are read again behind a seal are not counted again",
        ("count",),
        "pipeline/core/display/counts.py",
        "self._noted.setdefault(job_id, _by_kind(rows, rejects))",
        "self._noted[job_id] = _by_kind(rows, rejects)",
        f"{_COUNTS}::TestRuns::test_what_a_run_reads_again_behind_its_last_seal_is_not_counted_again",
    ),
    Mend(
        "metrics: nothing is kept of a job that is over",
        (),
        "pipeline/core/display/counts.py",
        "self._noted.pop(job_id, None)",
        "pass",
        f"{_COUNTS}::TestRuns::test_nothing_is_kept_of_a_job_that_is_over",
    ),
    Mend(
        "metrics: no name of a file is told",
        ("foreign-text",),
        "pipeline/service/figures.py",
        "Counter(route for route, _ in intake.refused)",
        "Counter(name for _, name in intake.refused)",
        f"{_METRICS}::test_nothing_of_a_row_and_no_name_of_a_job_or_file_is_told",
    ),
    Mend(
        "metrics: many who ask at once cost one look",
        ("cost",),
        "pipeline/service/web/metrics.py",
        "if self._host.clock.monotonic() - self._made_at_s >= FRESH_S:",
        "if True:",
        f"{_METRICS}::test_many_who_ask_at_once_cost_one_look",
    ),
    Mend(
        "metrics: a ledger that cannot be read keeps no metrics from being told",
        (),
        "pipeline/service/figures.py",
        "    with suppress(FatalError):\n        ledger = read_ledger(",
        "    if True:\n        ledger = read_ledger(",
        "tests/service/test_figures.py::test_what_cannot_be_read_is_not_told",
    ),
]
