"""Rows about the text of exports: trailers, escapes, and what is told of an encoding."""

from tests.mends import Mend

_SYSTEMS = "tests/e2e/test_systems.py::TestTrailers::test_a_file_that_is_not_whole"

_READ_BACK = "tests/core/formats/test_framing.py::test_what_spark_writes_is_read_back"

MENDS = [
    Mend(
        "a backslash in a cell without quotes takes nothing in what Spark writes",
        ("cut-off",),
        "pipeline/core/formats/framing.py",
        'self._escapes if dialect.escape_in == "all" else None',
        "self._escapes",
        _READ_BACK,
    ),
    Mend(
        "a backslash takes neither delimiter nor line break in what Spark writes",
        ("cut-off",),
        "pipeline/core/formats/dialect.py",
        'return self.quoting if self.escape_in == "quotes" else',
        "return",
        "tests/core/formats/test_framing.py::test_a_backslash_outside_quotes_takes_nothing_in_what_spark_writes",
    ),
    Mend(
        "an escape before CR LF takes both where lines end so",
        ("cut-off",),
        "pipeline/core/formats/dialect.py",
        'return self.cr_lf_ends_lines and self.escape_in == "all"',
        "return False",
        "tests/core/formats/test_framing.py::test_an_escape_takes_the_line_end_of_the_file_as_one",
    ),
    Mend(
        "two readings of an export with escapes are different settings",
        ("cut-off",),
        "pipeline/settings/sending.py",
        'if export.escape_in == "all":',
        "if export.escape_in:",
        "tests/jobs/test_command.py::test_where_escapes_count_decides_what_is_sent",
    ),
    Mend(
        "an export without its trailer is not done",
        ("cut-off",),
        "pipeline/core/formats/trailer.py",
        "        if found is None:\n            raise",
        "        if found is None:\n            return None\n        if not found:\n            raise",
        f"{_SYSTEMS}",
    ),
    Mend(
        "a trailer is compared with the rows that were read",
        ("cut-off",),
        "pipeline/core/formats/trailer.py",
        "if told is not None and told != rows:",
        "if False:",
        f"{_SYSTEMS}",
    ),
    Mend(
        "a process that goes on knows the rows before",
        ("cut-off",),
        "pipeline/jobs/row_source/rows.py",
        ", rows_before=rows)",
        ")",
        "tests/jobs/test_row_source.py::test_a_process_that_goes_on_reads_the_same[a trailer that counts]",
    ),
    Mend(
        "each part of an export has its own trailer",
        ("cut-off",),
        "pipeline/jobs/row_source/rows.py",
        "        self._rows = rows_before\n",
        "        self._rows = getattr(self, '_rows', rows_before)\n",
        "tests/e2e/test_systems.py::TestTrailers::test_each_part_has_its_own",
    ),
    Mend(
        "a trailer is compared in steps that grow with its length",
        ("cost",),
        "pipeline/core/formats/trailer.py",
        " if len(line) <= _MAX_TRAILER_BYTES else None",
        "",
        "tests/core/formats/test_trailer.py::test_a_line_that_is_too_long_is_no_trailer",
    ),
    Mend(
        "words that are shown are of a header only",
        ("foreign-text",),
        "pipeline/core/formats/candidate_encodings.py",
        '    return line if is_header else b""\n',
        "    return line\n",
        "tests/core/formats/test_candidate_encodings.py::test_the_header_is_known_by_the_id_column",
    ),
]
