"""Encoding keeps what Target takes as it is, escapes everything else, and merges cell by cell."""

from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.rows.encoding import (
    KEPT,
    encode,
    encode_joined,
    encoded_forms,
    has_delimiter,
    merge,
    rearrange,
    replace_delimiters,
)

#: Cells of rows of one header; rows may end before its last columns.
ENCODED_CELLS = st.lists(st.text(st.sampled_from("ab%20"), max_size=4).map(str.encode), min_size=2, max_size=4)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (b"", b""),
        (b"gold", b"gold"),
        (b"50% off & more", b"50%25%20off%20%26%20more"),
        (b"a+b=c", b"a%2Bb%3Dc"),
        (b"-.!~_*()", b"-.!~_*()"),
        (b"a,b\r\nc", b"a%2Cb%0D%0Ac"),
        (b'"', b"%22"),
        ("é😀".encode(), b"%C3%A9%F0%9F%98%80"),
        (b"\x00\x7f'/\\", b"%00%7F%27%2F%5C"),
    ],
)
def test_encode(value: bytes, encoded: bytes) -> None:
    assert encode(value) == encoded


def test_a_name_that_target_gives_stands_for_an_id_as_it_is_and_as_it_was_sent() -> None:
    assert encoded_forms([]) == set()
    assert encoded_forms(["a", "é=", "b%20c"]) == {b"a", "é=".encode(), b"%C3%A9%3D", b"b%20c", b"b%2520c"}


def test_each_byte_is_kept_or_escaped() -> None:
    for number in range(256):
        byte = bytes([number])
        assert encode(byte) == (byte if byte in KEPT else b"%%%02X" % number)


def test_kept_is_what_target_takes() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert sorted(KEPT.decode()) == sorted(letters + letters.lower() + "0123456789" + "-.!~_*()")


@given(st.text())
def test_encoding_is_that_of_urllib_and_can_be_undone(value: str) -> None:
    encoded = encode(value.encode())
    assert encoded.decode("ascii") == quote(value, safe="!*()")
    assert unquote_to_bytes(encoded) == value.encode()
    assert not set(encoded) & set(b',\r\n"&+= ')


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters=",")).map(str.encode), min_size=1))
def test_joined_values_are_encoded_as_one_by_one(values: list[bytes]) -> None:
    assert encode_joined(b",".join(values)) == b",".join(map(encode, values))


@pytest.mark.parametrize(
    ("value", "has"),
    [(b"", False), (b"a;b\t|", False), (b"a,", True), (b"\n", True), (b"a\rb", True), (b"\r\n", True), (b"%2C", False)],
)
def test_has_delimiter(value: bytes, has: bool) -> None:
    assert has_delimiter(value) is has


@pytest.mark.parametrize(
    ("value", "replaced"),
    [
        (b"a,b", b"a_b"),
        (b"a\r\nb", b"a_b"),
        (b"a\n\rb", b"a__b"),
        (b"\r\r\n,\n", b"____"),
        (b"plain", b"plain"),
    ],
)
def test_replace_delimiters(value: bytes, replaced: bytes) -> None:
    assert replace_delimiters(value, b"_") == replaced


def test_the_replacement_is_taken_literally() -> None:
    assert replace_delimiters(b"a,b", rb"\g<0>\1") == rb"a\g<0>\1b"


@pytest.mark.parametrize(
    ("earlier", "later", "result"),
    [
        (b"u,1,2\n", b"u,3,4\n", b"u,3,4\n"),
        (b"u,1,2\n", b"u,,4\n", b"u,1,4\n"),
        (b"u,1,2\n", b"u,3,\n", b"u,3,2\n"),
        (b"u,1,2\n", b"u,,\n", b"u,1,2\n"),
        (b"u,,\n", b"u,1,\n", b"u,1,\n"),
        (b"u,,\n", b"u,,\n", b"u,,\n"),
        # The shorter row lacks its last cells.
        (b"u,1\n", b"u,,2\n", b"u,1,2\n"),
        (b"u,1,2,3\n", b"u,4\n", b"u,4,2,3\n"),
        (b"u,1,,3\n", b"u,4,5\n", b"u,4,5,3\n"),
        (b"u,1,\n", b"u,4\n", b"u,4,\n"),
    ],
)
def test_merge(earlier: bytes, later: bytes, result: bytes) -> None:
    assert merge(earlier, later) == result


@given(ENCODED_CELLS, ENCODED_CELLS, ENCODED_CELLS)
def test_merging_is_associative(one: list[bytes], two: list[bytes], three: list[bytes]) -> None:
    """So it does not matter which of several held rows merge first."""
    first, second, third = (b",".join([b"u", *cells]) + b"\n" for cells in (one, two, three))
    assert merge(merge(first, second), third) == merge(first, merge(second, third))


@given(ENCODED_CELLS, ENCODED_CELLS)
def test_a_merged_row_is_as_long_as_the_longer_and_means_what_both_say(one: list[bytes], two: list[bytes]) -> None:
    cells = merge(b",".join([b"u", *one]) + b"\n", b",".join([b"u", *two]) + b"\n")[:-1].split(b",")
    assert cells[0] == b"u"
    assert len(cells) == 1 + max(len(one), len(two))
    values = dict(enumerate(one)) | {place: cell for place, cell in enumerate(two) if cell}
    assert cells[1:] == [values.get(place, b"") for place in range(len(cells) - 1)]


# Rows of another header.


@pytest.mark.parametrize(
    ("row", "places", "result"),
    [
        (b"u,1,2\n", [0, 1], b"u,1,2\n"),
        (b"u,1,2\n", [1, 0], b"u,2,1\n"),
        (b"u,1,2\n", [None, 1], b"u,,2\n"),
        (b"u,1,2\n", [1, None, 0, None], b"u,2,,1\n"),
        (b"u,1\n", [0, 1, 2], b"u,1\n"),
        (b"u,1\n", [2, 1, 0], b"u,,,1\n"),
        (b"u,,2\n", [0, 1], b"u,,2\n"),
        (b"u,1,2\n", [0], b"u,1\n"),
        (b"u,1\n", [None], b"u\n"),
        (b"u,1\n", [], b"u\n"),
    ],
)
def test_rearrange(row: bytes, places: list[int | None], result: bytes) -> None:
    assert rearrange(row, places) == result


@given(ENCODED_CELLS, st.permutations(range(4)))
def test_a_row_rearranged_and_back_says_the_same(cells: list[bytes], order: list[int]) -> None:
    row = b",".join([b"u", *cells]) + b"\n"
    back = [order.index(place) for place in range(4)]
    assert rearrange(rearrange(row, order), back) == row[:-1].rstrip(b",") + b"\n"
