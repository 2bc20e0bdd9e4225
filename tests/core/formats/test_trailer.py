"""The last lines of an export are held back, however it is cut into blocks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.trailer import MAX_HELD_BYTES, Trailer
from tests.tools.oracle import cut_lines

PIECES = st.lists(st.sampled_from([b"a", b"bc", b'"', b"\n", b"\r", b"\r\n"]), max_size=20).map(b"".join)


@given(PIECES, st.lists(st.integers(0, 40)), st.integers(1, 4), st.booleans())
def test_all_but_the_last_lines_pass(data: bytes, cuts: list[int], lines: int, cr_ends_lines: bool) -> None:
    trailer = Trailer(lines, Dialect(b",", cr_ends_lines=cr_ends_lines))
    ends = [*sorted(cut for cut in cuts if cut < len(data)), len(data)]
    passed = b"".join(trailer.feed(data[start:end]) for start, end in pairwise([0, *ends]))
    every = cut_lines(data.decode("latin-1"), cr=cr_ends_lines)
    assert passed.decode("latin-1") == "".join(every[: max(0, len(every) - lines)])


def test_what_is_held_back_has_a_limit() -> None:
    trailer = Trailer(2, Dialect(b","))
    assert trailer.feed(b"a\nb\nc\n") == b"a\n"
    trailer.feed(b"x" * (MAX_HELD_BYTES - 2))
    with pytest.raises(InputError, match="skip_last = 2 would leave out more than 16,777,216 bytes"):
        trailer.feed(b"x")
