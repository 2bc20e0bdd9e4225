"""Rows about what would be left out without a word: parts of another kind, files behind others, all lines."""

from tests.mends import Mend

_COLUMNAR = "pipeline/edges/containers/columnar.py"
_FILES = "tests/edges/containers/test_columnar.py"

MENDS = [
    Mend(
        "the parts of an export are of one kind, Parquet and Arrow too",
        ("cut-off",),
        "pipeline/jobs/row_source/starts.py",
        "if form is not None and kind != form.kind:",
        'if form is not None and (kind == "JSON Lines") != (form.kind == "JSON Lines"):',
        "tests/jobs/test_parts.py::test_a_columnar_part_among_others_is_refused",
    ),
    Mend(
        "of Parquet files put together none is lost",
        ("cut-off",),
        _COLUMNAR,
        "if kind in _SEAMS and source.holds(_SEAMS[kind]):",
        "if False:",
        f"{_FILES}::test_a_file_behind_another_is_not_lost",
    ),
    Mend(
        "of Arrow streams put together none is lost",
        ("cut-off",),
        _COLUMNAR,
        'if kind == "Arrow stream" and source.tell() != source.size():',
        "if False:",
        f"{_FILES}::test_a_file_behind_another_is_not_lost",
    ),
    Mend(
        "an export of which skip_last would leave out all rows is not done",
        ("cut-off",),
        "pipeline/core/formats/trailer.py",
        "if buffer.strip(_BLANK) and held < self._lines:",
        "if False:",
        "tests/core/formats/test_trailer.py::test_an_export_of_which_all_rows_would_be_left_out_is_not_whole",
    ),
]
