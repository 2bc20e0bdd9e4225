"""Rows are cut where they say, warnings name only what occurred, and counts must add up."""

from dataclasses import fields

import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import RowCounts, Warnings
from tests.core.builders import row, rows_of


def test_rows() -> None:
    texts = [row("u1", "a"), row("u22", "bb"), row("u3", "")]
    rows = rows_of(texts)
    assert len(rows) == 3
    assert [rows.text(index) for index in range(3)] == texts
    assert rows.starts.tolist() == [0, 5, 12]
    assert rows.lines.tolist() == [2, 3, 4]
    assert rows.id_lengths.tolist() == [2, 3, 2]


def test_no_rows() -> None:
    assert len(rows_of([])) == 0
    assert rows_of([]).starts.tolist() == []


def test_warnings_name_what_occurred() -> None:
    warnings = Warnings(bare_quote=2)
    warnings.empty_cells.update(["b", "a", "b"])
    assert warnings.as_dict() == {"bare_quote": 2, "empty_cells": {"a": 1, "b": 2}}
    assert list(Warnings(1, 2, 3, 4).as_dict().values()) == [1, 2, 3, 4]
    assert Warnings().as_dict() == {}


CLASSES = [each.name for each in fields(RowCounts) if each.name != "read"]


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_counts_once(name: str) -> None:
    RowCounts(**{"read": 3, name: 3}).check()
    for read in (2, 4):
        with pytest.raises(FatalError, match=f"of {read} rows read 3 are accounted for") as caught:
            RowCounts(**{"read": read, name: 3}).check()
        assert caught.value.exit_code == ExitCode.OUR_BUG


def test_lost_rows() -> None:
    counts = RowCounts(**{name: 10**place for place, name in enumerate(CLASSES)})
    assert counts.lost == counts.failed + counts.unconfirmed
    assert counts.accounted == 1_111_111
