"""The index of a job's rows: what is written is found, as far as a crash or the disk leaves it."""

import os
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.model import Hashes, Offsets
from pipeline.edges.store.job_rows.row_index import ROW, UNCHANGED, RowIndex, erase_indexed, frames_of, look_up

NAMES = st.sampled_from([ROW, UNCHANGED, "empty", "excluded country", "local.empty_id"])


def hashes(*values: int) -> Hashes:
    return np.array(values, dtype=np.uint64)


def lines(*values: int) -> Offsets:
    return np.array(values, dtype=np.int64)


def rows_in(path: Path, length: int | None = None) -> list[tuple[str, int, int]]:
    """Name, hash and line of each row of an index."""
    return sorted(
        (frame.name, hash_, line)
        for frame in frames_of(path, length)
        for hash_, line in zip(frame.hashes.tolist(), frame.lines.tolist(), strict=True)
    )


@given(st.lists(st.tuples(NAMES, st.integers(0, 9), st.integers(1, 99)), max_size=20), st.integers(0, 20))
def test_what_is_noted_is_found_by_hash_and_cut_by_length(noted: list[tuple[str, int, int]], count: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        index = RowIndex(Path(directory) / "rows" / "index")
        for name, hash_, line in noted[:count]:
            index.add(name, hashes(hash_), lines(line))
        length = index.write_index()
        for name, hash_, line in noted[count:]:
            index.add(name, hashes(hash_), lines(line))
        index.write_index()
        assert rows_in(index.path) == sorted(noted)
        assert rows_in(index.path, length) == sorted(noted[:count])
        found = look_up(index.path, 5)
        assert [*found.rows] == sorted((line, name) for name, hash_, line in noted if hash_ == 5)
        again = RowIndex(index.path)
        again.cut_index(length)
        again.add("empty", hashes(3), lines(100))
        assert again.write_index() >= length
        assert rows_in(index.path) == sorted([*noted[:count], ("empty", 3, 100)])


def test_rows_of_the_batch_that_is_sealed_are_left_out(tmp_path: Path) -> None:
    for sealed in ((2, 3, 4, 5), (5, 4), (), (1, 1_000_000)):
        index = RowIndex(tmp_path / str(sealed) / "index")
        index.path.parent.mkdir()
        index.add(ROW, hashes(12, 13), lines(2, 3))
        index.add(ROW, hashes(14, 15), lines(4, 5))
        index.add("empty", hashes(17), lines(4))
        index.write_index(lines(*sealed))
        left = [(ROW, line + 10, line) for line in (2, 3, 4, 5) if line not in sealed]
        assert rows_in(index.path) == [("empty", 17, 4), *left]


def test_lines_far_apart_are_left_out_too(tmp_path: Path) -> None:
    index = RowIndex(tmp_path / "rows" / "index")
    index.add(ROW, hashes(1, 2, 3), lines(1, 2_000_000, 9_000_000_000))
    index.write_index(lines(2_000_000))
    assert rows_in(index.path) == [(ROW, 1, 1), (ROW, 3, 2**32 - 1)]


def test_it_is_for_the_owner_only(tmp_path: Path) -> None:
    index = RowIndex(tmp_path / "rows" / "index")
    index.add(ROW, hashes(1), lines(2))
    index.write_index()
    assert index.path.stat().st_mode & 0o777 == 0o600
    assert index.path.parent.stat().st_mode & 0o777 == 0o700


def test_what_is_torn_tells_of_what_is_whole_before_it(tmp_path: Path) -> None:
    index = RowIndex(tmp_path / "rows" / "index")
    index.add(ROW, hashes(1), lines(2))
    first = index.write_index()
    index.add(ROW, hashes(2), lines(3))
    whole = index.write_index()
    for length in range(first, whole):
        os.truncate(index.path, length)
        assert rows_in(index.path) == [(ROW, 1, 2)]
        index.path.write_bytes(index.path.read_bytes().ljust(whole, b"\0"))
        assert rows_in(index.path) == [(ROW, 1, 2)]


def test_one_that_is_shorter_than_was_noted_goes_and_is_not_written_any_more(tmp_path: Path) -> None:
    for length in (-1, 500):
        index = RowIndex(tmp_path / "rows" / "index")
        index.add(ROW, hashes(1), lines(2))
        index.write_index()
        index.cut_index(length)
        index.add(ROW, hashes(2), lines(3))
        assert index.write_index() == -1
        assert not index.path.exists()


def test_a_disk_that_refuses_keeps_nobody_from_loading(tmp_path: Path) -> None:
    index = RowIndex(tmp_path / "rows" / "index")
    index.add(ROW, hashes(1), lines(2))
    (tmp_path / "rows").write_bytes(b"in the way")
    assert index.write_index() == -1
    index.add(ROW, hashes(1), lines(2))
    assert index.write_index() == -1
    assert look_up(index.path, 1).rows == ()


def test_an_erased_id_leaves_a_row_of_nobody(tmp_path: Path) -> None:
    index = RowIndex(tmp_path / "rows" / "index")
    index.add(ROW, hashes(1, 2), lines(2, 3))
    index.add("empty", hashes(1), lines(4))
    index.write_index()
    assert erase_indexed(index.path, hashes(1, 9)) == 2
    assert rows_in(index.path) == [("empty", 0, 4), (ROW, 0, 2), (ROW, 2, 3)]
    assert erase_indexed(index.path, hashes(1)) == 0


@given(st.sets(st.integers(1, 400), max_size=40), st.sets(st.integers(1, 400), max_size=40), st.integers(1, 50))
def test_whatever_the_lines_are_those_of_the_batch_are_left_out_and_no_others(
    noted: set[int], sealed: set[int], stretched: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        index = RowIndex(Path(directory) / "index")
        for line in sorted(noted):
            index.add(ROW, hashes(line), lines(line * stretched))
        index.write_index(lines(*(line * stretched for line in sealed)))
        assert rows_in(index.path) == [(ROW, line, line * stretched) for line in sorted(noted - sealed)]
