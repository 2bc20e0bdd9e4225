"""The source of each id of a released batch: of a snapshot, gone from it, or as it was."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.memory import released_rows as module
from pipeline.core.memory.entries import GONE
from pipeline.core.memory.released_rows import Body, released_rows, small_parts
from pipeline.core.memory.row_fates import Fate, RowFates
from tests.core.builders import SALT, row, rows_of


@pytest.mark.parametrize(
    ("fates", "sources"),
    [
        (RowFates(Fate.SENT), {"u1": 3, "u2": GONE, "u3": 3}),
        # Target may not have what says that it is gone: it is found so again.
        (RowFates(Fate.DOUBTFUL), {"u1": 3, "u2": 0, "u3": 3}),
        (RowFates(Fate.REFUSED), {"u1": 0, "u2": 0, "u3": 0}),
    ],
)
def test_sources(fates: RowFates, sources: dict[str, int]) -> None:
    rows = rows_of([row(each, "x") for each in sources])
    heading = b"batch=thirdPartyId,tier\n"
    order = np.argsort(rows.hashes)
    body = heading + rows.body
    (entries,) = released_rows(
        Body(len(body), lambda begin, end: body[begin:end]),
        rows.hashes[order],
        (rows.starts[order] + len(heading)).astype(np.uint32),
        fates,
        [0, len(order)],
        salt=SALT,
        at_minutes=5,
        source=3,
        shape=0,
        is_gone=np.array([each == "u2" for each in sources]),
    )
    assert entries.values is not None
    found = {entries.values.profile_id(index).decode(): int(entries.sources[index]) for index in range(len(entries))}
    assert found == sources
    # A digest is of what was sent, and a pattern of what is remembered.
    is_sent, is_refused = fates.others is Fate.SENT, fates.others is Fate.REFUSED
    assert (entries.digests > 0).tolist() == [is_sent] * len(order)
    assert (entries.patterns > 0).tolist() == [not is_refused] * len(order)


@given(
    st.dictionaries(st.integers(0, 400).map("cust-{}".format), st.sampled_from(["", "x", "y" * 90]), max_size=60),
    st.integers(1, 6),
    st.booleans(),
)
def test_texts_are_read_some_at_a_time(rows: dict[str, str], parts: int, with_refused: bool) -> None:
    """However few of them are in memory at once, the values are the rows of the body."""
    packed = rows_of([row(each, cell) for each, cell in rows.items()])
    heading = b"batch=thirdPartyId,tier\n"
    body, order = heading + packed.body, np.argsort(packed.hashes)
    refused = [*rows][:2] if with_refused else []
    bounds = [len(order) * part // parts for part in range(parts + 1)]
    with (
        mock.patch.object(module, "_ROWS_AT_ONCE", 7),
        mock.patch.object(module, "_READ_BYTES", 150),
        mock.patch.object(module, "_TEXT_BYTES", 100),
    ):
        found = [
            entries.joined()
            for entries in released_rows(
                Body(len(body), lambda begin, end: body[begin:end]),
                packed.hashes[order],
                (packed.starts[order] + len(heading)).astype(np.uint32),
                RowFates(Fate.SENT, len(refused), (), tuple(refused)),
                bounds,
                salt=SALT,
                at_minutes=5,
                source=0,
                shape=0,
            )
        ]
    assert len(found) == parts
    texts: dict[str, bytes] = {}
    for first, part in zip(bounds, found, strict=False):
        assert part.values is not None
        assert part.keys.tolist() == packed.hashes[order].tolist()[first : first + len(part)]
        texts |= {part.values.profile_id(index).decode(): part.values.row(index) for index in range(len(part))}
    assert texts == {each: f"{each}\n".encode() if each in refused else row(each, cell) for each, cell in rows.items()}


@pytest.mark.parametrize("is_in_key_order", [False, True], ids=["as in an export", "by key"])
def test_little_of_a_body_is_in_memory_wherever_its_rows_are(is_in_key_order: bool) -> None:
    """Rows that were gathered stand in the order of their keys: all of a batch may be of one partition."""
    texts = [row(f"cust-{number}", "x" * 20) for number in range(2_000)]
    if is_in_key_order:
        hashes = rows_of(texts).hashes
        texts = [texts[index] for index in np.argsort(hashes).tolist()]
    packed, heading = rows_of(texts), b"batch=thirdPartyId,tier\n"
    body, order, reads = heading + packed.body, np.argsort(packed.hashes), list[int]()

    def read(begin: int, end: int) -> bytes:
        reads.append(end - begin)
        return body[begin:end]

    keys, remembered = packed.hashes[order], b""
    bounds = np.array([0, 700, 700, 2_000])
    with (
        mock.patch.object(module, "_ROWS_AT_ONCE", 50),
        mock.patch.object(module, "_TEXT_BYTES", 8_000),
        mock.patch.object(module, "_PART_BYTES", 1_000),
        mock.patch.object(module, "_READ_BYTES", 2_000),
    ):
        parts = small_parts(keys, bounds, len(body))
        for entries in released_rows(
            Body(len(body), read),
            keys,
            (packed.starts[order] + len(heading)).astype(np.uint32),
            RowFates(Fate.SENT),
            parts,
            salt=SALT,
            at_minutes=5,
            source=0,
            shape=0,
        ):
            assert entries.values is not None
            assert entries.values.texts.size_bytes < 9_000
            remembered += entries.values.joined().text
    assert remembered == b"".join(packed.text(index) for index in order.tolist())
    assert {0, 700, 2_000} <= {*parts}
    assert max(reads) < 2_000 + len(heading) + max(map(len, texts))
    if is_in_key_order:
        # Once to look at all rows, and once for their texts, and a little that two reads have.
        assert sum(reads) < 2.5 * len(body)


def test_keys_that_differ_in_their_last_bit_are_in_one_part() -> None:
    keys = np.array([2, 4, 5, 6, 7, 8], dtype=np.uint64)
    with mock.patch.object(module, "_PART_BYTES", 20):
        assert small_parts(keys, np.array([0, 6]), 60) == [0, 1, 3, 6]
    assert small_parts(keys[:0], np.array([0, 0]), 0) == [0]
