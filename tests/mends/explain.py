"""What is told of one id, and what a sample that is read back may be compared with."""

from tests.mends import Mend

_EXPLAIN, _READ_BACK = "tests/jobs/status/explain/test_explain.py", "tests/e2e/test_read_back.py"

MENDS = [
    Mend(
        "explain: what a crash wrote of a job's rows behind its last seal is cut off",
        ("count",),
        "pipeline/jobs/load.py",
        "job.folder.index.cut_index, record.checkpoint.index_bytes if record.has_begun else 0",
        "len, ()",
        f"{_EXPLAIN}::test_what_a_crash_wrote_behind_the_last_seal_is_cut_off",
    ),
    Mend(
        "explain: an index that is not whole is not taken for all that there is",
        ("altered-state",),
        "pipeline/jobs/status/explain/reading.py",
        "and indexed.read_bytes >= max(length, checkpoint.index_bytes)",
        "",
        f"{_EXPLAIN}::test_where_nobody_can_tell_any_more_it_says_so",
    ),
    Mend(
        "explain: no value is shown that nobody asked for",
        ("foreign-text",),
        "pipeline/jobs/status/explain/live.py",
        "if with_values else (None, None)",
        "",
        "tests/cli/test_explain.py::test_target_is_asked_and_no_value_is_shown_unasked",
    ),
    Mend(
        "explain: the rows of a batch that was split are found in its parts",
        (),
        "pipeline/jobs/delivery/courier.py",
        "            await job.host.run_blocking(note_sent, job.folder.sent / str(batch_id), content)\n",
        "",
        f"{_EXPLAIN}::test_the_rows_of_a_batch_that_was_split_are_found_in_its_parts",
    ),
    Mend(
        "read back: what a later job sent is not compared with the values of an earlier one",
        (),
        "pipeline/service/read_back.py",
        "                if sent is None or _has(sent[0], row.hash):\n",
        "                if sent is None:\n",
        f"{_READ_BACK}::test_what_somebody_else_changed_is_told_and_what_a_later_job_sent_is_left_out",
    ),
    Mend(
        "read back: a Target that does not tell is not taken for one that differs",
        (),
        "pipeline/service/read_back.py",
        "        if (in_a_row >= _MOST_NOT_READ and not is_last) or self._ending.is_due:\n",
        "        if self._ending.is_due:\n",
        f"{_READ_BACK}::test_where_target_does_not_tell_it_is_tried_again",
    ),
    Mend(
        "read back: who asks to forget an id is not left with it in a sample",
        (),
        "pipeline/jobs/forgetting/folders.py",
        '    receipt.erased["sample"] += folder.sample.erase(lambda encoded: encoded.encode() in wanted.encoded)\n',
        "",
        f"{_READ_BACK}::test_one_that_is_due_later_is_read_back_by_the_next_service",
    ),
]
