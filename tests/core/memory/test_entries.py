"""The newest entry of each id, whether it is looked for at once or some keys after the other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.memory.entries import Entries, Values, in_parts, latest
from tests.core.builders import rows_of

#: Ids, of which two have one key.
KEYS = {"ann": 3, "bob": 5, "eve": 5, "joe": 8, "kim": 2**63, "lea": 2**64 - 1}
LISTS = st.lists(
    st.dictionaries(st.sampled_from([*KEYS]), st.tuples(st.sampled_from(["", ",a", ",bb"]), st.integers(0, 3))),
    min_size=1,
    max_size=4,
)


def entries_of(rows: dict[str, tuple[str, int]], *, with_values: bool) -> Entries:
    """The entries of some ids, by id the cells and the source."""
    ids = sorted(rows, key=lambda each: (KEYS[each], each))
    if not with_values:
        ids = [each for each in ids if each != "eve"]
    texts = rows_of([f"{each}{rows[each][0]}\n".encode() for each in ids])
    numbers, count = np.arange(len(ids)), len(ids)
    return Entries(
        np.array([KEYS[each] for each in ids], dtype=np.uint64),
        numbers.astype(np.uint64) + 1,
        np.array([len(rows[each][0]) for each in ids], dtype=np.uint32),
        numbers.astype(np.uint32),
        np.array([rows[each][1] for each in ids], dtype=np.uint16),
        numbers.astype(np.uint64) * 7,
        Values.side_by_side(
            np.zeros(count, dtype=np.uint16), texts.id_lengths.astype(np.uint32), texts.ends, texts.body
        )
        if with_values
        else None,
    )


def said(entries: Entries) -> list[tuple[object, ...]]:
    rows = [entries.values.row(index) if entries.values else b"" for index in range(len(entries))]
    columns = (entries.keys, entries.digests, entries.sent_at, entries.noted_at, entries.sources, entries.patterns)
    return [*zip(*(column.tolist() for column in columns), rows, strict=True)]


@given(LISTS, st.integers(1, 4), st.booleans())
def test_in_parts_it_is_the_same(lists: list[dict[str, tuple[str, int]]], rows: int, with_values: bool) -> None:
    entries = [entries_of(each, with_values=with_values) for each in lists]
    parts = [
        latest([each.taken(some) for each, some in zip(entries, part, strict=True)])
        for part in in_parts([each.keys for each in entries], rows)
    ]
    assert [row for part in parts for row in said(part)] == said(latest(entries))
    # Two ids have one key, and any key may be there once in each list.
    assert all(len(part) <= (rows + 1) * len(lists) for part in parts[:-1]) or with_values


def test_of_no_lists_there_are_no_parts() -> None:
    assert [*in_parts([])] == []
