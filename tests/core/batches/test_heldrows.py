"""Held rows in columns are found by their ids, whatever their hashes, and take no more memory than they must."""

import tracemalloc
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.heldrows import HeldRows
from pipeline.core.model import Rows
from tests.core.builders import all_texts, hashes_of, id_of, row, rows_of


def add(held: HeldRows, rows: Rows, *indexes: int) -> None:
    chosen = np.array(indexes or range(len(rows)), dtype=np.int64)
    held.add(rows, chosen, is_loose=False, is_changed=True)


def number_of(held: HeldRows, text: bytes, hash_: int | None = None) -> int:
    return held.find(id_of(text), int(rows_of([text]).hashes[0]) if hash_ is None else hash_)


def test_rows_come_back_as_they_were() -> None:
    texts = [row("u1", "1", ""), row("u%2C2", "x" * 1_000), row("u3", "")]
    held, rows = HeldRows(), rows_of(texts, first_line=2**40)
    assert (len(held), held.numbers().tolist()) == (0, [])
    add(held, rows, 2, 0)
    assert (len(held), held.text_bytes) == (2, len(texts[2] + texts[0]))
    found = held.rows(np.array([1, 0]))
    assert all_texts(found) == [texts[0], texts[2]]
    assert found.lines.tolist() == [2**40, 2**40 + 2]
    assert found.hashes.tolist() == rows.hashes[[0, 2]].tolist()
    assert found.id_lengths.tolist() == [2, 2]
    assert held.ids(held.numbers()) == [b"u3", b"u1"]
    assert [number_of(held, text) for text in texts] == [1, -1, 0]
    assert held.may_have(rows.hashes).tolist() == [True, False, True]
    assert all_texts(held.rows_by_line(held.numbers())) == [texts[0], texts[2]]


def test_another_row_in_the_place_of_one() -> None:
    held = HeldRows()
    texts = [row("u1", "1", "2"), row("u2", "3", "4")]
    add(held, rows_of(texts))
    for text, line in ((row("u1", "1", ""), 9), (row("u1", "x" * 100_000, "y"), 10)):
        held.replace(number_of(held, text), text, line)
        assert [held.text(number) for number in held.numbers().tolist()] == [text, texts[1]]
        assert (held.line(0), held.text_bytes) == (line, len(text + texts[1]))


#: So few hashes that ids have them in common, some of which end alike.
HASHES = st.sampled_from([1, 2, 1 + (1 << 40)])
IDS = st.integers(0, 40).map(lambda number: f"u{number}")
CHANGES = st.lists(
    st.tuples(st.sampled_from(["add", "add", "replace", "remove", "tidy"]), IDS, st.text("xy", max_size=9))
)


@given(CHANGES, st.dictionaries(IDS, HASHES), st.sampled_from([1, 50, 3_000]))
def test_it_is_a_dictionary(changes: list[tuple[str, str, str]], forged: dict[str, int], size: int) -> None:
    held, model = HeldRows(), dict[bytes, tuple[bytes, int]]()
    for line, (what, profile_id, cell) in enumerate(changes):
        text = row(profile_id, cell * size)
        rows = rows_of([text], first_line=line)
        hash_ = forged.get(profile_id, int(rows.hashes[0]))
        number = held.find(id_of(text), hash_)
        assert (number >= 0) == (id_of(text) in model)
        if what == "tidy":
            held.tidy()
        elif what == "add" and number < 0:
            add(held, replace(rows, hashes=hashes_of([hash_])))
            model[id_of(text)] = (text, line)
        elif what == "replace" and number >= 0:
            held.replace(number, text, line)
            model[id_of(text)] = (text, line)
        elif what == "remove" and number >= 0:
            held.remove(np.array([number]))
            del model[id_of(text)]
        numbers = held.numbers()
        assert {
            each: (held.text(at), held.line(at)) for each, at in zip(held.ids(numbers), numbers, strict=True)
        } == model
        assert (len(held), held.text_bytes) == (len(model), sum(len(text) for text, _ in model.values()))
        assert held.may_have(held.hashes(numbers)).all()


def test_many_are_found_after_many_were_taken_out() -> None:
    held = HeldRows()
    rows = rows_of([row(f"u{number}", f"{number}" * 10) for number in range(30_000)])
    for first in range(0, 30_000, 1_000):
        add(held, rows, *range(first, first + 1_000))
    assert held.may_have(rows.hashes).all()
    numbers = held.numbers()
    held.is_loose[numbers[::2]] = True
    held.remove(numbers[numbers % 10 != 0])
    held.tidy()
    left = held.numbers()
    assert len(left) == len(held) == 3_000
    assert all_texts(held.rows(left)) == [rows.text(index) for index in range(0, 30_000, 10)]
    assert held.is_loose[left].all()
    assert [held.find(b"u%d" % index, int(rows.hashes[index])) >= 0 for index in range(20)] == [True, *[False] * 9] * 2
    assert np.count_nonzero(held.may_have(rows.hashes)) == 3_000


def test_what_is_taken_out_takes_no_memory() -> None:
    """However often rows come and go, or are replaced."""
    rows = rows_of([row(f"u{number}", "x" * 60) for number in range(1_000)])
    ids = [id_of(rows.text(index)) for index in range(len(rows))]
    held = HeldRows()
    add(held, rows)
    tracemalloc.start()
    try:
        for _ in range(50):
            held.remove(held.numbers()[:500])
            add(held, rows, *np.flatnonzero(held.find_all(ids, rows.hashes) < 0))
            for number in held.numbers()[:200].tolist():
                held.replace(number, held.text(number)[:-1] + b"y\n", 9)
            held.tidy()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500_000
    assert len(held) == 1_000
