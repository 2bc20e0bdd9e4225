"""Rows sorted by hash, one of each id: what they come to is what a dictionary of the rows in their order comes to."""

from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.memory.keyed_rows import Digested, KeyedRows, one_of_each_id
from pipeline.core.memory.texts import TextList
from pipeline.core.model import Offsets, Rows
from pipeline.core.rows.mapping import pack_rows

LONGEST = 1_000
DIGESTED = Digested(("a", "b"), 7)
CELLS = st.sampled_from([b"", b"a", b"bb", b"ccc"])
RECORDS = st.lists(st.tuples(st.sampled_from([b"u1", b"u22", b"u3", b"v"]), CELLS, CELLS), max_size=30)


def rows_of(records: list[tuple[bytes, bytes, bytes]], first_line: int, hashes: dict[bytes, int] | None) -> Rows:
    texts = [b",".join(record) + b"\n" for record in records]
    lines = [first_line + number for number in range(len(records))]
    rows = pack_rows(texts, [len(record[0]) for record in records], lines, salt=1)
    if hashes is None:
        return rows
    keys = np.array([hashes[record[0]] for record in records], dtype=np.uint64)
    return Rows(rows.body, rows.ends, rows.id_lengths, rows.lines, keys)


def keyed(rows: Rows) -> KeyedRows:
    return KeyedRows.of_rows(rows, DIGESTED)


def expected(records: list[tuple[bytes, bytes, bytes]]) -> dict[bytes, tuple[list[bytes], int, int]]:
    """Per id its cells, the line of its last row, and the number of its rows."""
    found: dict[bytes, tuple[list[bytes], int, int]] = {}
    for line, (profile_id, *cells) in enumerate(records, start=1):
        before, _, count = found.get(profile_id, ([b""] * len(cells), 0, 0))
        found[profile_id] = ([new or old for old, new in zip(before, cells, strict=True)], line, count + 1)
    return found


@given(RECORDS, st.booleans())
def test_rows_of_one_id_become_one(records: list[tuple[bytes, bytes, bytes]], share_a_hash: bool) -> None:
    hashes = {b"u1": 5, b"u22": 5, b"u3": 5, b"v": 2} if share_a_hash else None
    merged = one_of_each_id(keyed(rows_of(records, 1, hashes)), LONGEST, DIGESTED)
    rows = merged.rows.rows()
    assert merged.rows.digests.tolist() == DIGESTED.of(rows.body, rows.starts, rows.ends).tolist()
    found = {}
    for index in range(len(rows)):
        profile_id, *cells = rows.text(index)[:-1].split(b",")
        assert rows.id_lengths[index] == len(profile_id)
        found[profile_id] = (cells, int(rows.lines[index]), int(merged.records[index]))
    assert found == expected(records)
    assert len(found) == len(rows)
    assert (np.diff(rows.hashes.astype(object)) >= 0).all()


@given(RECORDS, st.data())
def test_some_rows_are_chosen_as_they_are(records: list[tuple[bytes, bytes, bytes]], data: st.DataObject) -> None:
    merged = one_of_each_id(keyed(rows_of(records, 1, None)), LONGEST, DIGESTED).rows
    whole = merged.rows()
    indexes = np.array(
        sorted(data.draw(st.sets(st.integers(0, len(merged) - 1)) if len(merged) else st.just(set()))), int
    )
    chosen = merged.chosen(indexes).rows()
    assert chosen.body == b"".join(whole.text(int(index)) for index in indexes)
    assert chosen.lines.tolist() == whole.lines[indexes].tolist()


@given(RECORDS, st.integers(0, 30))
def test_rows_behind_a_row(records: list[tuple[bytes, bytes, bytes]], first: int) -> None:
    rows = rows_of(records, 1, None)
    first = min(first, len(rows))
    left = rows.behind(first)
    assert [left.text(index) for index in range(len(left))] == [rows.text(index) for index in range(first, len(rows))]
    assert left.lines.tolist() == rows.lines[first:].tolist()
    assert left.hashes.tolist() == rows.hashes[first:].tolist()


def test_rows_that_would_become_too_long_stay_apart() -> None:
    records = [(b"u1", b"a", b""), (b"u1", b"", b"ccc"), (b"u1", b"bb", b""), (b"v", b"a", b"")]
    merged = one_of_each_id(keyed(rows_of(records, 1, None)), len(b"u1,a,ccc\n") - 1, DIGESTED)
    rows = merged.rows.rows()
    of_u1 = [rows.text(index) for index in range(len(rows)) if rows.text(index).startswith(b"u1")]
    assert of_u1 == [b"u1,a,\n", b"u1,,ccc\n", b"u1,bb,\n"]
    assert merged.records.tolist() == [1, 1, 1, 1]


@dataclass
class Lazy:
    """Texts that note which of them were asked for."""

    rows: Rows
    asked: list[int] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return len(self.rows.body)

    def with_rows(self, starts: Offsets) -> TextList:
        self.asked += starts.tolist()
        return TextList.of([self.rows.body])


def test_no_text_is_read_but_of_rows_that_repeat_an_id_or_are_wanted() -> None:
    records = [(b"u1", b"a", b""), (b"u22", b"bb", b"a"), (b"v", b"a", b"a"), (b"u22", b"ccc", b"")]
    rows = rows_of(records, 1, None)
    texts, whole = Lazy(rows), keyed(rows)
    lazily = one_of_each_id(replace(whole, texts=texts), LONGEST, DIGESTED).rows
    starts = dict(zip(rows.lines.tolist(), rows.starts.tolist(), strict=True))
    assert sorted(texts.asked) == [starts[2], starts[4]]
    texts.asked.clear()
    wanted = np.flatnonzero(lazily.lines == 3)
    assert lazily.chosen(wanted).rows().body == b"v,a,a\n"
    assert texts.asked == [starts[3]]
    merged = np.flatnonzero(lazily.lines == 4)
    assert lazily.chosen(merged).rows().body == b"u22,ccc,a\n"
    # What rows of an id came to is in memory.
    assert texts.asked == [starts[3]]
    assert lazily.digests[merged].tolist() == DIGESTED.of(b"u22,ccc,a\n", np.array([0]), np.array([10])).tolist()
