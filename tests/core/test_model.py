"""Rows are cut where they say, warnings name only what occurred, and counts must add up."""

import json
from collections import Counter
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


def test_warnings_add_up_and_come_back() -> None:
    total = Warnings(1, 2, 3, 4, Counter(a=1))
    total.add(Warnings(10, 20, 30, 40, Counter(a=1, b=2)))
    assert total == Warnings(11, 22, 33, 44, Counter(a=2, b=2))
    for warnings in (total, Warnings(), Warnings(bare_quote=1), Warnings(empty_cells=Counter(a=1))):
        assert Warnings.from_dict(json.loads(json.dumps(warnings.as_dict()))) == warnings
    came_back = Warnings.from_dict(total.as_dict())
    came_back.empty_cells["never seen"] += 1
    assert total.empty_cells == Counter(a=2, b=2)


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
    assert counts.accounted == 11_111_111
