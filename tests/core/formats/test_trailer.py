"""The last lines of an export are held back, however it is cut into blocks."""

from contextlib import nullcontext
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.trailer import MAX_HELD_BYTES, Trailer, TrailerPattern
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


@pytest.mark.parametrize(("content", "is_refused"), [(b"u1,x\nu2,y\n", True), (b"u1\nu2\nT", False), (b"", False)])
def test_an_export_of_which_all_rows_would_be_left_out_is_not_whole(content: bytes, *, is_refused: bool) -> None:
    trailer = Trailer(3, Dialect(b","))
    assert trailer.feed(content) == b""
    with pytest.raises(InputError, match="skip_last = 3 would leave out all") if is_refused else nullcontext():
        trailer.check(0)


ROWS = TrailerPattern.of("TRL|{rows}")
COMMA = Dialect(b",")


@given(PIECES, st.lists(st.integers(0, 60)), st.sampled_from([b"", b"\n", b"\r\n", b"\r\n\n \t\n\x1a"]), st.booleans())
def test_all_but_the_trailer_passes(data: bytes, cuts: list[int], behind: bytes, cr_ends_lines: bool) -> None:
    """However it is cut, and whatever blank lines are behind it."""
    whole = data + b"\nTRL|000000000000000042" + behind
    trailer = Trailer(0, Dialect(b",", cr_ends_lines=cr_ends_lines), ROWS)
    ends = [*sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    assert b"".join(trailer.feed(whole[start:end]) for start, end in pairwise([0, *ends])) == data + b"\n"
    trailer.check(42)
    with pytest.raises(InputError, match="its trailer tells 42 rows, and 41 were read"):
        trailer.check(41)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"C-1,gold\n", b"C-1,gold\nTRL|4", b"TRL|42\nC-1,gold\n", b"TRL|42,"])
def test_without_a_trailer_it_is_cut_off(data: bytes) -> None:
    trailer = Trailer(0, COMMA, ROWS)
    trailer.feed(data)
    with pytest.raises(InputError, match=r"no trailer as \[export\] trailer = 'TRL|{rows}'|tells 4 rows, and 42"):
        trailer.check(42)


@pytest.mark.parametrize(
    ("pattern", "line", "rows"),
    [
        ("{rows}", b"5000", 5000),
        ("TRL|{rows}", b"TRL|0005000", 5000),
        ('"TRL";"{rows}"', b'"TRL";"3"', 3),
        ("T{any}|{rows}|{any}", b"TRL|20261128|7|x|y", 20261128),
        ("T|{any}|{rows}", b"T|20261128|7", 7),
        ("TRL {any}{rows}", b"TRL       12", 12),
        ("END OF FILE", b"END OF FILE", None),
        ("(a+)*{any}", b"(a+)*" + b"a" * 1_000, None),
        ("Größe {rows}", "Größe 1".encode(), 1),
    ],
)
def test_a_pattern(pattern: str, line: bytes, rows: int | None) -> None:
    assert TrailerPattern.of(pattern).rows_of(line) == rows


@pytest.mark.parametrize("line", [b"", b"TRL|", b"TRL|x", b"TRL|-1", b"TRL|1x", b"xTRL|1", b"TRL|" + b"1" * 19])
def test_another_line(line: bytes) -> None:
    with pytest.raises(InputError, match="its last line is no trailer"):
        ROWS.rows_of(line)


def test_a_line_that_is_too_long_is_no_trailer() -> None:
    """Comparing would take the square of its bytes."""
    with pytest.raises(InputError, match="its last line is no trailer"):
        TrailerPattern.of("{any}b{any}c").rows_of(b"b" * 1_024 + b"c")


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("TRL|{date}|{rows}", r"knows \{rows\} and \{any\}, not \{date\}"),
        ("{rows}|{rows}", "once at most"),
        ("{any}-{any}-{any}", "2 times at most"),
        ("{any}", "must have"),
        (" {any} ", "must have"),
    ],
)
def test_what_is_no_pattern(pattern: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TrailerPattern.of(pattern)


def test_a_trailer_that_does_not_end_has_a_limit() -> None:
    trailer = Trailer(0, COMMA, ROWS)
    with pytest.raises(InputError, match=r"trailer = 'TRL\|{rows}' would leave out more than"):
        trailer.feed(b"x" * (MAX_HELD_BYTES + 1))
