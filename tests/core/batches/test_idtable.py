"""The table of ids is a dict, whatever the hashes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.idtable import IdTable
from tests.core.builders import hashes_of

#: The table's first size: hashes that differ by a multiple of it want the same slot.
SLOTS = 4_096
HASHES = st.one_of(
    st.integers(1, 2**64 - 1),
    st.integers(1, 30).map(lambda number: number * SLOTS),
    st.integers(1, 30).map(lambda number: number * SLOTS - 1),  # the last slot: probing goes round to the first
    st.integers(1, 8),
)
BLOCKS = st.lists(st.one_of(st.none(), st.lists(HASHES, max_size=30, unique=True)), max_size=8)


def found(table: IdTable, hashes: list[int]) -> list[int]:
    rows: list[int] = table.find(hashes_of(hashes)).tolist()
    return rows


@given(BLOCKS, st.lists(HASHES, max_size=20))
def test_table_is_a_dict(blocks: list[list[int] | None], others: list[int]) -> None:
    """A block of hashes is entered as far as it is new; None takes all out."""
    table, model = IdTable(), dict[int, int]()
    everything = [*others, *(number for block in blocks for number in block or [])]
    for block in blocks:
        if block is None:
            assert table.take_all().tolist() == list(model)
            model.clear()
        else:
            slots = table.probe(hashes_of(block))
            assert table.is_taken(slots).tolist() == [number in model for number in block]
            new = [number for number in block if number not in model]
            is_new = [number in new for number in block]
            table.insert(hashes_of(new), slots[is_new])
            model |= {number: len(model) + place for place, number in enumerate(new)}
        assert len(table) == len(model)
        assert found(table, everything) == [model.get(number, -1) for number in everything]
    assert table.take_all().tolist() == list(model)


def test_table_grows_and_keeps_what_it_has() -> None:
    table = IdTable()
    generator = np.random.default_rng(1)
    hashes = np.unique(generator.integers(1, 2**63, size=50_000, dtype=np.uint64))
    for start in range(0, len(hashes), 7_000):
        block = hashes[start : start + 7_000]
        # The slots are those of the table before it grew.
        table.insert(block, table.probe(block))
        end = min(start + 7_000, len(hashes))
        assert len(table) == end
        assert table.find(hashes).tolist() == [*range(end), *[-1] * (len(hashes) - end)]
    assert np.array_equal(table.take_all(), hashes)
    assert len(table) == 0
    assert np.all(table.find(hashes) == -1)


def test_hashes_that_all_want_one_slot_are_found() -> None:
    """The worst case: every hash wants the same slot, in one block."""
    hashes = [number * SLOTS * 1024 for number in range(1, 301)]
    table = IdTable()
    table.insert(hashes_of(hashes))
    assert found(table, hashes) == list(range(300))
    assert found(table, [1, 301 * SLOTS * 1024]) == [-1, -1]


def test_nothing_to_find_or_to_insert() -> None:
    table = IdTable()
    table.insert(hashes_of([]))
    assert found(table, []) == []
    assert len(table) == 0
