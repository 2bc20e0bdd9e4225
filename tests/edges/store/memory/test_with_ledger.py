"""The memory and the ledger that has its catalog: they are of one state, whatever comes between two steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.lifecycle import Begun, SeenComplete, Taken
from pipeline.core.batches.tracker import NO_CHANGES
from pipeline.core.memory.comparison import unchanged_by_digest
from pipeline.core.memory.row_fates import row_fates
from pipeline.edges.exports import Identity
from pipeline.edges.store.ledger import Ledger, open_ledger
from pipeline.edges.store.memory import upkeep
from pipeline.edges.store.memory.memory import Memory
from pipeline.edges.store.memory.sorted_file import PARTITIONS
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.spool import Spool
from pipeline.edges.store.state import life_of
from tests.edges.store.memory.builders import asked, content_of

AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Process:
    """A process that holds a state directory: ledger, spool and memory."""

    ledger: Ledger
    spool: Spool
    memory: Memory

    def complete(self, rows: dict[str, str]) -> int:
        """Seal a batch, and let Target complete it; return its `batch_id`."""
        batch_id = self.ledger.allot_batch_id()
        texts = [f"{profile_id},{cells}\n".encode() for profile_id, cells in rows.items()]
        batch = self.spool.write(batch_id, batch_id, content_of(texts, "thirdPartyId,a,b", self.ledger.salt))
        self.ledger.seal(self.job, Checkpoint(), batch, held=NO_CHANGES, released=[], overtaken={})
        for fact in (Begun(batch_id), Taken("https://status"), SeenComplete(0, 0)):
            self.ledger.add_fact(batch_id, fact)
        return batch_id

    def remember(self, batch_id: int) -> None:
        record = self.ledger.batch(batch_id)
        assert record is not None
        self.memory.remember(batch_id, row_fates(life_of(self.ledger, record)), at_minutes=7)

    def release(self, *batch_ids: int) -> None:
        """The transaction that makes the release of batches durable."""
        for batch_id in batch_ids:
            self.remember(batch_id)
        remembered = self.memory.pending
        self.ledger.seal(
            self.job, Checkpoint(), None, held=NO_CHANGES, released=batch_ids, overtaken={}, remembered=remembered
        )
        self.memory.entered(batch_ids)

    @property
    def job(self) -> JobRecord:
        jobs = self.ledger.jobs()
        if not jobs:
            identity = Identity(1, 1, 1)
            return self.ledger.begin_job(JobRecord.new("job", Path("/export.csv"), identity, {}, AT))
        return jobs[0]

    def unchanged(self, *texts: str) -> list[bool]:
        """For each row, in the order in which they are given, if it says nothing new."""
        rows = asked(texts, self.ledger.salt)
        found = self.memory.find(rows.hashes, rows)
        order = np.argsort(rows.lines)
        assert rows.digests is not None
        flags: list[bool] = unchanged_by_digest(rows.digests, found)[order].tolist()
        return flags


@contextmanager
def process(directory: Path) -> Iterator[Process]:
    path = directory / "ledger.db"
    is_new = not path.exists()
    ledger = open_ledger(path, "demo", lambda: "2026-01-01T00:00:00+00:00", is_new=is_new)
    try:
        if is_new:
            ledger.begin_memory("digests", "https://target")
        spool = Spool(directory / "spool", min_free_bytes=0)
        memory = Memory(directory / "memory", spool, ledger, with_values=False)
        memory.check()
        yield Process(ledger, spool, memory)
    finally:
        ledger.close()


def names_in_memory(directory: Path) -> list[str]:
    return sorted(file.name for file in (directory / "memory").iterdir())


def test_what_is_released_is_remembered_over_processes(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        first.release(first.complete({"ann": "1,2"}), first.complete({"bob": "3,4"}))
        assert first.unchanged("ann,1,2", "bob,3,4", "bob,3,5") == [True, True, False]
    with process(tmp_path) as second:
        assert second.unchanged("ann,1,2", "bob,3,4", "bob,3,5") == [True, True, False]
        second.release(second.complete({"bob": "3,5"}))
        assert second.unchanged("ann,1,2", "bob,3,4", "bob,3,5") == [True, False, True]


def test_a_crash_between_the_file_and_the_transaction(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        first.release(first.complete({"ann": "1,2"}))
        batch_id = first.complete({"ann": "3,4"})
        first.remember(batch_id)
        assert len(names_in_memory(tmp_path)) == 2
    with process(tmp_path) as second:
        assert len(names_in_memory(tmp_path)) == 1
        assert second.unchanged("ann,1,2") == [True]
        second.release(batch_id)
        assert second.unchanged("ann,1,2", "ann,3,4") == [False, True]
        assert len(names_in_memory(tmp_path)) == 2


def test_merges_are_in_the_ledger(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        for number in range(20):
            first.release(first.complete({"ann": f"{number},2", f"id{number}": "3,4"}))
            while (merge := first.memory.write_merge()) is not None:
                first.memory.enter_merge(merge)
        assert len(names_in_memory(tmp_path)) < 9
        assert first.memory.write_merge() is None
    with process(tmp_path) as second:
        files = second.memory._files
        assert second.unchanged("ann,19,2", "id3,3,4", "ann,18,2") == [True, True, False]
        for partition in range(PARTITIONS):
            merge = upkeep.merge_partition(files, partition)
            if partition % 2:
                second.memory.enter_merge(merge)
    with process(tmp_path) as third:
        assert third.unchanged("ann,19,2", "id3,3,4", "ann,18,2") == [True, True, False]
        for partition in range(PARTITIONS):
            third.memory.enter_merge(upkeep.merge_partition(third.memory._files, partition))
        assert {file.batch_id for file in third.ledger.memory_catalog().files} == {None}
        third.release(third.complete({"ann": "20,2"}))
    with process(tmp_path) as fourth:
        assert fourth.unchanged("ann,20,2", "id3,3,4", "ann,19,2") == [True, True, False]
        fourth.memory.forget([b"ann"])
        assert fourth.unchanged("ann,20,2", "id3,3,4") == [False, True]
        fourth.memory.expire(8)
        assert fourth.memory.facts().ids == 0
        assert names_in_memory(tmp_path) == []
        fourth.release(fourth.complete({"ann": "21,2"}))
    with process(tmp_path) as fifth:
        assert fifth.unchanged("ann,21,2") == [True]
        fifth.memory.rebuild()
        assert fifth.unchanged("ann,21,2") == [False]
        assert (fifth.ledger.memory_catalog().files, names_in_memory(tmp_path)) == ((), [])


@pytest.mark.parametrize("step", ["file", "transaction", "removal"])
def test_a_crash_at_each_step_of_a_merge(tmp_path: Path, step: str) -> None:
    with process(tmp_path) as first:
        for number in range(9):
            first.release(first.complete({"ann": f"{number},2", f"id{number}": "3,4"}))
        before = {path.name: path.read_bytes() for path in (tmp_path / "memory").iterdir()}
        merge = first.memory.write_merge()
        assert merge is not None
        if step != "file":
            first.memory.enter_merge(merge)
        if step == "transaction":
            for name, content in before.items():
                (tmp_path / "memory" / name).write_bytes(content)
    with process(tmp_path) as second:
        assert second.unchanged("ann,8,2", "id0,3,4", "ann,7,2") == [True, True, False]
        catalogued = [f"{file.number:08d}.memory" for file in second.ledger.memory_catalog().files]
        assert names_in_memory(tmp_path) == catalogued
