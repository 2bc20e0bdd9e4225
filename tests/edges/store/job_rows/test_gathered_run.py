"""A run of gathered rows: what is read is what was written, or it is told that it is not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Rows
from pipeline.edges.store.job_rows.gathered_run import RECORD, GatheredRun, Records, write_gathered
from pipeline.edges.store.memory.sorted_file import PARTITIONS, DamagedFileError, FileFacts
from tests.tools.support import names_in, small_disk

ROW = tuple[int, int, int, bytes]
ROWS = st.lists(
    st.tuples(
        st.integers(1, 2**64 - 1) | st.integers(1, 255).map(lambda byte: byte << 56),
        st.integers(1, 2**64 - 1),
        st.integers(0, 2**62),
        st.binary(min_size=2, max_size=300),
    ),
    max_size=40,
)


def write(path: Path, rows: list[ROW]) -> FileFacts:
    written = Rows(
        b"".join(text for *_, text in rows),
        np.cumsum([len(text) for *_, text in rows], dtype=np.int64),
        np.array([len(text) // 2 for *_, text in rows], dtype=np.int64),
        np.array([line for _, _, line, _ in rows], dtype=np.int64),
        np.array([hash_ for hash_, *_ in rows], dtype=np.uint64),
    )
    return write_gathered(path, written, np.array([digest for _, digest, *_ in rows], dtype=np.uint64))


def records_of(run: GatheredRun, first: int, stop: int) -> Records:
    records = np.empty(int(run.rows[first:stop].sum()), dtype=RECORD)
    run.read_records(first, stop, records.view(np.uint8).data)
    return records


def text_of(run: GatheredRun, first: int, stop: int) -> bytes:
    text = bytearray(int(run.text_bytes[first:stop].sum()))
    run.read_texts(first, stop, memoryview(text))
    return bytes(text)


def read(path: Path, facts: FileFacts, steps: int = PARTITIONS) -> list[ROW]:
    """All rows of a run, so many partitions at a time."""
    run, found = GatheredRun.open(path, facts), []
    for first in range(0, PARTITIONS, steps):
        stop, begin = min(PARTITIONS, first + steps), 0
        text = text_of(run, first, stop)
        for record in records_of(run, first, stop):
            end = begin + int(record["sizes"])
            assert record["id_lengths"] == (end - begin) // 2
            found.append((int(record["hashes"]), int(record["digests"]), int(record["lines"]), text[begin:end]))
            begin = end
    return found


@given(ROWS, st.sampled_from([1, 7, 256]))
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[ROW], steps: int
) -> None:
    path = tmp_path_factory.mktemp("gathered") / "run"
    facts = write(path, rows)
    assert (facts.rows, facts.size_bytes) == (len(rows), path.stat().st_size)
    # By partition; within one in the order in which they were given.
    assert read(path, facts, steps) == sorted(rows, key=lambda row: row[0] >> 56)
    run = GatheredRun.open(path, facts)
    of_each = [run.hashes(partition).tolist() for partition in range(PARTITIONS)]
    assert of_each == [[hash_ for hash_, *_ in rows if hash_ >> 56 == partition] for partition in range(PARTITIONS)]


def test_each_byte_that_differs_is_told(tmp_path: Path) -> None:
    path, rows = tmp_path / "run", [(number << 54, number, number, b"id%d,cell\n" % number) for number in range(1, 9)]
    facts = write(path, rows)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(DamagedFileError):
            read(path, facts)
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError):
            read(path, facts)


def test_another_run_under_the_same_name(tmp_path: Path) -> None:
    facts = write(tmp_path / "run", [(5, 5, 5, b"a,b\n")])
    write(tmp_path / "run", [(5, 5, 5, b"a,c\n")])
    with pytest.raises(DamagedFileError, match="another file"):
        GatheredRun.open(tmp_path / "run", facts)


def test_a_text_that_nobody_asks_for_is_not_read(tmp_path: Path) -> None:
    path, rows = tmp_path / "run", [(1 << 60, 1, 1, b"ann,text\n"), (2 << 60, 2, 2, b"bob,text\n")]
    facts = write(path, rows)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"bob,text", b"bob,texd"))
    run = GatheredRun.open(path, facts)
    assert records_of(run, 0, PARTITIONS)["hashes"].tolist() == [1 << 60, 2 << 60]
    assert text_of(run, 0, 20) == b"ann,text\n"
    with pytest.raises(DamagedFileError, match="partition 32"):
        text_of(run, 20, PARTITIONS)


def test_a_full_disk_leaves_nothing() -> None:
    with small_disk(1 << 20) as disk:
        rows = [(number << 40, 1, 1, bytes(4_000)) for number in range(1, 2_000)]
        with pytest.raises(FatalError, match="The disk is full") as caught:
            write(disk / "run", rows)
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        assert "run" not in "".join(names_in(disk))


@pytest.mark.parametrize("rows", [5, 5_000])
def test_a_run_of_an_earlier_version_is_told(tmp_path: Path, rows: int) -> None:
    """It was a sorted file."""
    content = b"PPSORT1\n" + bytes(rows)
    (tmp_path / "run").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"^run was written by an earlier version$"):
        GatheredRun.open(tmp_path / "run", FileFacts(rows, len(content), "0" * 64))


def test_a_small_file_that_is_none_is_told(tmp_path: Path) -> None:
    for size in (0, 7, 100):
        (tmp_path / "run").write_bytes(bytes(size))
        with pytest.raises(DamagedFileError, match="is no such file"):
            GatheredRun.open(tmp_path / "run", FileFacts(1, size, "0" * 64))
