"""Loads of several parts that are cut off and go on, and what is looked at before anything is sent."""

from tests.mends import Mend

_PARTS = "tests/jobs/test_parts.py"
_GO_ON = "tests/jobs/test_parts_go_on.py"
_LOOK_ONLY = "tests/edges/test_exports.py::TestLookOnly"

MENDS = [
    Mend(
        "parts go on: digest and position are of one moment",
        ("parts", "cut-off"),
        "pipeline/jobs/producer.py",
        "        checkpoint.seconds, checkpoint.calls = progress.seconds(",
        "        checkpoint.digest_bytes, checkpoint.digest = progress.bytes_read, progress.sha256\n"
        "        checkpoint.seconds, checkpoint.calls = progress.seconds(",
        f"{_GO_ON}::test_a_seal_between_two_parts_is_gone_on_from",
    ),
    Mend(
        "parts go on: a directory that vanished is that of its job",
        ("parts", "cut-off"),
        "pipeline/jobs/command.py",
        "self.error is not None and job.export == path_of(self.path)",
        "False",
        f"{_GO_ON}::test_a_part_that_changed_ends_the_job_and_is_named",
    ),
    Mend(
        "parts: the beginnings of all are read before anything is sent",
        ("parts",),
        "pipeline/jobs/row_source/rows.py",
        "    await check_parts(export, reading, form)\n",
        "",
        f"{_PARTS}::test_a_wrong_part_is_refused_before_any_row_is_read",
    ),
    Mend(
        "parts: of an archive no more is read than the beginnings",
        ("parts",),
        "pipeline/edges/exports/reader.py",
        "if self._open.members is not None and not self._is_looking:",
        "if self._open.members is not None:",
        f"{_LOOK_ONLY}::test_of_an_archive_no_more_than_the_beginnings_of_its_members_is_read",
    ),
    Mend(
        "parts: nothing is read ahead of beginnings",
        ("parts",),
        "pipeline/edges/exports/opened.py",
        "            if not self._is_looking:\n                self._ahead",
        "            if True:\n                self._ahead",
        f"{_LOOK_ONLY}::test_of_files_a_block_is_read",
    ),
]
