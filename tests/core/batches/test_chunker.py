"""The open batch: strictly under both caps, as full as they allow, every id at most once, no row lost or doubled."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.chunker import Chunker, Placed
from pipeline.core.model import BatchContent, Flags, Rows
from pipeline.core.rows.encoding import merge
from tests.core.builders import (
    BODY_START,
    all_texts,
    body_of,
    id_of,
    merged,
    none_in_flight,
    row,
    rows_of,
    texts_of,
)

START_BYTES = len(BODY_START)


def chunker_of(*, max_bytes: int = 10**6, max_rows: int = 10**6) -> Chunker:
    return Chunker(BODY_START, max_bytes=max_bytes, max_rows=max_rows)


def take(chunker: Chunker, rows: Rows, first: int = 0) -> Placed:
    return chunker.take(rows, first, none_in_flight(rows, first))


# One step at a time.


def test_a_batch_begins_with_the_header_and_keeps_the_order() -> None:
    chunker = chunker_of()
    texts = [row("u2", "1", "2"), row("u1", "3", "4")]
    assert take(chunker, rows_of(texts)) == Placed(stop=2, superseded=0, to_hold=[], is_full=False)
    content = chunker.seal()
    assert body_of(content) == BODY_START + b"".join(texts)
    assert (content.rows, content.size_bytes) == (2, len(body_of(content)))
    assert content.lines.tolist() == [2, 3]
    assert content.hashes.tolist() == sorted(rows_of(texts).hashes.tolist())


def test_the_byte_cap_counts_the_header_and_is_kept_to_the_byte() -> None:
    texts = [row(f"u{number}", "1", "2") for number in range(3)]
    size = START_BYTES + sum(map(len, texts))
    assert take(chunker_of(max_bytes=size), rows_of(texts)).stop == 3
    short = chunker_of(max_bytes=size - 1)
    assert take(short, rows_of(texts)) == Placed(stop=2, superseded=0, to_hold=[], is_full=False)
    assert len(body_of(short.seal())) == size - len(texts[2])


def test_the_row_cap_is_kept() -> None:
    chunker = chunker_of(max_rows=2)
    rows = rows_of([row(f"u{number}", "1", "") for number in range(3)])
    assert take(chunker, rows).stop == 2
    assert take(chunker, rows, 2).stop == 2
    assert chunker.rows == 2
    # A row of an id that is in the batch needs no room of its own.
    assert take(chunker, rows_of([row("u0", "", "2")])) == Placed(stop=1, superseded=1, to_hold=[], is_full=False)


def test_merged_rows_that_became_shorter_make_room_for_more_than_was_appended() -> None:
    long, short, other = row("u1", "1" * 50), row("u1", "2"), row("u2", "3" * 50)
    chunker = chunker_of(max_bytes=START_BYTES + len(short) + len(other))
    take(chunker, rows_of([long]))
    assert take(chunker, rows_of([short, row("u1", "4")], first_line=3)).superseded == 2
    assert take(chunker, rows_of([other])) == Placed(stop=1, superseded=0, to_hold=[], is_full=False)
    content = chunker.seal()
    assert texts_of(content) == [row("u1", "4"), other]
    assert content.size_bytes == START_BYTES + len(short) + len(other)


def test_a_row_that_fits_in_no_batch_is_not_taken() -> None:
    chunker = chunker_of(max_bytes=START_BYTES + 5)
    rows = rows_of([row("u1", "1", "2")])
    assert take(chunker, rows) == Placed(stop=0, superseded=0, to_hold=[], is_full=False)
    assert (chunker.rows, chunker.size_bytes) == (0, START_BYTES)


def test_nothing_to_take() -> None:
    chunker = chunker_of()
    rows = rows_of([row("u1", "1", "2")])
    assert take(chunker, rows_of([])) == Placed(stop=0, superseded=0, to_hold=[], is_full=False)
    assert take(chunker, rows, 1) == Placed(stop=1, superseded=0, to_hold=[], is_full=False)
    assert chunker.rows == 0


def test_a_sealed_batch_is_done_and_the_next_begins_anew() -> None:
    chunker = chunker_of()
    rows = rows_of([row("u1", "1", "")])
    take(chunker, rows)
    first = chunker.seal()
    assert (chunker.rows, chunker.size_bytes) == (0, START_BYTES)
    assert take(chunker, rows_of([row("u1", "", "2"), row("u2", "", "3")])).superseded == 0
    take(chunker, rows_of([row("u2", "4", "")]))
    assert texts_of(first) == [row("u1", "1", "")]
    assert texts_of(chunker.seal()) == [row("u1", "", "2"), row("u2", "4", "3")]


def test_a_later_row_of_an_id_merges_where_the_earlier_one_stands() -> None:
    chunker = chunker_of()
    first = rows_of([row("u1", "1", ""), row("u2", "2", "2"), row("u1", "", "3")])
    assert take(chunker, first) == Placed(stop=3, superseded=1, to_hold=[], is_full=False)
    again = rows_of([row("u1", "44", ""), row("u3", "", "5"), row("u2", "", "")], first_line=10)
    assert take(chunker, again) == Placed(stop=3, superseded=2, to_hold=[], is_full=False)
    content = chunker.seal()
    assert texts_of(content) == [row("u1", "44", "3"), row("u2", "2", "2"), row("u3", "", "5")]
    assert content.lines.tolist() == [10, 12, 11], "a merged row is the one of its latest line"
    assert content.size_bytes == len(body_of(content))
    assert content.rows == 3


def test_a_merge_that_breaks_the_byte_cap_is_held_and_the_batch_is_full() -> None:
    texts = [row("u1", "1", ""), row("u2", "2", "")]
    size = START_BYTES + sum(map(len, texts))
    chunker = chunker_of(max_bytes=size + 2)
    rows = rows_of([*texts, row("u1", "", "333"), row("u1", "", "4"), row("u2", "", "5")])
    # u1 on line 5 and u2 on line 6 would fit, but an older value must not be sent after them.
    assert take(chunker, rows) == Placed(stop=5, superseded=0, to_hold=[2, 3, 4], is_full=True)
    assert texts_of(chunker.seal()) == texts


def test_a_merge_may_fill_the_byte_cap_to_the_byte() -> None:
    text = row("u1", "1", "")
    chunker = chunker_of(max_bytes=START_BYTES + len(text) + 3)
    assert take(chunker, rows_of([text, row("u1", "", "333")])) == Placed(2, 1, [], is_full=False)
    assert len(body_of(chunker.seal())) == START_BYTES + len(text) + 3


def test_a_merge_that_makes_a_row_shorter_makes_room() -> None:
    chunker = chunker_of(max_bytes=START_BYTES + len(row("u1", "1" * 20, "")))
    take(chunker, rows_of([row("u1", "1" * 20, "")]))
    take(chunker, rows_of([row("u1", "1", "")]))
    assert take(chunker, rows_of([row("u2", "2" * 5, "")])).stop == 1
    content = chunker.seal()
    assert texts_of(content) == [row("u1", "1", ""), row("u2", "22222", "")]
    assert content.size_bytes == len(body_of(content))


def test_what_merged_rows_were_before_is_kept_in_memory_within_bounds() -> None:
    """Were it not, rows that merging makes shorter and shorter would fill the memory and never a batch."""
    long = len(row("u10", "1" * 50))
    chunker = chunker_of(max_bytes=START_BYTES + 4 * long)
    taken = []
    for number in range(10, 20):
        taken.append(take(chunker, rows_of([row(f"u{number}", "1" * 50)])).stop)
        if taken[-1]:
            assert take(chunker, rows_of([row(f"u{number}", "2")])).superseded == 1
    # Twice as much as fits in a batch, header rows and all, has room for eight.
    assert taken == [1] * 8 + [0] * 2
    content = chunker.seal()
    assert texts_of(content) == [row(f"u{number}", "2") for number in range(10, 18)]
    assert take(chunker, rows_of([row("u18", "1" * 50)])).stop == 1


def test_take_measures_new_rows_before_merges_of_the_same_list_make_room() -> None:
    """So whoever fills a batch asks once more; the row that found no room is neither taken nor held."""
    texts = [row("u1", "1" * 50, ""), row("u1", "1", ""), row("u2", "2", "")]
    chunker = chunker_of(max_bytes=START_BYTES + len(texts[0]))
    rows = rows_of(texts)
    assert take(chunker, rows) == Placed(stop=2, superseded=1, to_hold=[], is_full=False)
    assert take(chunker, rows, 2) == Placed(stop=3, superseded=0, to_hold=[], is_full=False)


def test_rows_in_flight_are_held_and_take_no_room() -> None:
    texts = [row("u1", "1", ""), row("u2", "2", ""), row("u1", "3", ""), row("u3", "4", "")]
    chunker = chunker_of(max_bytes=START_BYTES + len(texts[1]) + len(texts[3]), max_rows=2)
    rows = rows_of(texts)
    in_flight = np.array([True, False, True, False])
    assert chunker.take(rows, 0, in_flight) == Placed(stop=4, superseded=0, to_hold=[0, 2], is_full=False)
    assert texts_of(chunker.seal()) == [texts[1], texts[3]]


def test_flags_count_from_the_first_row_to_take() -> None:
    chunker = chunker_of()
    rows = rows_of([row(f"u{number}", "1", "") for number in range(3)])
    assert chunker.take(rows, 1, np.array([False, True])).to_hold == [2]
    assert texts_of(chunker.seal()) == [row("u1", "1", "")]


def test_held_rows_past_the_stop_are_left_for_the_next_batch() -> None:
    rows = rows_of([row("u1", "1", ""), row("u2", "2", ""), row("u3", "3", ""), row("u1", "4", "")])
    chunker = chunker_of(max_rows=1)
    assert chunker.take(rows, 0, np.array([False, False, True, False])) == Placed(1, 0, [], is_full=False)


@pytest.mark.parametrize("together", [True, False])
def test_ids_with_the_same_hash_never_merge(together: bool) -> None:
    texts = [row("u1", "1", ""), row("u2", "2", ""), row("u1", "", "3"), row("u2", "", "4")]
    rows = rows_of(texts, hashes=[9, 9, 9, 9])
    chunker = chunker_of()
    if together:
        assert take(chunker, rows) == Placed(stop=4, superseded=1, to_hold=[1, 3], is_full=False)
    else:
        taken = [take(chunker, rows_of([text], hashes=[9])) for text in texts]
        assert [each.to_hold for each in taken] == [[], [0], [], [0]]
    assert texts_of(chunker.seal()) == [row("u1", "1", "3")]


@pytest.mark.parametrize("ids", [("u1", "u11"), ("u11", "u1")])
def test_an_id_that_begins_like_another_is_another(ids: tuple[str, str]) -> None:
    texts = [row(profile_id, "1", "") for profile_id in ids]
    assert take(chunker_of(), rows_of(texts, hashes=[9, 9])).to_hold == [1]


def test_many_rows_over_several_batches() -> None:
    """More than any first capacity of an array, merged here and there."""
    texts = [row(f"u{number}", str(number), "") for number in range(30_000)]
    rows = rows_of(texts)
    chunker = chunker_of(max_rows=12_000)
    contents = fill(chunker, rows, none_in_flight(rows), [])
    assert [content.rows for content in contents] == [12_000, 12_000]
    again = rows_of([row(f"u{number}", "", "x") for number in range(24_000, 30_000, 1_000)])
    assert take(chunker, again).superseded == 6
    contents.append(chunker.seal())
    sent = [text for content in contents for text in texts_of(content)]
    assert sent == [*merged([*texts, *all_texts(again)]).values()]
    assert all(content.size_bytes == len(body_of(content)) for content in contents)
    assert [line for content in contents for line in content.lines.tolist()[:10]] == [
        *range(2, 12),
        *range(12_002, 12_012),
        *[2, *range(24_003, 24_012)],
    ]


# Any rows at all.


def fill(chunker: Chunker, rows: Rows, in_flight: Flags, held: list[int]) -> list[BatchContent]:
    """Take all rows, sealing whenever the batch is full or not even one row more fits in it."""
    contents = []
    first = 0
    while first < len(rows):
        taken = chunker.take(rows, first, in_flight[first:])
        held += taken.to_hold
        if taken.is_full or taken.stop == first:
            assert chunker.rows, "a row fits in no batch"
            contents.append(chunker.seal())
        first = taken.stop
    return contents


@dataclass
class NaiveBatch:
    """What a batch must hold, row by row: new ones first, as many in a row as fit, then those to merge."""

    max_bytes: int
    max_rows: int
    texts: list[bytes] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    appended: int = START_BYTES

    @property
    def size_bytes(self) -> int:
        return START_BYTES + sum(map(len, self.texts))

    def take(self, rows: Rows, first: int, in_flight: list[bool]) -> Placed:
        later = []
        stop = first
        for index in range(first, len(rows)):
            if not in_flight[index - first]:
                if int(rows.hashes[index]) in self.hashes:
                    later.append(index)
                elif self.has_room(rows.text(index)):
                    self.texts.append(rows.text(index))
                    self.appended += len(rows.text(index))
                    self.lines.append(int(rows.lines[index]))
                    self.hashes.append(int(rows.hashes[index]))
                else:
                    break
            stop = index + 1
        to_hold = [index for index in range(first, stop) if in_flight[index - first]]
        is_full = False
        merges = 0
        for index in later:
            place = self.hashes.index(int(rows.hashes[index]))
            text = rows.text(index)
            if is_full or id_of(text) != id_of(self.texts[place]):
                to_hold.append(index)
                continue
            result = merge(self.texts[place], text)
            if self.size_bytes + len(result) - len(self.texts[place]) > self.max_bytes:
                is_full = True
                to_hold.append(index)
                continue
            merges += 1
            self.texts[place] = result
            self.lines[place] = int(rows.lines[index])
        return Placed(stop, merges, to_hold, is_full)

    def has_room(self, text: bytes) -> bool:
        size_bytes = max(self.size_bytes, self.appended - self.max_bytes) + len(text)
        return len(self.texts) < self.max_rows and size_bytes <= self.max_bytes


@dataclass(frozen=True)
class Case:
    rows: Rows
    in_flight: Flags
    max_bytes: int
    max_rows: int


CELLS = st.sampled_from(["", "", "1", "22", "333333", "x" * 20])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Rows of few ids, some with the same hash, some in flight, and caps that a few of them reach."""
    ids = [f"u{number}" for number in range(draw(st.integers(1, 8)))]
    hash_of = {profile_id: draw(st.integers(1, 12)) for profile_id in ids}
    in_flight = draw(st.sets(st.sampled_from(sorted(set(hash_of.values()))), max_size=2))
    drawn = draw(st.lists(st.tuples(st.sampled_from(ids), CELLS, CELLS), max_size=25))
    texts = [row(*each) for each in drawn]
    hashes = [hash_of[each[0]] for each in drawn]
    largest = START_BYTES + len(row("u0", "x" * 20, "x" * 20))
    return Case(
        rows=rows_of(texts, hashes=hashes),
        in_flight=np.array([each in in_flight for each in hashes], dtype=np.bool_),
        max_bytes=largest + draw(st.integers(0, 80)),
        max_rows=draw(st.integers(1, 6)),
    )


@given(cases(), st.data())
def test_take_and_seal_do_as_a_naive_model(case: Case, data: st.DataObject) -> None:
    chunker = chunker_of(max_bytes=case.max_bytes, max_rows=case.max_rows)
    model = NaiveBatch(case.max_bytes, case.max_rows)
    first = 0
    while first < len(case.rows):
        in_flight = case.in_flight[first:]
        taken = chunker.take(case.rows, first, in_flight)
        assert taken == model.take(case.rows, first, in_flight.tolist())
        assert (chunker.rows, chunker.size_bytes) == (len(model.texts), model.size_bytes)
        stays = taken.stop > first and not taken.is_full
        if not (stays and data.draw(st.booleans())):
            content = chunker.seal()
            assert body_of(content) == BODY_START + b"".join(model.texts)
            assert (content.rows, content.size_bytes) == (len(model.texts), model.size_bytes)
            assert content.lines.tolist() == model.lines
            assert content.hashes.tolist() == sorted(model.hashes)
            body = b"".join(content.pieces)
            in_order = [text for _, text in sorted(zip(model.hashes, model.texts, strict=True))]
            assert [body[start:].partition(b"\n")[0] + b"\n" for start in content.starts] == in_order
            model = NaiveBatch(case.max_bytes, case.max_rows)
        first = taken.stop


@given(cases())
def test_no_row_is_lost_or_doubled_and_every_batch_is_within_its_caps(case: Case) -> None:
    rows = case.rows
    chunker = chunker_of(max_bytes=case.max_bytes, max_rows=case.max_rows)
    held: list[int] = []
    superseded = 0
    contents = []
    first = 0
    while first < len(rows):
        taken = chunker.take(rows, first, case.in_flight[first:])
        held += taken.to_hold
        superseded += taken.superseded
        if taken.is_full or taken.stop == first:
            contents.append(chunker.seal())
        first = taken.stop
    contents.append(chunker.seal())

    sent = [line for content in contents for line in content.lines.tolist()]
    held_lines = [int(rows.lines[index]) for index in held]
    assert len(sent) + superseded + len(held_lines) == len(rows)
    assert max(Counter([*sent, *held_lines]).values(), default=1) == 1
    assert {int(rows.lines[index]) for index in np.flatnonzero(case.in_flight)} <= set(held_lines)
    for content in contents:
        texts = texts_of(content)
        assert content.size_bytes == len(body_of(content)) <= case.max_bytes
        assert content.rows == len(texts) == len({id_of(text) for text in texts}) <= case.max_rows
    # Sent in the order of the batches, the rows not held come to the same profiles as one by one.
    taken_texts = [text for index, text in enumerate(all_texts(rows)) if index not in set(held)]
    assert merged(text for content in contents for text in texts_of(content)) == merged(taken_texts)
