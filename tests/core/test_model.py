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
    warnings = Warnings()
    warnings.note("bare_quote", 7, 2)
    warnings.note("bare_quote", 9)
    warnings.note("ids_trimmed", 3, 0)
    warnings.note_empty_cells({"b": 2, "a": 1}, 5)
    assert warnings.as_dict() == {
        "bare_quote": 3,
        "empty_cells": {"a": 1, "b": 2},
        "first_lines": {"bare_quote": 7, "empty_cells": 5},
    }
    assert list(Warnings(1, 2, 3, 4).as_dict().values()) == [1, 2, 3, 4]
    assert Warnings().as_dict() == {}


def test_warnings_add_up_and_come_back() -> None:
    total = Warnings(1, 2, 3, 4, empty_cells=Counter(a=1), first_lines={"bare_quote": 4})
    total.add(Warnings(10, 20, 30, 40, empty_cells=Counter(a=1, b=2), first_lines={"bare_quote": 9, "x": 8}))
    assert total == Warnings(11, 22, 33, 44, empty_cells=Counter(a=2, b=2), first_lines={"bare_quote": 4, "x": 8})
    for warnings in (total, Warnings(), Warnings(bare_quote=1), Warnings(empty_cells=Counter(a=1))):
        assert Warnings.from_dict(json.loads(json.dumps(warnings.as_dict()))) == warnings
    came_back = Warnings.from_dict(total.as_dict())
    came_back.empty_cells["never seen"] += 1
    assert total.empty_cells == Counter(a=2, b=2)


def test_every_warning_adds_up() -> None:
    """Each count is added: one that `add` forgot would be lost with the block it is of."""
    counts = [each.name for each in fields(Warnings) if each.name not in ("empty_cells", "first_lines")]
    total = Warnings()
    for _ in range(2):
        total.add(Warnings(**dict.fromkeys(counts, 3)))  # type: ignore[arg-type]
    assert total.as_dict() == dict.fromkeys(counts, 6)


def test_the_first_line_among_rows_of_one_file_is_the_least() -> None:
    regular, irregular = Warnings(), Warnings()
    regular.note("ids_trimmed", 5)
    irregular.note("ids_trimmed", 3)
    irregular.note("bare_quote", 9)
    regular.add_among(irregular)
    assert regular.as_dict() == {"bare_quote": 1, "ids_trimmed": 2, "first_lines": {"bare_quote": 9, "ids_trimmed": 3}}


def test_warnings_of_a_version_without_first_lines_are_read() -> None:
    before = {"bare_quote": 2, "empty_cells": {"a": 1}}
    assert Warnings.from_dict(before).as_dict() == before


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
    assert counts.accounted == sum(10**place for place in range(len(CLASSES)))
