"""Pieces of texts, one behind the other, are what Python's slices are: whatever their sizes, and wherever they lie."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.memory.texts import TextList, joined_texts

#: Sizes around those at which pieces are cut into parts, or one by one.
SIZES = st.sampled_from([0, 1, 7, 8, 9, 60, 64, 90, 191, 192, 193, 400, 1_000])
TEXTS = st.lists(st.tuples(SIZES, st.booleans()), max_size=60)


def octets(size: int) -> bytes:
    return bytes(number * 37 % 251 for number in range(size))


@given(st.integers(0, 2_000), st.data())
def test_pieces_of_one_text(size: int, data: st.DataObject) -> None:
    text, pieces = octets(size), []
    for _ in range(data.draw(st.integers(0, 60))):
        start = data.draw(st.integers(0, size))
        pieces.append((start, min(size, start + data.draw(SIZES))))
    starts, ends = np.array(pieces, dtype=np.int64).reshape(-1, 2).T
    expected = b"".join(text[start:end] for start, end in pieces)
    assert joined_texts(text, starts, ends) == expected
    assert joined_texts(memoryview(text), starts, ends) == expected


@given(TEXTS, st.randoms(use_true_random=False))
def test_pieces_of_several_texts(parts: list[tuple[int, bool]], random: object) -> None:
    sizes = np.array([size for size, _ in parts], dtype=np.int64)
    text, ends = octets(int(sizes.sum())), np.cumsum(sizes)
    cuts = [0, *(int(end) for end, (_, is_cut) in zip(ends, parts, strict=True) if is_cut), len(text)]
    texts = TextList.of([text[begin:end] for begin, end in pairwise(cuts)])
    assert texts.size_bytes == len(text)
    order = np.arange(len(sizes))
    random.shuffle(order)  # type: ignore[attr-defined]
    for chosen in (order, np.sort(order)[::2], np.sort(order)):
        starts = (ends - sizes)[chosen]
        expected = b"".join(text[end - size : end] for end, size in zip(ends[chosen], sizes[chosen], strict=True))
        assert texts.joined(starts, ends[chosen]) == expected


def test_many_pieces_are_joined_some_at_a_time() -> None:
    text = octets(900_000)
    starts = np.arange(0, 900_000 - 100, 90)[::-1].copy()
    ends = starts + 60 + starts % 31
    assert joined_texts(text, starts, ends) == b"".join(
        text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    )
