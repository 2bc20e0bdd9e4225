"""Digests of rows: the same for the same words under the same names, and for nothing else."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.memory.digest import digest_rows
from tests.core.builders import SALT, row, rows_of

NAMES = ("a", "b", "c")
CELLS = st.lists(st.sampled_from(["", "1", "2", "gold", "a-longer-cell-of-many-bytes"]), max_size=3)
IDS = st.sampled_from(["a", "ann", "ann1", "an-id-of-sixteen", "an-id-of-many-more-bytes"])


def digests_of(texts: list[bytes], names: tuple[str, ...] = NAMES, salt: int = SALT) -> list[int]:
    rows = rows_of(texts)
    digests: list[int] = digest_rows(rows.body, rows.starts, rows.ends, names, salt).tolist()
    return digests


@given(st.lists(st.tuples(IDS, CELLS), min_size=1, max_size=12))
def test_two_rows_have_one_digest_if_they_say_the_same(rows: list[tuple[str, list[str]]]) -> None:
    def said(profile_id: str, cells: list[str]) -> tuple[str, ...]:
        while cells and not cells[-1]:
            cells = cells[:-1]
        return (profile_id, *cells)

    digests = digests_of([row(profile_id, *cells) for profile_id, cells in rows])
    by_words: dict[tuple[str, ...], int] = {}
    for words, digest in zip((said(*each) for each in rows), digests, strict=True):
        assert digest
        assert by_words.setdefault(words, digest) == digest
    assert len(set(by_words.values())) == len(by_words)


def test_names_and_salt_are_part_of_it() -> None:
    text = row("ann", "1", "2")
    all_of_them = {
        digests_of([text], names, salt)[0] for names in (NAMES, ("a", "c", "b"), ("a", "bc", "d")) for salt in (1, 2)
    }
    assert len(all_of_them) == 6


def test_empty_cells_at_the_end_and_their_names_change_nothing() -> None:
    alike = [
        digests_of([row("ann", "1")], ("a",)),
        digests_of([row("ann", "1", "", "")]),
        digests_of([row("ann", "1")], ("a", "z")),
        digests_of([row("ann", "1", "", "", "")], ("a", "z", "y", "x")),
    ]
    assert all(one == other for one, other in pairwise(alike))
    assert digests_of([row("ann", "", "1")]) != digests_of([row("ann", "1", "")])


def test_it_does_not_hang_on_where_a_row_stands() -> None:
    texts = [row(f"id{number}", "1" * (number % 40), "2") for number in range(40_000)]
    rows, names = rows_of(texts), ("a", "b")
    digests = digest_rows(rows.body, rows.starts, rows.ends, names, SALT)
    some = np.arange(5, len(texts), 997)
    assert digest_rows(rows.body, rows.starts[some], rows.ends[some], names, SALT).tolist() == digests[some].tolist()
    assert digests_of([texts[32_768]], names) == [int(digests[32_768])]
    assert len(np.unique(digests)) == len(texts)
