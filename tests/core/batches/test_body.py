"""What is appended is there, wherever it lies, and segments go with the pieces of them."""

import gc
import weakref
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.body import SEGMENT_BYTES, Body


@given(st.lists(st.binary(max_size=30), max_size=12), st.integers(1, 17), st.data())
def test_any_part_of_it_is_what_was_appended(texts: list[bytes], segment_bytes: int, data: st.DataObject) -> None:
    body = Body(segment_bytes=segment_bytes)
    for text in texts:
        body.append(text)
    whole = b"".join(texts)
    assert body.size_bytes == len(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    for start, end in pairwise([0, *cuts, len(whole)]):
        assert body.text(start, end) == whole[start:end]
        pieces = list(body.pieces(start, end))
        assert all(0 < len(piece) <= segment_bytes for piece in pieces)
        # No more of them than segments are touched.
        assert len(pieces) == (len({place // segment_bytes for place in range(start, end)}))


def test_a_segment_goes_with_the_last_piece_of_it() -> None:
    body = Body()
    body.append(bytes(3 * SEGMENT_BYTES))
    pieces = list(body.pieces(0, body.size_bytes))
    segments = [weakref.ref(piece.obj) for piece in pieces]
    del body
    for left in (3, 2, 1, 0):
        gc.collect()
        assert sum(segment() is not None for segment in segments) == left
        del pieces[:1]
