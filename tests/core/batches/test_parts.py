"""The place of a line among the parts of an export."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.parts import Part, Place, Places


def test_an_export_of_one_file_has_its_own_name() -> None:
    places = Places("export.csv")
    assert places.of(7) == Place("export.csv", 7)
    assert places.told(1_007) == "line 1,007"


def test_a_line_is_told_with_its_part() -> None:
    places = Places("export", [Part("a"), Part("empty", lines_before=5), Part("b", lines_before=5)])
    assert [places.of(line) for line in (1, 5, 6)] == [Place("a", 1), Place("a", 5), Place("b", 1)]
    assert places.told(8) == "line 3 of b"


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_each_line_is_in_its_part(lines: list[int]) -> None:
    before = [0, *accumulate(lines)]
    places = Places("export", [Part(str(number), lines_before=before[number]) for number in range(len(lines))])
    found = [places.of(line) for line in range(1, before[-1] + 1)]
    assert found == [Place(str(number), line) for number, count in enumerate(lines) for line in range(1, count + 1)]
