"""Rows of an id in flight wait, merge, carry, and are freed in order; what waits can be written down and restored."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.tracker import HELD_ROW_OVERHEAD_BYTES, NO_CHANGES, Tracker
from pipeline.core.model import Hashes
from pipeline.core.rows.encoding import merge
from pipeline.core.rows.mapping import pack_rows
from tests.core.builders import SALT, all_texts, hashes_of, id_of, ids_of_one_hash, row, rows_by_id, rows_of


def tracker_of(*, max_held_rows: int = 100, max_held_bytes: int = 10**6, max_row_bytes: int = 10**6) -> Tracker:
    return Tracker(max_held_rows=max_held_rows, max_held_bytes=max_held_bytes, max_row_bytes=max_row_bytes, salt=SALT)


def ids_of(*ids: str) -> Hashes:
    """The hashes of ids, as given."""
    return rows_of([row(profile_id, "") for profile_id in ids]).hashes


def seal(tracker: Tracker, batch_id: int, *ids: str) -> None:
    tracker.seal(batch_id, np.sort(ids_of(*ids)))


def hold(tracker: Tracker, *texts: bytes, first_line: int = 2) -> int:
    return tracker.hold(rows_of(texts, first_line=first_line), list(range(len(texts))))


def freed(tracker: Tracker) -> list[tuple[bytes, int]]:
    rows = tracker.free()
    return list(zip(all_texts(rows), rows.lines.tolist(), strict=True))


def released(tracker: Tracker, batch_id: int) -> list[tuple[bytes, int]]:
    """What is free once a batch is released."""
    tracker.release(batch_id)
    return freed(tracker)


def flags(tracker: Tracker, *ids: str) -> list[bool]:
    found: list[bool] = tracker.is_in_flight(ids_of(*ids)).tolist()
    return found


def must_wait(tracker: Tracker, *ids: str) -> list[bool]:
    found: list[bool] = tracker.must_wait(ids_of(*ids)).tolist()
    return found


# What is in flight.


def test_ids_are_in_flight_from_seal_to_release() -> None:
    tracker = tracker_of()
    assert flags(tracker, "u1", "u2") == [False, False]
    seal(tracker, 1, "u1", "u2")
    seal(tracker, 2, "u3")
    assert tracker.batches_in_flight == 2
    assert flags(tracker, "u3", "u4", "u1", "u2") == [True, False, True, True]
    assert flags(tracker) == []
    assert released(tracker, 1) == []
    assert flags(tracker, "u3", "u4", "u1", "u2") == [True, False, False, False]
    assert released(tracker, 2) == []
    assert tracker.batches_in_flight == 0
    assert flags(tracker, "u3") == [False]


def test_a_batch_that_is_not_in_flight_cannot_be_released() -> None:
    tracker = tracker_of()
    seal(tracker, 1, "u1")
    tracker.release(1)
    with pytest.raises(KeyError):
        tracker.release(1)


def test_a_batch_stays_in_flight_until_it_is_released() -> None:
    tracker = tracker_of()
    seal(tracker, 1, "u1")
    seal(tracker, 2, "u2")
    assert flags(tracker, "u1", "u2") == [True, True]
    assert tracker.batches_in_flight == 2
    tracker.release(1)
    assert flags(tracker, "u1", "u2") == [False, True]
    tracker.release(2)
    assert (flags(tracker, "u1", "u2"), tracker.batches_in_flight) == ([False, False], 0)


def test_the_children_of_a_split_batch_hold_its_ids() -> None:
    tracker = tracker_of()
    seal(tracker, 1, "u1", "u2")
    hold(tracker, row("u1", "1"), row("u2", "2"))
    tracker.split(1, {2: np.sort(ids_of("u1")), 3: np.sort(ids_of("u2"))})
    assert tracker.batches_in_flight == 2
    assert flags(tracker, "u1", "u2") == [True, True]
    assert (tracker.waiting_for(2), tracker.waiting_for(3)) == ({b"u1"}, {b"u2"})
    assert freed(tracker) == []
    with pytest.raises(KeyError):
        tracker.release(1)
    assert released(tracker, 3) == [(row("u2", "2"), 3)]
    assert released(tracker, 2) == [(row("u1", "1"), 2)]


HASH_SETS = st.sets(st.integers(1, 2**64 - 1) | st.integers(1, 20), max_size=10)
#: The nth batch in flight is released, or split.
CHANGES = st.lists(st.tuples(st.sampled_from(["seal", "release", "split"]), st.integers(0, 9)), max_size=12)


@given(st.lists(HASH_SETS, min_size=12, max_size=12), CHANGES, st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 25)))
def test_in_flight_is_a_set(sets: list[set[int]], changes: list[tuple[str, int]], asked: list[int]) -> None:
    tracker = tracker_of()
    model: dict[int, set[int]] = {}
    for batch_id, ((change, place), hashes) in enumerate(zip(changes, sets, strict=False)):
        if change == "seal" or not model:
            model[batch_id] = hashes
            tracker.seal(batch_id, hashes_of(sorted(hashes)))
        else:
            chosen = sorted(model)[place % len(model)]
            if change == "release":
                del model[chosen]
                tracker.release(chosen)
            else:
                parts = {batch_id: set(list(model[chosen])[::2]), batch_id + 100: set(list(model[chosen])[1::2])}
                tracker.split(chosen, {child: hashes_of(sorted(part)) for child, part in parts.items()})
                del model[chosen]
                model |= parts
        known = set().union(*model.values())
        everything = [*asked, *known]
        assert tracker.is_in_flight(hashes_of(everything)).tolist() == [each in known for each in everything]
        assert tracker.batches_in_flight == len(model)


# What waits.


def test_held_rows_of_an_id_merge() -> None:
    tracker = tracker_of()
    seal(tracker, 1, "u1", "u2")
    assert hold(tracker, row("u1", "1", ""), row("u2", "2", "")) == 0
    assert hold(tracker, row("u1", "", "3"), row("u1", "4", ""), first_line=7) == 2
    assert tracker.held_rows == 2
    assert released(tracker, 1) == [(row("u2", "2", ""), 3), (row("u1", "4", "3"), 8)]
    assert tracker.held_rows == 0


def test_only_the_named_rows_are_held() -> None:
    tracker = tracker_of()
    seal(tracker, 1, "u1")
    assert tracker.hold(rows_of([row("u1", "1"), row("u1", "2"), row("u1", "3")]), [0, 2]) == 1
    assert released(tracker, 1) == [(row("u1", "3"), 4)]


def test_freed_rows_come_in_the_order_of_their_lines_ready_to_be_placed() -> None:
    tracker = tracker_of()
    seal(tracker, 1, "a", "b", "c")
    hold(tracker, row("c", "1"), row("b", "2"), row("a", "3"))
    hold(tracker, row("c", "4"), first_line=9)
    tracker.release(1)
    rows = tracker.free()
    expected = rows_of([row("b", "2"), row("a", "3"), row("c", "4")])
    assert all_texts(rows) == all_texts(expected)
    assert rows.lines.tolist() == [3, 4, 9]
    assert rows.hashes.tolist() == expected.hashes.tolist()
    assert rows.id_lengths.tolist() == [1, 1, 1]


def test_only_rows_that_wait_for_nothing_are_freed() -> None:
    tracker = tracker_of()
    seal(tracker, 1, "u1")
    seal(tracker, 2, "u2")
    hold(tracker, row("u1", "1"), row("u2", "2"))
    assert released(tracker, 2) == [(row("u2", "2"), 3)]
    assert tracker.held_rows == 1
    assert released(tracker, 1) == [(row("u1", "1"), 2)]


def test_waiting_for_a_batch() -> None:
    tracker = tracker_of()
    seal(tracker, 1, "u1", "u2", "u9")
    seal(tracker, 2, "u3")
    assert tracker.waiting_for(1) == set()
    hold(tracker, row("u1", "1"), row("u3", "2"), row("u2", "3"), row("u1", "4"))
    assert tracker.waiting_for(1) == {b"u1", b"u2"}
    assert tracker.waiting_for(2) == {b"u3"}


def test_an_id_with_the_hash_of_another_waits_needlessly_but_stays_itself() -> None:
    tracker = tracker_of()
    ids = u1, u2 = [profile_id.decode() for profile_id in ids_of_one_hash(SALT)]
    seal(tracker, 1, u1)
    rows = rows_of([row(u1, "1", ""), row(u2, "2", ""), row(u1, "", "3")])
    assert tracker.is_in_flight(rows.hashes).all()
    assert tracker.hold(rows, [0, 1, 2]) == 1
    assert tracker.waiting_for(1) == {each.encode() for each in ids}
    # Batch 1 held u1 only.
    tracker.carry({u1.encode(): row(u1, "0", "0")})
    assert released(tracker, 1) == [(row(u2, "2", ""), 3), (row(u1, "1", "3"), 4)]


def test_a_collision_held_before_its_batch_is_sealed_waits_for_that_batch() -> None:
    tracker = tracker_of()
    tracker.hold(rows_of([row("u2", "2")], hashes=[9]), [0])
    tracker.seal(1, hashes_of([9]))
    assert tracker.waiting_for(1) == {b"u2"}
    assert released(tracker, 1) == [(row("u2", "2"), 2)]


def test_a_row_that_only_seems_to_wait_for_another_batch_waits_for_the_one_that_has_its_id() -> None:
    """Of a large batch's hashes not all bits are kept in memory: those in the spool decide."""
    tracker = tracker_of()
    ours = ids_of("u1", "u2")
    # The hash of u1 begins like one in batch 2, that of u2 is one.
    many = np.append(np.arange(1, 100_001, dtype=np.uint64) << np.uint64(40), ours ^ np.array([1, 0], dtype=np.uint64))
    hashes = {1: np.sort(ours), 2: np.sort(many)}
    for batch_id, known in hashes.items():
        tracker.seal(batch_id, known)
    hold(tracker, row("u1", "1", ""), row("u2", "2", ""))
    assert tracker.waiting_for(1, hashes.__getitem__) == {b"u1"}
    assert tracker.waiting_for(1) == set()
    tracker.carry({b"u1": row("u1", "", "0")})
    # It waits needlessly, and carries what it must.
    assert released(tracker, 1) == []
    assert tracker.waiting_for(2, hashes.__getitem__) == {b"u1", b"u2"}
    assert released(tracker, 2) == [(row("u1", "1", "0"), 2), (row("u2", "2", ""), 3)]


# What is carried.


def test_held_rows_carry_the_cells_they_do_not_have() -> None:
    tracker = tracker_of()
    seal(tracker, 1, "u1", "u2")
    hold(tracker, row("u1", "1", "", ""), row("u2", "2", "2", ""))
    before = tracker.held_bytes
    tracker.carry({b"u1": row("u1", "old", "old", "")})
    assert tracker.held_bytes == before + len("old")
    assert tracker.held_rows == 2
    assert released(tracker, 1) == [(row("u1", "1", "old", ""), 2), (row("u2", "2", "2", ""), 3)]


def test_a_row_that_could_not_be_sent_with_what_it_carries_is_left_as_it_is() -> None:
    text, earlier = row("u1", "1", ""), row("u1", "", "22")
    for spare, expected in [(2, merge(earlier, text)), (1, text)]:
        tracker = tracker_of(max_row_bytes=len(text) + spare)
        seal(tracker, 1, "u1")
        hold(tracker, text)
        tracker.carry({b"u1": earlier})
        assert released(tracker, 1) == [(expected, 2)]
        assert tracker.held_bytes == 0


# Rows that cannot merge.


def test_a_row_that_cannot_merge_follows() -> None:
    tracker = tracker_of(max_row_bytes=len(row("u1", "1" * 9, "2" * 9)) - 1)
    seal(tracker, 1, "u1")
    assert hold(tracker, row("u1", "1" * 9, "")) == 0
    assert hold(tracker, row("u1", "", "2" * 9)) == 0
    assert hold(tracker, row("u1", "", "3")) == 1, "what comes later merges with the last of them"
    assert hold(tracker, row("u1", "4" * 9, ""), first_line=9) == 1
    assert tracker.held_rows == 2
    assert tracker.held_bytes == len(row("u1", "1" * 9, "") + row("u1", "4" * 9, "3")) + 2 * HELD_ROW_OVERHEAD_BYTES
    assert tracker.waiting_for(1) == {b"u1"}
    assert released(tracker, 1) == [(row("u1", "1" * 9, ""), 2)]
    assert tracker.held_rows == 1
    assert flags(tracker, "u1") == [False]
    assert must_wait(tracker, "u1", "u2") == [True, False], "what comes later waits behind the row that follows"
    seal(tracker, 2, "u1")
    tracker.carry({b"u1": row("u1", "1" * 9, "")})
    assert released(tracker, 2) == [(row("u1", "4" * 9, "3"), 9)]
    assert (tracker.held_rows, tracker.held_bytes) == (0, 0)
    assert must_wait(tracker, "u1") == [False]


def test_rows_merge_up_to_what_fits_in_a_batch_to_the_byte() -> None:
    for short, held in [(0, 1), (1, 2)]:
        tracker = tracker_of(max_row_bytes=len(row("u1", "1", "2")) - short)
        seal(tracker, 1, "u1")
        hold(tracker, row("u1", "1", ""), row("u1", "", "2"))
        assert tracker.held_rows == held


# What has to wait.


def test_rows_of_ids_in_flight_must_wait() -> None:
    tracker = tracker_of()
    assert must_wait(tracker, "u1") == [False]
    seal(tracker, 1, "u1")
    assert must_wait(tracker, "u2", "u1") == [False, True]
    tracker.release(1)
    assert must_wait(tracker, "u2", "u1") == [False, False]


def test_a_row_put_back_waits_in_front_and_later_ones_behind_it() -> None:
    text = row("u1", "1" * 9, "2" * 9)
    tracker = tracker_of(max_row_bytes=len(text) - 1)
    seal(tracker, 1, "u1")
    hold(tracker, row("u1", "1" * 9, ""), row("u1", "", "2" * 9))
    before = (tracker.held_rows, tracker.held_bytes)
    tracker.release(1)
    tracker.put_back(tracker.free(), [0])
    assert (tracker.held_rows, tracker.held_bytes) == before
    assert must_wait(tracker, "u1", "u2") == [True, False]
    assert freed(tracker) == [(row("u1", "1" * 9, ""), 2)]
    assert must_wait(tracker, "u1") == [True]
    assert freed(tracker) == [(row("u1", "", "2" * 9), 3)]
    assert must_wait(tracker, "u1") == [False]
    assert (tracker.held_rows, tracker.held_bytes) == (0, 0)


def test_a_later_row_merges_with_one_put_back() -> None:
    tracker = tracker_of()
    seal(tracker, 1, "u1")
    hold(tracker, row("u1", "1", ""))
    tracker.release(1)
    tracker.put_back(tracker.free(), [0])
    assert hold(tracker, row("u1", "", "2"), first_line=9) == 1
    assert freed(tracker) == [(row("u1", "1", "2"), 9)]


def test_only_the_named_rows_are_put_back() -> None:
    tracker = tracker_of()
    tracker.put_back(rows_of([row("u1", "1"), row("u2", "2"), row("u3", "3")]), [0, 2])
    assert must_wait(tracker, "u1", "u2", "u3") == [True, False, True]
    assert freed(tracker) == [(row("u1", "1"), 2), (row("u3", "3"), 4)]


# What is written down.


def changes_of(tracker: Tracker) -> dict[bytes, list[tuple[bytes, int]]]:
    return rows_by_id(tracker.take_changes())


def test_changes_are_taken_once_and_name_what_waits_now() -> None:
    tracker = tracker_of(max_row_bytes=len(row("u1", "1" * 9, "2" * 9)) - 1)
    assert changes_of(tracker) == {}
    seal(tracker, 1, "u1", "u2")
    hold(tracker, row("u1", "1" * 9, ""), row("u2", "1", ""), row("u1", "", "2" * 9))
    first = {b"u1": [(row("u1", "1" * 9, ""), 2), (row("u1", "", "2" * 9), 4)], b"u2": [(row("u2", "1", ""), 3)]}
    assert changes_of(tracker) == first
    assert changes_of(tracker) == {}
    hold(tracker, row("u2", "", "3"), first_line=9)
    assert changes_of(tracker) == {b"u2": [(row("u2", "1", "3"), 9)]}
    tracker.carry({b"u2": row("u2", "0", "")})
    assert changes_of(tracker) == {b"u2": [(row("u2", "1", "3"), 9)]}
    tracker.release(1)
    assert changes_of(tracker) == {}
    rows = tracker.free()
    assert changes_of(tracker) == {b"u1": [(row("u1", "", "2" * 9), 4)], b"u2": []}
    tracker.put_back(rows, [1])
    assert changes_of(tracker) == {b"u2": [(row("u2", "1", "3"), 9)]}


def test_what_is_restored_waits_as_it_did_and_is_no_change() -> None:
    tracker = tracker_of()
    seal(tracker, 1, "u1", "u2")
    # These could merge; they were written down as two, and two they stay.
    tracker.restore(rows_of([row("u1", "1", ""), row("u1", "", "2"), row("u2", "3", "")]))
    assert (tracker.held_rows, tracker.take_changes()) == (3, NO_CHANGES)
    size = sum(map(len, [row("u1", "1", ""), row("u1", "", "2"), row("u2", "3", "")]))
    assert tracker.held_bytes == size + 3 * HELD_ROW_OVERHEAD_BYTES
    assert released(tracker, 1) == [(row("u1", "1", ""), 2), (row("u2", "3", ""), 4)]
    assert must_wait(tracker, "u1") == [True]
    assert freed(tracker) == [(row("u1", "", "2"), 3)]


def test_now_and_then_all_that_is_held_is_a_change() -> None:
    """Else what is written down would grow, and not what is to be read back."""
    tracker = tracker_of(max_held_rows=10**6, max_held_bytes=10**9)
    ids = [f"u{number}" for number in range(2_000)]
    seal(tracker, 1, *ids)
    model: dict[bytes, list[tuple[bytes, int]]] = {}
    written: dict[bytes, list[tuple[bytes, int]]] = {}
    written_bytes = all_written = 0
    for turn in range(100):
        texts = [row(name, "x" * 100 + str(turn)) for name in ids[turn % 4 :: 4]]
        hold(tracker, *texts, first_line=1_000 * turn)
        model |= {id_of(text): [(text, line)] for line, text in enumerate(texts, 1_000 * turn)}
        changes = tracker.take_changes()
        if changes.is_all:
            all_written, written_bytes, written = all_written + 1, 0, {}
        written_bytes += sum(len(rows.body) for rows in changes.rows)
        assert written_bytes <= 4 * tracker.held_bytes + 1_000_000
        written |= rows_by_id(changes)
        assert written == model
    assert 1 < all_written < 10


def test_the_first_change_after_a_restart_is_all() -> None:
    """What was written down by then is not known."""
    tracker = tracker_of()
    seal(tracker, 1, "u1", "u2")
    tracker.restore(rows_of([row("u1", "1")]))
    assert freed(tracker) == []
    hold(tracker, row("u2", "2"))
    changes = tracker.take_changes()
    assert changes.is_all
    assert rows_by_id(changes) == {b"u1": [(row("u1", "1"), 2)], b"u2": [(row("u2", "2"), 2)]}
    hold(tracker, row("u2", "3"))
    assert not tracker.take_changes().is_all


HELD_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["hold", "hold", "hold", "free", "put_back", "carry"]),
        st.sampled_from(["u1", "u2", "u3"]),
        st.sampled_from(["", "1", "x" * 12]),
        st.sampled_from(["", "2", "y" * 12]),
    ),
    max_size=25,
)


@given(HELD_STEPS)
def test_what_was_written_down_restores_what_waits(steps: list[tuple[str, str, str, str]]) -> None:
    tracker = again = tracker_of(max_row_bytes=20)
    seal(tracker, 1, "u1", "u2", "u3")
    written: dict[bytes, list[tuple[bytes, int]]] = {}
    free = rows_of([])
    for line, (what, profile_id, *cells) in enumerate(steps, 2):
        text = row(profile_id, *cells)
        if what == "hold" and len(text) <= 20:
            hold(tracker, text, first_line=line)
        elif what == "carry" and profile_id.encode() in written:
            tracker.carry({profile_id.encode(): text})
        elif what == "free":
            tracker.release(1)
            free = tracker.free()
            seal(tracker, 1, "u1", "u2", "u3")
        elif what == "put_back":
            tracker.put_back(free, list(range(len(free))))
            free = rows_of([])
        written = {each: rows for each, rows in (written | changes_of(tracker)).items() if rows}
        again = tracker_of(max_row_bytes=20)
        held = [entry for rows in written.values() for entry in rows]
        lengths = [len(id_of(text)) for text, _ in held]
        again.restore(pack_rows([text for text, _ in held], lengths, [line for _, line in held], SALT))
        assert (again.held_rows, again.held_bytes) == (tracker.held_rows, tracker.held_bytes)
    tracker.release(1)
    while found := freed(tracker):
        assert freed(again) == found
    assert again is tracker or freed(again) == []


# How much may wait.


def test_is_full_by_rows() -> None:
    tracker = tracker_of(max_held_rows=2)
    seal(tracker, 1, "u1", "u2")
    hold(tracker, row("u1", "1"), row("u1", "2"))
    assert not tracker.is_full
    hold(tracker, row("u2", "1"))
    assert tracker.is_full
    tracker.release(1)
    assert tracker.is_full, "a row is held until it is freed"
    tracker.free()
    assert not tracker.is_full


def test_is_full_by_bytes() -> None:
    text = row("u1", "1", "")
    size = len(text) + HELD_ROW_OVERHEAD_BYTES
    for max_held_bytes, is_full in [(size + 1, False), (size, True)]:
        tracker = tracker_of(max_held_bytes=max_held_bytes)
        seal(tracker, 1, "u1")
        hold(tracker, text)
        assert (tracker.held_bytes, tracker.is_full) == (size, is_full)
    hold(tracker, row("u1", "", "333"))
    assert tracker.held_bytes == size + 3


# Memory.


def test_ten_batches_of_half_a_million_ids_within_50_mb() -> None:
    draw = np.random.default_rng(1)
    tracemalloc.start()
    try:
        tracker = tracker_of()
        for batch_id in range(10):
            hashes = np.sort(draw.integers(0, 2**64 - 1, 500_000, dtype=np.uint64))
            tracker.seal(batch_id, hashes)
        tracker.must_wait(hashes[:5_000])
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept <= 50_000_000
    assert peak <= 100_000_000


def test_what_a_held_row_takes() -> None:
    rows = rows_of([row(f"cust-{number:09}", "x" * 60) for number in range(20_000)])
    seal(tracker := tracker_of(max_held_rows=10**6), 1, "u1")
    tracemalloc.start()
    try:
        for first in range(0, len(rows), 100):
            tracker.hold(rows, list(range(first, first + 100)))
            tracker.take_changes()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.75 * tracker.held_bytes < kept < tracker.held_bytes


def test_a_row_held_for_a_hash_that_only_began_alike_is_free_when_the_batch_is_split() -> None:
    """Of a large batch's hashes not all bits are kept; of its small children's they are."""
    tracker = tracker_of()
    hashes = np.arange(1, 100_001, dtype=np.uint64) << np.uint64(40)
    tracker.seal(1, hashes)
    alike = replace(rows_of([row("u1", "1")]), hashes=hashes[500:501] + np.uint64(1))
    assert tracker.must_wait(alike.hashes).all()
    tracker.hold(alike, [0])
    assert freed(tracker) == []
    tracker.split(1, {2: hashes[:1_000], 3: hashes[1_000:2_000]})
    assert freed(tracker) == [(row("u1", "1"), 2)]


def test_a_row_that_waits_for_nothing_any_more_is_not_overtaken_until_it_is_freed() -> None:
    tracker = tracker_of()
    seal(tracker, 1, "u1", "u2")
    hold(tracker, row("u1", "1", ""))
    seal(tracker, 1, "u2")
    assert (flags(tracker, "u1"), must_wait(tracker, "u1", "u3")) == ([False], [True, False])
    hold(tracker, row("u1", "", "2"))
    assert freed(tracker) == [(row("u1", "1", "2"), 2)]
    assert must_wait(tracker, "u1") == [False]


def test_a_freed_row_of_one_id_does_not_let_a_row_of_another_with_the_same_hash_overtake() -> None:
    """Both were put back: that the one is freed says nothing about the other."""
    tracker = tracker_of()
    rows = rows_of([row("u1", "old"), row("u2", "old")])
    rows = replace(rows, hashes=np.array([5, 5], dtype=np.uint64))
    tracker.put_back(rows, [0, 1])
    seal_hashes = np.array([5], dtype=np.uint64)
    tracker.seal(1, seal_hashes)
    tracker.release(1)
    freed_rows = tracker.free()
    assert len(freed_rows) == 2
    tracker.put_back(replace(freed_rows, hashes=np.array([5, 5], dtype=np.uint64)), [1])
    assert tracker.must_wait(np.array([5], dtype=np.uint64)).all()
