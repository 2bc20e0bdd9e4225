"""Rows about JSON Lines that are decoded together, and about Parquet and Arrow files."""

from tests.mends import Mend

_VALUES = "pipeline/core/formats/json_values.py"
_COLUMNAR = "pipeline/edges/containers/columnar.py"
_LINES = "tests/core/rows/test_json_rows.py::test_lines_that_would_be_others_together"
_FILES = "tests/edges/containers/test_columnar.py"

MENDS = [
    Mend(
        "lines that are decoded together are one value each",
        ("columnar",),
        _VALUES,
        "    if (\n        len(values) != 2",
        "    if not values and (\n        len(values) != 2",
        _LINES,
    ),
    Mend(
        "no line holds the number that stands between lines",
        ("columnar",),
        _VALUES,
        "joined.count(_SEPARATOR[1:-1]) != len(raws) - 1",
        "not joined",
        _LINES,
    ),
    Mend(
        "an Arrow stream that is cut off between two record batches is not whole",
        ("columnar",),
        _COLUMNAR,
        "not source.ends_with(_END_OF_STREAM)",
        "not source.size()",
        f"{_FILES}::test_a_stream_that_ends_between_two_batches_is_cut_off",
    ),
    Mend(
        "a NUL in a value of a columnar file ends no cell",
        ("columnar",),
        _COLUMNAR,
        "!= piece.num_rows * len(columns):",
        "< 0:",
        f"{_FILES}::test_what_is_no_text_is_left_to_the_judge",
    ),
    Mend(
        "what pyarrow says of a file that it cannot read is mapped, and told to nobody",
        ("columnar",),
        _COLUMNAR,
        "        if not isinstance(error, known):\n            raise\n",
        "        raise\n",
        f"{_FILES}::test_a_page_that_is_damaged_fails_the_file",
    ),
]
