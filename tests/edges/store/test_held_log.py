"""What is written down of held rows gives, replayed, what waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.tracker import HeldChanges
from pipeline.edges.store.held_log import blobs_of, replay
from tests.core.builders import changes_to, row

IDS = st.sampled_from([b"u1", b"u2", b"u%2C3", b"u" * 300])
ROWS = st.lists(st.tuples(st.binary(max_size=9).map(lambda cell: cell.hex()), st.integers(2, 2**62)), max_size=3)
SEALS = st.lists(st.dictionaries(IDS, ROWS), max_size=6)


@given(SEALS)
def test_what_waits_is_what_each_seal_left(seals: list[dict[bytes, list[tuple[str, int]]]]) -> None:
    model: dict[bytes, list[tuple[bytes, int]]] = {}
    blobs = []
    for number, change in enumerate(seals):
        held = {
            name: [(row(name.decode(), cell), line) for cell, line in sorted(rows, key=lambda each: each[1])]
            for name, rows in change.items()
        }
        model |= held
        blobs += [(number, blob) for blob in blobs_of(changes_to(held))]
    expected = [(name, text, line) for name in sorted(model) for text, line in model[name]]
    assert replay(blobs) == expected


def test_what_waits_behind_a_row_is_in_another_piece_of_the_same_change() -> None:
    first, behind = (changes_to({b"u1": [(row("u1", cell), line)]}).rows[0] for cell, line in (("1", 9), ("2", 7)))
    blobs = [*blobs_of(HeldChanges((first, behind)))]
    assert len(blobs) == 2
    assert replay((1, blob) for blob in blobs) == [(b"u1", row("u1", "1"), 9), (b"u1", row("u1", "2"), 7)]
    assert replay(enumerate(blobs)) == [(b"u1", row("u1", "2"), 7)]


def test_nothing() -> None:
    assert [*blobs_of(HeldChanges())] == []
    assert replay([]) == []
    (gone,) = blobs_of(HeldChanges(gone=(b"u1", b"u2")))
    assert replay([(1, gone)]) == []


@pytest.mark.parametrize(("rows", "gone"), [(0, -(2**63)), (2**62, 0), (-1, 1), (-2, 0), (0, 2**63 - 1)])
def test_counts_that_no_change_has(rows: int, gone: int) -> None:
    counts = rows.to_bytes(8, "little", signed=True) + gone.to_bytes(8, "little", signed=True)
    for rest in (b"", b"\0" * 28):
        with pytest.raises(ValueError):
            replay([(1, counts + rest)])


@pytest.mark.parametrize("cut", [0, 7, 16, 20, -1])
def test_what_is_no_change(cut: int) -> None:
    (blob,) = blobs_of(changes_to({b"u1": [(row("u1", "1"), 2)], b"u2": []}))
    for octets in (blob[:cut], blob + b"x", b"\xff" * len(blob)):
        with pytest.raises(ValueError):
            replay([(1, octets)])
