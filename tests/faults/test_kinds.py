"""Exports of all kinds are what the tests of faults say: another library reads the same rows in the same places."""

from pathlib import Path

import pytest

from tests.tools.faults.content import BROKEN
from tests.tools.faults.kinds import KINDS, Drawn, Kind, draw_kinds, here

#: How an export of each kind is written is drawn, so a few of them.
SEEDS = range(6)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_another_library_finds_each_row_where_it_is_said_to_be(kind: Kind, tmp_path: Path) -> None:
    if not kind.is_here():
        pytest.skip(f"{kind.needs} is not installed")
    for seed in SEEDS:
        path = tmp_path / f"{seed}{kind.ending}"
        drawn = Drawn(seed, (kind,), kind.key, is_hashed=False)
        export = kind.export(path, drawn.make(0, 150, seed, rejected=0.1))
        found = {(file, line): cells for file, line, cells in kind.read(path)}
        broken = {line - 2 for line, reason in export.rejects if reason in BROKEN}
        assert len(set(export.places)) == len(export.places) == len(export.records) == 150
        assert found.keys() <= {*export.places}
        made = dict(zip(export.places, export.records, strict=True))
        can_be_read = [place for number, place in enumerate(made) if number not in broken]
        assert {place: found.get(place) for place in can_be_read} == {place: made[place] for place in can_be_read}


def test_a_seed_draws_the_same_kinds_again_and_all_of_them_come() -> None:
    drawn = [draw_kinds(seed, 3) for seed in range(len(here()))]
    assert drawn == [draw_kinds(seed, 3) for seed in range(len(here()))]
    assert {each.kinds[0].name for each in drawn} == {kind.name for kind in here()}
    assert all(kind.goes_with(each.key) for each in drawn for kind in each.kinds)
    assert {each.is_hashed for each in drawn} == {True, False}
