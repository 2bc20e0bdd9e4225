"""The two parts of a batch hold exactly its rows, lines and ids, each with the same header."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.splitting import any_row, first_half, spread_rows
from pipeline.core.batches.splitting import split as split_rows
from pipeline.core.model import BatchContent
from pipeline.core.rows.hashing import hash_ids
from tests.core.builders import BODY_START, SALT, body_of, id_of, row, rows_of, texts_of


def split(texts: list[bytes], lines: list[int] | None = None, *, start: bytes = BODY_START) -> tuple[BatchContent, ...]:
    numbers = range(2, len(texts) + 2) if lines is None else lines
    return split_rows(start + b"".join(texts), np.array(numbers, dtype=np.int64), SALT, first_half(len(texts)))


def check(texts: list[bytes], lines: list[int], contents: tuple[BatchContent, ...], start: bytes = BODY_START) -> None:
    assert [text for content in contents for text in texts_of(content)] == texts
    assert [line for content in contents for line in content.lines.tolist()] == lines
    check_each(contents, start)
    first, second = contents
    assert second.rows - first.rows in (0, 1)


def check_each(contents: tuple[BatchContent, ...], start: bytes = BODY_START) -> None:
    for content in contents:
        body = body_of(content)
        assert body.startswith(start)
        assert content.size_bytes == len(body)
        assert content.rows == len(content.lines) == len(content.hashes) == len(texts_of(content)) > 0
        assert content.hashes.tolist() == sorted(rows_of(texts_of(content)).hashes.tolist())
        at_starts = [body[begin:].partition(b"\n")[0] + b"\n" for begin in content.starts]
        assert rows_of(at_starts).hashes.tolist() == content.hashes.tolist()


def test_two_rows() -> None:
    texts = [row("u1", "1", ""), row("u2", "", "2")]
    first, second = split(texts, [7, 5])
    assert (body_of(first), body_of(second)) == (BODY_START + texts[0], BODY_START + texts[1])
    assert (first.lines.tolist(), second.lines.tolist()) == ([7], [5])
    check(texts, [7, 5], (first, second))


def test_rows_may_end_before_the_last_columns() -> None:
    texts = [row("u1", "1"), row("u2", "1", "2", "3"), row("u3", "")]
    check(texts, [2, 3, 4], split(texts))


def test_ids_are_hashed_as_they_were_when_the_batch_was_sealed() -> None:
    texts = [row(f"customer%20{number:09d}", "x" * number, "") for number in range(20)]
    hashes = {int(each) for content in split(texts) for each in content.hashes}
    assert hashes == set(rows_of(texts).hashes.tolist())
    lengths = np.array([len(id_of(texts[0]))], dtype=np.int64)
    assert int(hash_ids(id_of(texts[0]), np.zeros(1, dtype=np.int64), lengths, SALT)[0]) in hashes


def test_a_header_without_a_comma_of_its_own_row() -> None:
    start = b"batch=pcId,a\n"
    texts = [b"u,1\n", b"v,2\n", b"w,3\n"]
    check(texts, [2, 3, 4], split(texts, start=start), start)


CELLS = st.text(st.sampled_from("ab%2"), max_size=3)
TEXTS = st.lists(st.lists(CELLS, min_size=1, max_size=3), min_size=2, max_size=40)


@given(TEXTS, st.data())
def test_the_halves_hold_exactly_the_rows(cells: list[list[str]], data: st.DataObject) -> None:
    texts = [row(f"{number}{'i' * (number % 20)}", *each) for number, each in enumerate(cells)]
    lines = data.draw(st.permutations(range(2, len(texts) + 2)))
    check(texts, list(lines), split(texts, list(lines)))


@given(TEXTS)
def test_splitting_on_and_on_ends_with_every_row_alone(cells: list[list[str]]) -> None:
    texts = [row(f"u{number}", *each) for number, each in enumerate(cells)]
    waiting = [(texts, list(range(2, len(texts) + 2)))]
    alone: list[tuple[bytes, int]] = []
    while waiting:
        rows, lines = waiting.pop()
        if len(rows) == 1:
            alone.append((rows[0], lines[0]))
            continue
        waiting += [(texts_of(content), content.lines.tolist()) for content in split(rows, lines)]
    assert sorted(alone, key=lambda each: each[1]) == [(text, line) for line, text in enumerate(texts, 2)]


@pytest.mark.parametrize("rows", [2, 3, 999, 1_000])
def test_the_first_half_is_never_the_larger(rows: int) -> None:
    first, second = split([row(f"u{number}", "1") for number in range(rows)])
    assert (first.rows, second.rows) == (rows // 2, rows - rows // 2)


@given(TEXTS, st.data())
def test_any_rows_and_the_rest(cells: list[list[str]], data: st.DataObject) -> None:
    texts = [row(f"u{number}", *each) for number, each in enumerate(cells)]
    first = data.draw(st.integers(0, len(texts) - 1))
    taken = range(first, data.draw(st.integers(first + 1, len(texts) if first else len(texts) - 1)))
    lines = data.draw(st.permutations(range(2, len(texts) + 2)))
    contents = split_rows(BODY_START + b"".join(texts), np.array(lines, dtype=np.int64), SALT, taken)
    rest = [number for number in range(len(texts)) if number not in taken]
    for content, numbers in zip(contents, (taken, rest), strict=True):
        assert texts_of(content) == [texts[number] for number in numbers]
        assert content.lines.tolist() == [lines[number] for number in numbers]
    check_each(contents)


@pytest.mark.parametrize("rows", [2, 7, 1_000, 500_000])
def test_single_rows_that_are_tried_in_turn_lie_all_over_the_batch(rows: int) -> None:
    drawn = [any_row(rows, draw) for draw in range(1, 13)]
    assert all(len(each) == 1 and each.start in range(rows) for each in drawn)
    tenths = {each.start * 10 // rows for each in drawn}
    assert len(tenths) >= min(rows, 8)


@given(st.integers(2, 2_000), st.integers(1, 10_000), st.integers(1, 12))
def test_rows_from_all_over(rows: int, draw: int, count: int) -> None:
    taken = spread_rows(rows, draw, count)
    indexes = [index for each in taken for index in each]
    assert indexes == sorted(set(indexes))
    assert 0 < len(indexes) <= min(count, rows // 2)
    assert indexes[0] >= 0
    assert indexes[-1] < rows
    assert rows < 50 or len(indexes) == count


@given(st.integers(2, 40), st.data())
def test_several_rows_and_the_rest(rows: int, data: st.DataObject) -> None:
    texts = [row(f"u{number}", str(number)) for number in range(rows)]
    lines = np.arange(2, rows + 2, dtype=np.int64)
    taken = spread_rows(rows, data.draw(st.integers(1, 99)), data.draw(st.integers(1, 8)))
    contents = split_rows(BODY_START + b"".join(texts), lines, SALT, taken)
    check_each(contents)
    wanted = [each.start for each in taken]
    assert texts_of(contents[0]) == [texts[index] for index in wanted]
    assert texts_of(contents[1]) == [text for index, text in enumerate(texts) if index not in wanted]
    assert contents[1].lines.tolist() == [index + 2 for index in range(rows) if index not in wanted]
