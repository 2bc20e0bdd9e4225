"""Rejected rows that come back mended: none over a newer value, none as a formula, none shifted by a spreadsheet."""

from tests.mends import Mend

_LATER = "pipeline/jobs/retries/later_rows.py"
_FIXED = "pipeline/jobs/retries/fixed_table.py"
_REJECTED = "pipeline/jobs/retries/rejected_rows.py"
_TESTS = "tests/jobs/test_mended_rows.py"
_KINDS = "tests/jobs/test_mended_kinds.py"

MENDS = [
    Mend(
        "rejects: a memory that was emptied tells which rows said nothing new before",
        ("rejects", "memory"),
        _LATER,
        "    if state.ledger.may_have_unchanged(origin, before_memory=True):\n",
        "    if False:\n",
        "tests/jobs/test_mended_rows.py::test_no_row_that_said_nothing_new_is_gone_over",
    ),
    Mend(
        "rejects: a later row of the same export is newer than a mended one",
        ("rejects",),
        _LATER,
        "                is_sent &= of_origin > lines\n",
        "                is_sent &= of_origin < 0\n",
        f"{_TESTS}::test_no_later_row_of_the_same_export_is_gone_over",
    ),
    Mend(
        "rejects: what was sent in a batch that is not known may be newer",
        ("rejects",),
        _LATER,
        "                found.untold[:] = True\n",
        "                pass\n",
        f"{_TESTS}::test_a_row_is_left_out_if_nobody_can_tell_what_was_sent",
    ),
    Mend(
        "rejects: what is sent between the request and its job is looked at",
        ("rejects",),
        "pipeline/jobs/retries/__init__.py",
        "        return await mended_left(state, retry)\n",
        "        return retry\n",
        f"{_TESTS}::test_what_comes_between_the_request_and_its_job_is_not_gone_over",
    ),
    Mend(
        "rejects: a short row that a spreadsheet filled up is as it was",
        ("rejects",),
        _FIXED,
        "            yield line, _padded(bare(cells), count), True\n",
        "            yield line, cells, True\n",
        f"{_TESTS}::test_a_mended_row_is_loaded_and_one_that_is_still_bad_is_rejected_again",
    ),
    Mend(
        "rejects: lost rows are not sent again over a mended one",
        ("rejects",),
        "pipeline/edges/store/state.py",
        "self._first_of(job) + job.is_of_mended\n",
        "self._first_of(job)\n",
        f"{_TESTS}::test_a_mended_row_goes_over_the_earlier_ones_that_were_lost",
    ),
    Mend(
        "rejects: no cell is a formula",
        ("rejects",),
        "pipeline/core/rows/reject_table.py",
        '    return cell if _NUMBER.fullmatch(cell) else _BEGINS_FORMULA.sub("\'", cell)\n',
        "    return cell\n",
        "tests/core/rows/test_reject_table.py::test_what_is_guarded",
    ),
    Mend(
        "rejects: mended rows are mapped as the others of their export were",
        ("rejects",),
        "pipeline/jobs/retries/mended_rows.py",
        "    values = settings_of_a_job(settings, mapping_settings(origin))\n",
        '    values = settings.model_dump(mode="json")\n',
        f"{_KINDS}::test_mended_rows_are_mapped_once_and_are_no_newer_than_the_hash_of_their_id",
    ),
    Mend(
        "rejects: a row that was mapped already is not mapped again",
        ("rejects",),
        "pipeline/jobs/report.py",
        "        is_sent_as_read=not is_mapped(record),\n",
        "",
        f"{_KINDS}::test_a_row_that_target_refused_as_it_was_mapped_is_not_shown_as_one_of_the_export",
    ),
    Mend(
        "rejects: a mended table in another encoding is refused in words",
        ("rejects",),
        _FIXED,
        "            if not is_utf8(record.raw):\n",
        "            if False:\n",
        f"{_KINDS}::test_a_table_in_another_encoding_is_refused_in_words",
    ),
    Mend(
        "rejects: a row that was never rejected is no mended one",
        ("rejects",),
        _REJECTED,
        "            return Unfit.NEW\n",
        "            return None\n",
        f"{_TESTS}::test_a_row_that_was_not_rejected_is_refused",
    ),
    Mend(
        "rejects: a rejected row comes back once",
        ("rejects",),
        _REJECTED,
        "        self._left[place] -= 1\n",
        "",
        f"{_TESTS}::test_a_row_that_was_not_rejected_is_refused",
    ),
    Mend(
        "rejects: a line behind the end of a part is none of the next part",
        ("rejects",),
        _FIXED,
        "        return line if not self._before or self._places.of(line).file == file else NO_LINE\n",
        "        return line\n",
        f"{_TESTS}::test_rows_of_an_export_in_parts_are_told_by_part",
    ),
    Mend(
        "rejects: the folder of a job that was not entered is removed at the next start",
        ("rejects",),
        "pipeline/edges/store/state.py",
        "    state.end_folders()\n",
        "",
        f"{_TESTS}::test_a_folder_whose_job_was_not_entered_is_removed_at_the_next_start",
    ),
]
