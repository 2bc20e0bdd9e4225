"""A cell of a columnar file that is larger than a record may be costs its length, and is a reject."""

from tests.mends import Mend

MENDS = [
    Mend(
        "long cells: no more of a record is kept than a reject shows",
        ("cost",),
        "pipeline/core/formats/cells.py",
        "if (room := self._most_bytes + 1 - self._kept_bytes) > 0 and piece:",
        "if room := len(piece):",
        "tests/core/formats/test_cells.py::test_of_a_record_that_is_too_long_no_more_is_kept_than_a_reject_shows",
    ),
]
