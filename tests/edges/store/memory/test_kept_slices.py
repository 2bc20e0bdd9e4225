"""Slices that are kept for the next question: few, however much a question reads."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest.mock import patch

import pytest

from pipeline.edges.store.memory.entry_file import EntryFile
from pipeline.edges.store.memory.kept_slices import KeptSlices
from tests.edges.store.memory.builders import Released, asked

ROWS = {f"u{number}": "1,2" for number in range(400)}


def files_in(state: Released) -> list[EntryFile]:
    files = state.memory._files
    return [files.open(each.number) for each in files.catalogued]


@pytest.mark.parametrize("with_values", [False, True], ids=["digests", "values"])
def test_a_question_of_all_partitions_keeps_no_more_than_its_share(tmp_path: Path, with_values: bool) -> None:
    state = Released(tmp_path, with_values=with_values)
    for _ in range(3):
        state.remember(ROWS)
    files, kept = files_in(state), KeptSlices(max_bytes=2_000)
    partitions = [*files[0].file.partitions]
    kept.ask(partitions)
    for partition in partitions:
        for file in files:
            assert kept.rows_of(partition, file).keys.tolist() == file.file.rows_of(partition).keys.tolist()
    assert 1_000 < kept.size_bytes <= 2_000
    first = kept.rows_of(partitions[0], files[0])
    assert kept.rows_of(partitions[0], files[0]) is first
    kept.ask(partitions[1:])
    assert kept.rows_of(partitions[0], files[0]) is not first
    kept.ask(())
    assert kept.size_bytes == 0


def test_slices_of_one_partition_are_kept_however_large_they_are(tmp_path: Path) -> None:
    state = Released(tmp_path)
    for _ in range(3):
        state.remember(ROWS)
    files, kept = files_in(state), KeptSlices(max_bytes=1)
    # A slice of a single row takes no bytes.
    one, other = [partition for partition, rows in files[0].file.partitions.items() if rows > 1][:2]
    kept.ask([one, other])
    read = [kept.rows_of(one, file) for file in files]
    assert all(kept.rows_of(one, file) is slice_ for file, slice_ in zip(files, read, strict=True))
    assert kept.rows_of(other, files[0]) is not kept.rows_of(other, files[0])
    kept.ask([other])
    assert kept.rows_of(other, files[0]) is kept.rows_of(other, files[0])


def test_what_was_copied_of_a_slice_stays_when_the_next_question_lies_in_its_place(tmp_path: Path) -> None:
    state = Released(tmp_path, with_values=True)
    state.remember(ROWS)
    (file,), kept = files_in(state), KeptSlices()
    before = {}
    for partition in file.file.partitions:
        kept.ask([partition])
        rows = kept.rows_of(partition, file)
        before[partition] = file.entries_of(partition, rows.keys.copy(), rows)
    for partition, entries in before.items():
        again = file.part(partition, file.file.rows_of(partition), slice(0, len(entries)))
        assert entries.keys.tolist() == again.keys.tolist()
        assert (entries.digests.tolist(), entries.patterns.tolist()) == (
            again.digests.tolist(),
            again.patterns.tolist(),
        )


def test_a_memory_keeps_what_it_read_for_the_same_ids(tmp_path: Path) -> None:
    state = Released(tmp_path, with_values=True)
    state.remember(ROWS)
    rows = asked([f"{each},1,2" for each in ROWS])
    state.memory.find(rows.hashes)
    kept = state.memory._files._kept
    (file,) = files_in(state)
    before = [kept.rows_of(partition, file) for partition in file.file.partitions]
    state.memory.find(rows.hashes, rows)
    assert all(kept.rows_of(each, file) is slice_ for each, slice_ in zip(file.file.partitions, before, strict=True))


class NotedLock:
    """A lock that can be taken again by who has it, which notes what was read while it was held."""

    def __init__(self) -> None:
        self._lock, self._depth = threading.RLock(), 0
        self.read: list[set[int]] = []

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1
        if self._depth == 1:
            self.read.append(set())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._depth -= 1
        self._lock.release()


@pytest.mark.parametrize("with_values", [False, True], ids=["digests", "values"])
def test_whoever_else_needs_the_files_waits_for_one_partition(tmp_path: Path, with_values: bool) -> None:
    state = Released(tmp_path, with_values=with_values)
    for _ in range(3):
        state.remember(ROWS)
    lock, rows_of = NotedLock(), KeptSlices.rows_of

    def noted(kept: KeptSlices, partition: int, file: EntryFile) -> Any:
        lock.read[-1].add(partition)
        return rows_of(kept, partition, file)

    rows = asked([f"{each},1,2" for each in ROWS])
    with patch.object(state.memory._files, "lock", lock), patch.object(KeptSlices, "rows_of", noted):
        assert state.memory.find(rows.hashes, rows).is_known.all()
    assert max(map(len, lock.read)) == 1
    assert len(set().union(*lock.read)) > 100
