"""What is said of the cells of many rows is what splitting each of them says."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.memory.cells import (
    MOST_TOLD,
    cells_of,
    filled_cells,
    lacks_any,
    patterns,
    separators_in,
    with_shapes,
    without_shapes,
)
from tests.core.builders import SALT, rows_of

IDS = st.sampled_from(["u", "u2", "cust-000001"])
ROWS = st.lists(st.tuples(IDS, st.lists(st.sampled_from(["", "", "a", "bcd"]), max_size=5)), max_size=20)


def texts_of(rows: list[tuple[str, list[str]]]) -> list[bytes]:
    return [(",".join([profile_id, *cells]) + "\n").encode() for profile_id, cells in rows]


@given(ROWS, st.booleans())
def test_cells(records: list[tuple[str, list[str]]], same_width: bool) -> None:
    if same_width:
        records = [(profile_id, [*cells, "", "", "", "", ""][:4]) for profile_id, cells in records]
    rows = rows_of(texts_of(records))
    expected = [sum(1 << place for place, cell in enumerate(cells) if cell) for _, cells in records]
    assert filled_cells(rows.body, separators_in(rows.body)).tolist() == expected
    starts, sizes = cells_of(rows.body, rows.starts, rows.ends, 6)
    for number, (_, cells) in enumerate(records):
        found = [rows.body[int(starts[at][number]) :][: int(sizes[at][number])].decode() for at in range(6)]
        assert found == [*cells, "", "", "", "", "", ""][:6]
    assert lacks_any(rows, 4).tolist() == [len(cells) < 4 or "" in cells for _, cells in records]
    of_each = patterns(rows.body, rows.ends, rows.id_lengths, 3, SALT)
    for one, (profile_id, _) in enumerate(records):
        for other, (another_id, _) in enumerate(records):
            is_same = profile_id == another_id and expected[one] == expected[other] and expected[one] > 0
            assert (of_each[one] == of_each[other] and of_each[one] > 0) == is_same
    assert (of_each == with_shapes(without_shapes(of_each), np.full(len(rows), 3, np.uint64))).all()
    if any(expected):
        assert (of_each != patterns(rows.body, rows.ends, rows.id_lengths, 4, SALT)).any()


def test_of_more_cells_than_are_told_nothing_is_said() -> None:
    cells = ["a"] * MOST_TOLD
    rows = rows_of(texts_of([("u", cells), ("u", [*cells, "b"]), ("u", [*cells, ""])]))
    assert filled_cells(rows.body, separators_in(rows.body)).tolist() == [2**MOST_TOLD - 1, 0, 0]
    one_width = rows_of(texts_of([("u", [*cells, "b"]), ("u", [*cells, ""])]))
    assert filled_cells(one_width.body, separators_in(one_width.body)).tolist() == [0, 0]
    assert patterns(rows.body, rows.ends, rows.id_lengths, 0, SALT)[1:].tolist() == [0, 0]
